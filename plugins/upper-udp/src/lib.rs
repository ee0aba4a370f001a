//! Takes a datagram, strips white space, answers in upper case.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Datagram;

#[wharf_guest::main]
fn handle(datagram: Datagram) -> io::Result<()> {
    let answer = match str::from_utf8(datagram.packet()) {
        Ok(text) => text.trim().to_uppercase().into_bytes(),
        // No text, or text cut inside a character: bytes that are not ASCII stay as they are.
        Err(_) => datagram.packet().trim_ascii().to_ascii_uppercase(),
    };
    datagram.reply(&answer)
}
