//! Shows when each of a handler's three methods runs.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler, println};

#[derive(Default)]
struct Lifecycle;

impl StreamHandler for Lifecycle {
    fn setup(&mut self, connection: Connection) -> Result {
        println!("{} is connect!", connection.peer_addr());
        Ok(())
    }

    fn handle(&mut self, connection: Connection) -> Result {
        let message = connection.read_chunk(64 << 10)?;
        connection.write_all(&message)?;
        Ok(())
    }

    fn finish(&mut self, _: Connection) -> Result {
        println!("client is disconnect!");
        Ok(())
    }
}

wharf_guest::export!(Lifecycle);
