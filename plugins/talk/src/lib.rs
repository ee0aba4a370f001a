//! Answers each message with itself, until the client closes or sends `close`, in any case.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;

#[wharf_guest::main]
fn handle(connection: Connection) -> io::Result<()> {
    loop {
        let message = connection.read_chunk(64 << 10)?;
        // A message that is typed ends with a line feed.
        if message.is_empty() || message.trim_ascii_end().eq_ignore_ascii_case(b"close") {
            return Ok(());
        }
        connection.write_all(&message)?;
    }
}
