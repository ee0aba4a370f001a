//! Says `CLIENT-ADDRESS SERVER-ADDRESS` in one line, and closes.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

#[derive(Default)]
struct Facts;

impl StreamHandler for Facts {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        let facts = format!("{} {}\n", connection.client_address(), connection.server_address());
        connection.send(facts.as_bytes())?;
        Ok(())
    }
}

wharf_guest::export!(Facts);
