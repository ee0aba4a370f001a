//! Greets, then answers each message with the message and 好, until the message is `q`.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;

#[wharf_guest::main]
fn handle(connection: Connection) -> io::Result<()> {
    connection.write_all("你好欢迎你".as_bytes())?;
    loop {
        let mut message = connection.read_chunk(64 << 10)?;
        // A message that is typed ends with a line feed.
        if message.is_empty() || message.trim_ascii_end() == b"q" {
            return Ok(());
        }
        message.extend_from_slice("好".as_bytes());
        connection.write_all(&message)?;
    }
}
