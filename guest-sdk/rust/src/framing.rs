//! Messages on a stream of bytes.
//!
//! A TCP connection carries bytes, not messages. A message may arrive in pieces, and several may
//! arrive joined. A [`Framing`] is a rule for the end of each message. A [`FrameReader`] finds the
//! messages, here called frames, however the bytes were split or joined, and a [`FrameWriter`]
//! writes them.
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

/// The rule for the end of each frame of a stream, and a cap on its length.
///
/// The cap counts the bytes of the frame itself, without delimiter or prefix. It bounds the memory
/// that a client can make the plugin use: choose it well below the plugin's `limits.memory`.
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

/// The form of the length in front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prefix {
    /// 8 bits: frames of up to 255 bytes.
    U8,
    /// 16 bits, big-endian.
    U16Be,
    /// 16 bits, little-endian.
    U16Le,
    /// 32 bits, big-endian.
    U32Be,
    /// 32 bits, little-endian.
    U32Le,
    /// 64 bits, big-endian.
    U64Be,
    /// 64 bits, little-endian.
    U64Le,
    /// 7 bits a byte, the least significant first; the top bit of each byte but the last is set.
    /// Unsigned LEB128 of 64 bits, one to ten bytes; Protocol Buffers'
    /// [varint](https://protobuf.dev/programming-guides/encoding/#varints).
    Varint,
}

/// The meaning of the bytes at the front of a stream.
enum Found {
    /// The frame is at `payload`, and the next one begins at `end`.
    Frame { payload: Range<usize>, end: usize },
    /// More bytes are needed. The first `searched` of those here need no second look.
    Part { searched: usize },
}

impl Framing {
    /// Lines of at most `cap` bytes, each ended by `\n` or `\r\n`, which is not part of the frame.
    /// A writer ends them with `\n`.
    ///
    /// The last line needs its end as well. [`BufRead::lines`](std::io::BufRead::lines) accepts a
    /// last line without it, but has no cap.
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

    /// Frames of at most `cap` bytes, each with its length in front of it. The length does not
    /// count the prefix.
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

    /// Looks for a frame at the front of `bytes`, of which the first `searched` were looked through
    /// before.
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
        let Some((length, width)) = prefix.decode(bytes)? else { return Ok(Found::Part { searched: 0 }) };
        if length > self.cap {
            return Err(invalid(format!("a frame of {length} bytes is longer than the cap of {} bytes", self.cap)));
        }
        let payload = width..width.saturating_add(length);
        if bytes.len() < payload.end {
            return Ok(Found::Part { searched: 0 });
        }
        Ok(Found::Frame { end: payload.end, payload })
    }

    /// The length of the longest frame with its delimiter or prefix. Among so many bytes,
    /// [`find`](Self::find) finds a frame or an error.
    fn longest(&self) -> usize {
        let around = match &self.rule {
            Rule::Line => b"\r\n".len(),
            Rule::Delimiter(delimiter) => delimiter.len(),
            Rule::Length(prefix) => prefix.max_width(),
        };
        self.cap.saturating_add(around)
    }
}

impl Prefix {
    /// The most bytes that a length may take.
    fn max_width(self) -> usize {
        match self {
            Prefix::U8 => 1,
            Prefix::U16Be | Prefix::U16Le => 2,
            Prefix::U32Be | Prefix::U32Le => 4,
            Prefix::U64Be | Prefix::U64Le => 8,
            Prefix::Varint => 10,
        }
    }

    /// The length at the front of `bytes` and the bytes that it takes; `None` if some are missing.
    /// A length beyond `usize` is beyond every cap.
    fn decode(self, bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
        let length = match self {
            Prefix::U8 => bytes.first().map(|&byte| byte.into()),
            Prefix::U16Be => bytes.first_chunk().map(|&bytes| u16::from_be_bytes(bytes).into()),
            Prefix::U16Le => bytes.first_chunk().map(|&bytes| u16::from_le_bytes(bytes).into()),
            Prefix::U32Be => bytes.first_chunk().map(|&bytes| u32::from_be_bytes(bytes).into()),
            Prefix::U32Le => bytes.first_chunk().map(|&bytes| u32::from_le_bytes(bytes).into()),
            Prefix::U64Be => bytes.first_chunk().map(|&bytes| u64::from_be_bytes(bytes)),
            Prefix::U64Le => bytes.first_chunk().map(|&bytes| u64::from_le_bytes(bytes)),
            Prefix::Varint => return varint(bytes),
        };
        Ok(length.map(|length| (saturated(length), self.max_width())))
    }

    /// Appends `length`; `None` if it does not fit.
    fn encode(self, length: usize, out: &mut Vec<u8>) -> Option<()> {
        let mut length = u64::try_from(length).ok()?;
        match self {
            Prefix::U8 => out.push(length.try_into().ok()?),
            Prefix::U16Be => out.extend(u16::try_from(length).ok()?.to_be_bytes()),
            Prefix::U16Le => out.extend(u16::try_from(length).ok()?.to_le_bytes()),
            Prefix::U32Be => out.extend(u32::try_from(length).ok()?.to_be_bytes()),
            Prefix::U32Le => out.extend(u32::try_from(length).ok()?.to_le_bytes()),
            Prefix::U64Be => out.extend(length.to_be_bytes()),
            Prefix::U64Le => out.extend(length.to_le_bytes()),
            Prefix::Varint => {
                while length > 0x7f {
                    out.push(length as u8 | 0x80);
                    length >>= 7;
                }
                out.push(length as u8);
            }
        }
        Some(())
    }
}

/// [`Prefix::decode`] for [`Prefix::Varint`].
fn varint(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0_u64;
    for (at, &byte) in bytes.iter().enumerate() {
        // The tenth byte has the last bit of 64.
        if at == 9 && byte > 1 {
            return Err(invalid("a length is longer than 64 bits".into()));
        }
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte <= 0x7f {
            return Ok(Some((saturated(length), at + 1)));
        }
    }
    Ok(None)
}

fn saturated(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests;
