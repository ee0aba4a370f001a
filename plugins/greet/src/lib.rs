//! Greets, then answers each message with the message and 好, until the message is `q`.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

#[derive(Default)]
struct Greet;

impl StreamHandler for Greet {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        connection.send("你好欢迎你".as_bytes())?;
        loop {
            let mut message = connection.recv(64 << 10)?;
            // Who types the message ends it with the Enter key.
            if message.is_empty() || message.trim_ascii_end() == b"q" {
                return Ok(());
            }
            message.extend_from_slice("好".as_bytes());
            connection.send(&message)?;
        }
    }
}

wharf_guest::export!(Greet);
