use std::io::{self, ErrorKind, Read};
use std::ops::Range;

use super::{Found, Framing};

/// The size of a reader's buffer at first, in bytes. It grows for longer frames.
pub(super) const CHUNK: usize = 8 << 10;

/// Reads one frame after the other from a stream.
///
/// Made by [`Framing::reader`]. It reads ahead into a buffer of its own. The buffer never grows
/// beyond the longest frame that the cap allows, or 8 KiB if that is more, and only as the bytes of
/// a frame arrive, whatever length a client announces.
///
/// As an iterator, it returns each frame as a `Vec<u8>`, and ends at the end of the stream or after
/// the first error. [`next_frame`](Self::next_frame) copies nothing.
///
/// # Errors
///
/// - `InvalidData`: a frame is longer than the cap, or its length has more than 64 bits. The stream
///   can't be read further: each later call returns this error again.
/// - `UnexpectedEof`: the stream ended inside a frame or its delimiter.
/// - Any error of the stream, such as `TimedOut` from a [`Connection`](crate::Connection). No bytes
///   are lost: call again to go on.
#[derive(Debug)]
pub struct FrameReader<R> {
    framing: Framing,
    stream: R,
    /// All of it is initialised, so that a read needs no zeroing. The part `unread` has arrived and
    /// is not part of a returned frame.
    pub(super) buffer: Vec<u8>,
    unread: Range<usize>,
    /// The bytes of `unread` that have been searched for a delimiter, without success.
    searched: usize,
    /// The iterator has returned its last item.
    ended: bool,
}

impl<R> FrameReader<R> {
    pub(super) fn new(framing: Framing, stream: R) -> Self {
        Self { framing, stream, buffer: Vec::new(), unread: 0..0, searched: 0, ended: false }
    }

    /// The stream underneath. Bytes that are read from it directly are missing from the frames.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.stream
    }

    /// The bytes that were read ahead and are not part of a returned frame. Where a protocol
    /// changes its framing, the next reader begins with these.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.unread.clone()]
    }
}

impl<R: Read> FrameReader<R> {
    /// Waits for the next frame; `None` is the end of the stream between two frames.
    ///
    /// # Errors
    /// As listed for [`FrameReader`].
    pub fn next_frame(&mut self) -> io::Result<Option<&[u8]>> {
        let payload = loop {
            match self.framing.find(&self.buffer[self.unread.clone()], self.searched)? {
                Found::Frame { payload, end } => {
                    let start = self.unread.start;
                    self.unread.start += end;
                    self.searched = 0;
                    break start + payload.start..start + payload.end;
                }
                Found::Part { searched } => self.searched = searched,
            }
            if self.fill()? == 0 {
                return match self.unread.len() {
                    0 => Ok(None),
                    part => Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        format!("the stream ended inside a frame, after {part} bytes of it"),
                    )),
                };
            }
        };
        Ok(Some(&self.buffer[payload]))
    }

    /// Reads once, after making room.
    fn fill(&mut self) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        // If the bytes after the last frame lie far back, a read into the rest would be a short
        // one.
        let room = self.buffer.len() - self.unread.end;
        if self.unread.start > 0 && room < self.buffer.len() / 2 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.len() == self.buffer.len() {
            // Not beyond the longest frame: so many bytes have a frame or an error among them.
            let most = self.framing.longest().max(CHUNK);
            let size = self.buffer.len().saturating_mul(2).clamp(CHUNK, most);
            self.buffer.resize(size, 0);
        }
        loop {
            match self.stream.read(&mut self.buffer[self.unread.end..]) {
                Ok(count) => {
                    self.unread.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Iterator for FrameReader<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let frame = self.next_frame().map(|frame| frame.map(<[u8]>::to_vec)).transpose();
        self.ended = !matches!(frame, Some(Ok(_)));
        frame
    }
}
