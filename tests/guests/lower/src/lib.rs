//! The twin of the shipped `upper`: tests replace one by the other and see which answered.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;

#[wharf_guest::main]
fn handle(connection: Connection) -> io::Result<()> {
    let message = connection.read_chunk(1024)?;
    let answer = match str::from_utf8(&message) {
        Ok(text) => text.trim().to_lowercase().into_bytes(),
        // No text, or text cut inside a character: bytes that are not ASCII stay as they are.
        Err(_) => message.trim_ascii().to_ascii_lowercase(),
    };
    connection.write_all(&answer)
}
