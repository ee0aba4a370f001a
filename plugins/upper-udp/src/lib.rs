//! Takes a datagram, strips white space, answers in upper case.

#![forbid(unsafe_code)]

use wharf_guest::{Datagram, DatagramHandler, Result};

#[derive(Default)]
struct Upper;

impl DatagramHandler for Upper {
    fn handle(&mut self, datagram: &mut Datagram) -> Result {
        let answer = match str::from_utf8(datagram.packet()) {
            Ok(text) => text.trim().to_uppercase().into_bytes(),
            // No text, or text cut inside a character: what isn't ASCII stays as it is.
            Err(_) => datagram.packet().trim_ascii().to_ascii_uppercase(),
        };
        datagram.reply(&answer)?;
        Ok(())
    }
}

wharf_guest::export!(datagram = Upper);
