//! Gives back each line in upper case, until the client ends.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

/// What a connection needs to keep between its steps; each has one of its own.
#[derive(Default)]
struct Handler;

impl StreamHandler for Handler {
    /// Runs first. An error here ends the session.
    fn setup(&mut self, _: &mut Connection) -> Result {
        Ok(())
    }

    /// The conversation.
    fn handle(&mut self, connection: &mut Connection) -> Result {
        loop {
            let mut heard = connection.recv(65536)?;
            if heard.is_empty() {
                return Ok(());
            }
            heard.retain(|&byte| byte != b'\r');
            heard.make_ascii_uppercase();
            connection.send(&heard)?;
        }
    }

    /// Runs last, after an error of `handle` too.
    fn finish(&mut self, _: &mut Connection) -> Result {
        Ok(())
    }
}

wharf_guest::export!(Handler);
