//! Messages on a stream, which knows none: the "sticky packet" problem.
//!
//! A TCP connection carries bytes, not messages. What the client sent at once may arrive in pieces, and what it sent one
//! by one may arrive joined. A [`Framing`] is a rule that says where each message ends; a [`FrameReader`] finds the
//! messages, here called frames, however the bytes were split or joined, and a [`FrameWriter`] writes them.
//!
//! ```
//! use wharf_guest::framing::{Framing, Prefix};
//!
//! let framing = Framing::length_prefix(Prefix::U16Be, 100);
//! let mut stream = Vec::new();
//! let mut writer = framing.writer(&mut stream);
//! writer.write_frame(b"one")?;
//! writer.write_frame(b"three")?;
//! assert_eq!(stream, b"\0\x03one\0\x05three");
//!
//! let mut reader = framing.reader(&stream[..]);
//! assert_eq!(reader.next_frame()?, Some(&b"one"[..]));
//! assert_eq!(reader.next_frame()?, Some(&b"three"[..]));
//! assert_eq!(reader.next_frame()?, None);
//! # Ok::<(), std::io::Error>(())
//! ```

mod reader;
mod writer;

use std::io::{self, ErrorKind};
use std::ops::Range;

use memchr::memmem;

pub use reader::FrameReader;
pub use writer::FrameWriter;

/// Where each frame of a stream ends, and how long a frame may be.
///
/// The cap counts the bytes of the frame itself, without delimiter or prefix. It bounds what a client can make the
/// plugin keep: choose it well below the plugin's `limits.memory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framing {
    rule: Rule,
    cap: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Line,
    Delimiter(Box<[u8]>),
    Length(Prefix),
}

/// How a length is written in front of a frame: its width in bits, and big-endian or little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Prefix {
    U8,
    U16Be,
    U16Le,
    U32Be,
    U32Le,
}

/// What the bytes at the front of a stream are.
enum Found {
    /// The frame is at `payload`, and the next one begins at `end`.
    Frame { payload: Range<usize>, end: usize },
    /// More bytes are needed. The first `searched` of those here need no second look.
    Part { searched: usize },
}

impl Framing {
    /// Lines of at most `cap` bytes, each ended by `\n` or `\r\n`, which is not part of the frame. Written with `\n`.
    ///
    /// The last line must be ended as well; where clients may leave that out, [`BufRead::lines`](std::io::BufRead::lines)
    /// is more lenient, but has no cap.
    pub fn lines(cap: usize) -> Self {
        Self { rule: Rule::Line, cap }
    }

    /// Frames of at most `cap` bytes, each ended by `delimiter`, which is not part of the frame.
    ///
    /// # Panics
    ///
    /// If `delimiter` is empty.
    pub fn delimiter(delimiter: impl Into<Vec<u8>>, cap: usize) -> Self {
        let delimiter = delimiter.into();
        assert!(!delimiter.is_empty(), "a delimiter has at least one byte");
        Self { rule: Rule::Delimiter(delimiter.into()), cap }
    }

    /// Frames of at most `cap` bytes, each with its length in front of it, which doesn't count itself.
    pub fn length_prefix(prefix: Prefix, cap: usize) -> Self {
        Self { rule: Rule::Length(prefix), cap }
    }

    /// Reads frames from `stream`, which needs no buffer of its own.
    pub fn reader<R>(&self, stream: R) -> FrameReader<R> {
        FrameReader::new(self.clone(), stream)
    }

    /// Writes frames to `stream`, which needs no buffer of its own.
    pub fn writer<W>(&self, stream: W) -> FrameWriter<W> {
        FrameWriter::new(self.clone(), stream)
    }

    /// Looks for a frame at the front of `bytes`, of which the first `searched` were looked through before.
    fn find(&self, bytes: &[u8], searched: usize) -> io::Result<Found> {
        match &self.rule {
            Rule::Line => {
                let found = memchr::memchr(b'\n', &bytes[searched..]).map(|at| {
                    let line = &bytes[..searched + at];
                    (line.strip_suffix(b"\r").unwrap_or(line).len(), line.len() + 1)
                });
                self.delimited(bytes, found, bytes.len())
            }
            Rule::Delimiter(delimiter) => {
                let found = memmem::find(&bytes[searched..], delimiter)
                    .map(|at| (searched + at, searched + at + delimiter.len()));
                // The last bytes may be the beginning of a delimiter.
                self.delimited(bytes, found, bytes.len().saturating_sub(delimiter.len() - 1))
            }
            Rule::Length(prefix) => self.length_prefixed(bytes, *prefix),
        }
    }

    fn delimited(&self, bytes: &[u8], found: Option<(usize, usize)>, searched: usize) -> io::Result<Found> {
        match found {
            Some((length, end)) if length <= self.cap => Ok(Found::Frame { payload: 0..length, end }),
            None if bytes.len() < self.longest() => Ok(Found::Part { searched }),
            _ => Err(invalid(format!("a frame is longer than the cap of {} bytes", self.cap))),
        }
    }

    fn length_prefixed(&self, bytes: &[u8], prefix: Prefix) -> io::Result<Found> {
        let Some(length) = prefix.decode(bytes) else { return Ok(Found::Part { searched: 0 }) };
        if length > self.cap {
            return Err(invalid(format!("a frame of {length} bytes is longer than the cap of {} bytes", self.cap)));
        }
        let payload = prefix.width()..prefix.width() + length;
        if bytes.len() < payload.end {
            return Ok(Found::Part { searched: 0 });
        }
        Ok(Found::Frame { end: payload.end, payload })
    }

    /// The bytes of the longest frame with all that belongs to it. Among so many, [`find`](Self::find) finds a frame or an error.
    fn longest(&self) -> usize {
        let around = match &self.rule {
            Rule::Line => b"\r\n".len(),
            Rule::Delimiter(delimiter) => delimiter.len(),
            Rule::Length(prefix) => prefix.width(),
        };
        self.cap.saturating_add(around)
    }
}

impl Prefix {
    fn width(self) -> usize {
        match self {
            Prefix::U8 => 1,
            Prefix::U16Be | Prefix::U16Le => 2,
            Prefix::U32Be | Prefix::U32Le => 4,
        }
    }

    /// The length at the front of `bytes`, if all of it is there. One beyond `usize` is beyond every cap.
    fn decode(self, bytes: &[u8]) -> Option<usize> {
        let length = match self {
            Prefix::U8 => u32::from(*bytes.first()?),
            Prefix::U16Be => u16::from_be_bytes(*bytes.first_chunk()?).into(),
            Prefix::U16Le => u16::from_le_bytes(*bytes.first_chunk()?).into(),
            Prefix::U32Be => u32::from_be_bytes(*bytes.first_chunk()?),
            Prefix::U32Le => u32::from_le_bytes(*bytes.first_chunk()?),
        };
        Some(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Appends `length`; none if it doesn't fit.
    fn encode(self, length: usize, out: &mut Vec<u8>) -> Option<()> {
        let length = u32::try_from(length).ok()?;
        match self {
            Prefix::U8 => out.push(length.try_into().ok()?),
            Prefix::U16Be => out.extend(u16::try_from(length).ok()?.to_be_bytes()),
            Prefix::U16Le => out.extend(u16::try_from(length).ok()?.to_le_bytes()),
            Prefix::U32Be => out.extend(length.to_be_bytes()),
            Prefix::U32Le => out.extend(length.to_le_bytes()),
        }
        Some(())
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests;
