//! The framing helpers of the guest SDK: a stream of bytes, in pieces, under a framing that the
//! first byte chooses.
#![no_main]
#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read};

use wharf_guest::framing::{Framing, Prefix};

/// Gives what is left in pieces of so many bytes.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let piece = self.1.min(self.0.len()).min(buf.len());
        buf[..piece].copy_from_slice(&self.0[..piece]);
        self.0 = &self.0[piece..];
        Ok(piece)
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [rule, cap, piece, stream @ ..] = data else { return };
    let cap = usize::from(*cap) * 64;
    let framing = match rule % 11 {
        0 => Framing::lines(cap),
        1 => Framing::delimiter(*b"\0", cap),
        2 => Framing::delimiter(*b"\r\n\r\n", cap),
        3 => Framing::length_prefix(Prefix::U8, cap),
        4 => Framing::length_prefix(Prefix::U16Be, cap),
        5 => Framing::length_prefix(Prefix::U16Le, cap),
        6 => Framing::length_prefix(Prefix::U32Be, cap),
        7 => Framing::length_prefix(Prefix::U32Le, cap),
        8 => Framing::length_prefix(Prefix::U64Be, cap),
        9 => Framing::length_prefix(Prefix::U64Le, cap),
        _ => Framing::length_prefix(Prefix::Varint, cap),
    };
    let read = |piece| {
        let frames = framing.reader(Pieces(stream, piece));
        frames.map(|frame| frame.map_err(|error| error.kind())).collect::<Vec<_>>()
    };
    let frames = read(usize::from(*piece).max(1));
    assert_eq!(frames, read(usize::MAX), "the pieces that it came in make a difference");
    let mut written = Vec::new();
    for frame in &frames {
        match frame {
            Ok(frame) => {
                assert!(frame.len() <= cap);
                // A line that ended in `\r` before its `\r\n` is read, but not written.
                let _ = framing.writer(&mut written).write_frame(frame);
            }
            Err(kind) => assert!(matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof), "{kind}"),
        }
    }
    assert!(framing.reader(&written[..]).all(|frame| frame.is_ok()), "what was written can't be read");
});
