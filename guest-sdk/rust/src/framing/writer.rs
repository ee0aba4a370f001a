use std::io::{self, ErrorKind, Write};

use memchr::memmem;

use super::{Framing, Rule};

/// Writes one frame after the other to a stream, each with one `write_all`.
///
/// Made by [`Framing::writer`]. It keeps one buffer, as long as the longest frame it wrote.
#[derive(Debug)]
pub struct FrameWriter<W> {
    framing: Framing,
    stream: W,
    buffer: Vec<u8>,
}

impl<W> FrameWriter<W> {
    pub(super) fn new(framing: Framing, stream: W) -> Self {
        Self { framing, stream, buffer: Vec::new() }
    }

    /// The stream underneath, to flush it for example.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.stream
    }
}

impl<W: Write> FrameWriter<W> {
    /// Writes `frame` with its delimiter or prefix. It does not flush the stream; a
    /// [`Connection`](crate::Connection) needs no flushing.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the same [`Framing`] could not read the frame again. It is longer than the
    ///   cap or than its prefix can express, or its delimiter would be found too early. Nothing was
    ///   written.
    /// - Any error of the stream. A part of the frame may have been written.
    pub fn write_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        if frame.len() > self.framing.cap {
            let (length, cap) = (frame.len(), self.framing.cap);
            return Err(invalid(format!("a frame of {length} bytes is longer than the cap of {cap} bytes")));
        }
        match &self.framing.rule {
            Rule::Line => {
                if memchr::memchr(b'\n', frame).is_some() || frame.ends_with(b"\r") {
                    return Err(invalid("a line has an end of line inside".into()));
                }
                self.buffer.extend_from_slice(frame);
                self.buffer.push(b'\n');
            }
            Rule::Delimiter(delimiter) => {
                self.buffer.extend_from_slice(frame);
                self.buffer.extend_from_slice(delimiter);
                // A search of the frame alone would miss a delimiter that begins in it and ends in
                // the real one.
                if memmem::find(&self.buffer, delimiter) != Some(frame.len()) {
                    return Err(invalid("a frame has its delimiter inside".into()));
                }
            }
            Rule::Length(prefix) => {
                if prefix.encode(frame.len(), &mut self.buffer).is_none() {
                    return Err(invalid(format!("a frame of {} bytes is too long for {prefix:?}", frame.len())));
                }
                self.buffer.extend_from_slice(frame);
            }
        }
        self.stream.write_all(&self.buffer)
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}
