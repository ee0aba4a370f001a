//! Gives back all bytes until the end of the stream, as fast as it can.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;

#[wharf_guest::main]
fn handle(connection: Connection) -> io::Result<()> {
    loop {
        // The host allocates exactly as much memory as came, and sends from there: nothing is
        // copied.
        let bytes = connection.read_chunk(64 << 10)?;
        if bytes.is_empty() {
            return Ok(());
        }
        connection.write_all(&bytes)?;
    }
}
