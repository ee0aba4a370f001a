//! Answers each message with itself, until the client closes or sends `close`, in any case.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

#[derive(Default)]
struct Talk;

impl StreamHandler for Talk {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        loop {
            let message = connection.recv(64 << 10)?;
            // Who types the message ends it with the Enter key.
            if message.is_empty() || message.trim_ascii_end().eq_ignore_ascii_case(b"close") {
                return Ok(());
            }
            connection.send(&message)?;
        }
    }
}

wharf_guest::export!(Talk);
