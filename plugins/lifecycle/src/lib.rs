//! Shows when each of a handler's three methods runs.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler, println};

#[derive(Default)]
struct Lifecycle;

impl StreamHandler for Lifecycle {
    fn setup(&mut self, connection: &mut Connection) -> Result {
        println!("{} is connect!", connection.client_address());
        Ok(())
    }

    fn handle(&mut self, connection: &mut Connection) -> Result {
        let message = connection.recv(64 << 10)?;
        connection.send(&message)?;
        Ok(())
    }

    fn finish(&mut self, _: &mut Connection) -> Result {
        println!("client is disconnect!");
        Ok(())
    }
}

wharf_guest::export!(Lifecycle);
