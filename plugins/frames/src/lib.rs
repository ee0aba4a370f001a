//! Gives back each message with its bytes reversed. A message is its length, 32 bits big-endian,
//! and that many bytes.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;
use wharf_guest::framing::{Framing, Prefix};

/// The longest message, in bytes. The manifest's `limits.memory` leaves room for it.
const CAP: usize = 1 << 20;

#[wharf_guest::main]
fn handle(connection: Connection) -> io::Result<()> {
    let framing = Framing::length_prefix(Prefix::U32Be, CAP);
    let mut messages = framing.reader(&connection);
    let mut answers = framing.writer(&connection);
    let mut reversed = Vec::new();
    while let Some(message) = messages.next_frame()? {
        reversed.clear();
        reversed.extend(message.iter().rev());
        answers.write_frame(&reversed)?;
    }
    Ok(())
}
