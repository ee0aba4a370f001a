//! What holds of every stream, however it was cut, and under every framing.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read};

use proptest::collection::vec;
use proptest::prelude::*;

use wharf_guest::framing::{Framing, Prefix};

/// What a reader reads at once, at first.
const CHUNK: usize = 8 << 10;

/// Gives what is left in pieces of these sizes, over and over.
struct Pieces<'a> {
    left: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().copied().unwrap_or(usize::MAX);
        let piece = size.min(self.left.len()).min(buf.len());
        buf[..piece].copy_from_slice(&self.left[..piece]);
        self.left = &self.left[piece..];
        Ok(piece)
    }
}

/// A framing, and its cap.
fn framings(cap: std::ops::Range<usize>) -> impl Strategy<Value = (Framing, usize)> {
    let prefixes = [
        Prefix::U8,
        Prefix::U16Be,
        Prefix::U16Le,
        Prefix::U32Be,
        Prefix::U32Le,
        Prefix::U64Be,
        Prefix::U64Le,
        Prefix::Varint,
    ];
    let prefix = || prop::sample::select(prefixes.to_vec());
    prop_oneof![
        cap.clone().prop_map(|cap| (Framing::lines(cap), cap)),
        // Of few bytes, so that a delimiter often begins and does not end.
        (vec(0..3_u8, 1..5), cap.clone()).prop_map(|(delimiter, cap)| (Framing::delimiter(delimiter, cap), cap)),
        (prefix(), cap).prop_map(|(prefix, cap)| (Framing::length_prefix(prefix, cap), cap)),
    ]
}

/// Bytes that framings make a difference between, and others.
fn bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![0..4_u8, Just(b'\n'), Just(b'\r'), any::<u8>()], 0..length)
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1..4_usize, 1..2 * CHUNK], 1..6)
}

type Frames = Vec<Result<Vec<u8>, ErrorKind>>;

fn read(framing: &Framing, stream: &[u8], sizes: &[usize]) -> Frames {
    let reader = framing.reader(Pieces { left: stream, sizes: sizes.iter().cycle() });
    reader.map(|frame| frame.map_err(|error| error.kind())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_comes_back_in_whatever_pieces_it_arrives(
        (framing, _) in framings(0..3 * CHUNK),
        messages in vec(prop_oneof![bytes(40), bytes(300), (0..3 * CHUNK).prop_map(|n| vec![b'x'; n])], 0..8),
        sizes in pieces(),
    ) {
        let (mut stream, mut written) = (Vec::new(), Vec::new());
        for message in messages {
            let before = stream.len();
            match framing.writer(&mut stream).write_frame(&message) {
                Ok(()) => written.push(Ok(message)),
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
                    prop_assert_eq!(stream.len(), before, "a part was written");
                }
            }
        }
        prop_assert_eq!(read(&framing, &stream, &sizes), written);
    }

    #[test]
    fn whatever_comes_is_frames_within_the_cap_or_an_error_and_never_a_panic(
        (framing, cap) in framings(0..100),
        stream in bytes(600),
        sizes in pieces(),
    ) {
        let frames = read(&framing, &stream, &sizes);
        let whole = read(&framing, &stream, &[usize::MAX]);
        prop_assert_eq!(&frames, &whole, "the pieces make a difference");
        for (at, frame) in frames.iter().enumerate() {
            match frame {
                Ok(frame) => prop_assert!(frame.len() <= cap),
                Err(kind) => {
                    prop_assert!(matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof), "{}", kind);
                    prop_assert_eq!(at + 1, frames.len(), "nothing is read after an error");
                }
            }
        }
    }
}
