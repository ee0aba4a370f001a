//! Receives once, strips white space, answers in upper case.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

#[derive(Default)]
struct Upper;

impl StreamHandler for Upper {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        let message = connection.recv(1024)?;
        let answer = match str::from_utf8(&message) {
            Ok(text) => text.trim().to_uppercase().into_bytes(),
            // No text, or text cut inside a character: what isn't ASCII stays as it is.
            Err(_) => message.trim_ascii().to_ascii_uppercase(),
        };
        connection.send(&answer)?;
        Ok(())
    }
}

wharf_guest::export!(Upper);
