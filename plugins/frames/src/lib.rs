//! Gives back each message with its bytes reversed. A message is its length, 32 bits big-endian, and that many bytes.

#![forbid(unsafe_code)]

use wharf_guest::framing::{Framing, Prefix};
use wharf_guest::{Connection, Result, StreamHandler};

/// The longest message, in bytes. The manifest's `limits.memory` leaves room for it.
const CAP: usize = 1 << 20;

#[derive(Default)]
struct Frames;

impl StreamHandler for Frames {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        let framing = Framing::length_prefix(Prefix::U32Be, CAP);
        let mut messages = framing.reader(&*connection);
        let mut answers = framing.writer(&*connection);
        let mut reversed = Vec::new();
        while let Some(message) = messages.next_frame()? {
            reversed.clear();
            reversed.extend(message.iter().rev());
            answers.write_frame(&reversed)?;
        }
        Ok(())
    }
}

wharf_guest::export!(Frames);
