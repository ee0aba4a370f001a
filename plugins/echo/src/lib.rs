//! Gives back all bytes until end-of-stream, as fast as it can.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

#[derive(Default)]
struct Echo;

impl StreamHandler for Echo {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        loop {
            // The host fills exactly as much memory as came, and sends from the same: nothing is copied in between.
            let bytes = connection.recv(64 << 10)?;
            if bytes.is_empty() {
                return Ok(());
            }
            connection.send(&bytes)?;
        }
    }
}

wharf_guest::export!(Echo);
