use std::io::{self, ErrorKind, Read};

use super::{Framing, Prefix};

const PREFIXES: [Prefix; 6] = [Prefix::U8, Prefix::U16Be, Prefix::U16Le, Prefix::U32Be, Prefix::U32Le, Prefix::Varint];

/// Gives `bytes` in pieces: bit N of `cuts` ends one after byte N.
struct Pieces<'a> {
    bytes: &'a [u8],
    cuts: u32,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let piece = (self.cuts.trailing_zeros() as usize + 1).min(self.bytes.len()).min(buf.len());
        buf[..piece].copy_from_slice(&self.bytes[..piece]);
        self.bytes = &self.bytes[piece..];
        self.cuts = self.cuts.checked_shr(piece as u32).unwrap_or(0);
        Ok(piece)
    }
}

/// Reads `bytes` in every way they can be cut; each must give the same.
fn read_every_split(framing: &Framing, bytes: &[u8]) -> Vec<Result<Vec<u8>, (ErrorKind, String)>> {
    assert!(bytes.len() <= 16, "2^{} ways take too long", bytes.len());
    let read = |cuts| {
        let frames = framing.reader(Pieces { bytes, cuts });
        frames.map(|frame| frame.map_err(|error| (error.kind(), error.to_string()))).collect::<Vec<_>>()
    };
    let whole = read(0);
    for cuts in 1..1 << bytes.len().saturating_sub(1) {
        assert_eq!(read(cuts), whole, "{framing:?}, {bytes:?} cut as {cuts:b}");
    }
    whole
}

fn frames<const N: usize>(frames: [&str; N]) -> Vec<Result<Vec<u8>, (ErrorKind, String)>> {
    frames.map(|frame| Ok(frame.as_bytes().to_vec())).to_vec()
}

#[test]
fn lines_end_with_or_without_carriage_return() {
    let read = read_every_split(&Framing::lines(5), b"one\ntwo\r\n\n\r\nx\n");
    assert_eq!(read, frames(["one", "two", "", "", "x"]));
    assert_eq!(read_every_split(&Framing::lines(9), b"a\rb\n\r\r\n"), frames(["a\rb", "\r"]));
    assert_eq!(read_every_split(&Framing::lines(9), b""), []);
}

#[test]
fn delimiters_of_any_length() {
    assert_eq!(read_every_split(&Framing::delimiter(*b"\0", 4), b"ab\0\0cd\0"), frames(["ab", "", "cd"]));
    let read = read_every_split(&Framing::delimiter(*b"\r\n\r\n", 9), b"a\r\nb\r\n\r\n\r\n\r\n");
    assert_eq!(read, frames(["a\r\nb", ""]));
    assert_eq!(read_every_split(&Framing::delimiter("aab", 4), b"aaabaab"), frames(["a", ""]));
}

#[test]
fn length_prefixes_of_each_width_and_order() {
    let first = |bytes: &[u8]| frames([std::str::from_utf8(bytes).unwrap()]);
    for (prefix, bytes) in [
        (Prefix::U8, &b"\x03one"[..]),
        (Prefix::U16Be, b"\0\x03one"),
        (Prefix::U16Le, b"\x03\0one"),
        (Prefix::U32Be, b"\0\0\0\x03one"),
        (Prefix::U32Le, b"\x03\0\0\0one"),
        (Prefix::U64Be, b"\0\0\0\0\0\0\0\x03one"),
        (Prefix::U64Le, b"\x03\0\0\0\0\0\0\0one"),
        (Prefix::Varint, b"\x03one"),
        // Longer than it has to be.
        (Prefix::Varint, b"\x83\x80\0one"),
    ] {
        assert_eq!(read_every_split(&Framing::length_prefix(prefix, 3), bytes), first(b"one"));
    }
    let read = read_every_split(&Framing::length_prefix(Prefix::U16Be, 9), b"\0\x02ab\0\0\0\x03cde");
    assert_eq!(read, frames(["ab", "", "cde"]));
}

#[test]
fn a_varint_has_up_to_64_bits() {
    let read = |bytes: &[u8]| read_every_split(&Framing::length_prefix(Prefix::Varint, 3), bytes);
    let wrong = |text: &str| vec![Err((ErrorKind::InvalidData, text.to_string()))];
    let most = format!("a frame of {} bytes is longer than the cap of 3 bytes", u64::MAX);
    assert_eq!(read(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), wrong(&most));
    assert_eq!(read(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), wrong("a length is longer than 64 bits"));
    for length in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 100_000] {
        let framing = Framing::length_prefix(Prefix::Varint, length);
        let mut stream = Vec::new();
        framing.writer(&mut stream).write_frame(&vec![b'x'; length]).unwrap();
        assert_eq!(framing.reader(&stream[..]).next_frame().unwrap().unwrap().len(), length);
    }
}

#[test]
fn what_is_written_is_read_again() {
    let rules = [Framing::lines(4), Framing::delimiter("::", 4), Framing::delimiter("\n", 4)];
    let prefixed = PREFIXES.map(|prefix| Framing::length_prefix(prefix, 4));
    for framing in rules.iter().chain(&prefixed) {
        let mut stream = Vec::new();
        let mut writer = framing.writer(&mut stream);
        for frame in ["", "abcd"] {
            writer.write_frame(frame.as_bytes()).unwrap();
        }
        assert_eq!(read_every_split(framing, &stream), frames(["", "abcd"]));
    }
}

#[test]
fn a_frame_at_the_cap_is_read_and_one_above_is_an_error() {
    let too_long = |text: &str| vec![Err((ErrorKind::InvalidData, text.to_string()))];
    let unknown = too_long("a frame is longer than the cap of 3 bytes");
    assert_eq!(read_every_split(&Framing::lines(3), b"abc\r\n"), frames(["abc"]));
    assert_eq!(read_every_split(&Framing::lines(3), b"abcd\n"), unknown);
    assert_eq!(read_every_split(&Framing::lines(3), b"abcdefghij"), unknown);
    assert_eq!(read_every_split(&Framing::delimiter("--", 3), b"abc--"), frames(["abc"]));
    assert_eq!(read_every_split(&Framing::delimiter("--", 3), b"abcd--"), unknown);
    assert_eq!(read_every_split(&Framing::delimiter("--", 3), b"abc-d--"), unknown);
    assert_eq!(read_every_split(&Framing::delimiter("--", 0), b"--"), frames([""]));
    assert_eq!(
        read_every_split(&Framing::length_prefix(Prefix::U32Le, 3), b"\xff\xff\xff\xff"),
        too_long("a frame of 4294967295 bytes is longer than the cap of 3 bytes")
    );
}

#[test]
fn frames_before_an_error_are_read() {
    let read = read_every_split(&Framing::lines(3), b"ab\nabcd\n");
    assert_eq!(read.len(), 2);
    assert_eq!(read[0], Ok(b"ab".to_vec()));
    assert_eq!(read[1].as_ref().unwrap_err().0, ErrorKind::InvalidData);
}

#[test]
fn an_end_inside_a_frame_is_an_error() {
    for (framing, bytes) in [
        (Framing::lines(9), &b"one"[..]),
        (Framing::lines(9), b"on\r"),
        (Framing::delimiter("::", 9), b"on:"),
        (Framing::length_prefix(Prefix::U16Be, 9), b"\0\x02a"),
        (Framing::length_prefix(Prefix::U32Be, 9), b"\0\0\0"),
    ] {
        let text = "the stream ended inside a frame, after 3 bytes of it".to_string();
        assert_eq!(read_every_split(&framing, bytes), [Err((ErrorKind::UnexpectedEof, text))]);
    }
}

#[test]
fn a_reader_goes_on_after_a_timeout() {
    struct Slow(Vec<Option<&'static [u8]>>);
    impl Read for Slow {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.remove(0) {
                Some(bytes) => (&mut &*bytes).read(buf),
                None => Err(ErrorKind::TimedOut.into()),
            }
        }
    }
    let mut reader = Framing::lines(9).reader(Slow(vec![Some(b"on"), None, Some(b"e\nt")]));
    assert_eq!(reader.next_frame().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(reader.next_frame().unwrap(), Some(&b"one"[..]));
    assert_eq!(reader.unread(), b"t");
}

#[test]
fn an_oversized_frame_is_an_error_for_ever() {
    let mut reader = Framing::lines(1).reader(&b"too long\nx\n"[..]);
    for _ in 0..2 {
        assert_eq!(reader.next_frame().unwrap_err().kind(), ErrorKind::InvalidData);
    }
}

#[test]
fn long_frames_grow_the_buffer_to_the_cap_and_no_further() {
    let long = vec![b'x'; 100_000];
    for framing in
        [Framing::lines(100_000), Framing::delimiter("::", 100_000), Framing::length_prefix(Prefix::Varint, 100_000)]
    {
        let mut stream = Vec::new();
        let mut writer = framing.writer(&mut stream);
        for frame in [&b"short"[..], &long, b"short", &long, &long] {
            writer.write_frame(frame).unwrap();
        }
        let mut reader = framing.reader(&stream[..]);
        for length in [5, 100_000, 5, 100_000, 100_000] {
            assert_eq!(reader.next_frame().unwrap().unwrap().len(), length);
        }
        assert_eq!(reader.next_frame().unwrap(), None);
        assert!(reader.buffer.len() <= framing.longest(), "{}", reader.buffer.len());
    }
}

#[test]
fn a_length_is_not_believed_before_its_bytes_come() {
    let mut reader = Framing::length_prefix(Prefix::U32Be, usize::MAX).reader(&b"\xff\xff\xff\xffabc"[..]);
    assert_eq!(reader.next_frame().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(reader.buffer.len(), super::reader::CHUNK);
    let mut reader = Framing::length_prefix(Prefix::U64Be, usize::MAX).reader(&[0xff; 9][..]);
    assert_eq!(reader.next_frame().unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let mut stream = Vec::new();
    for (framing, frame) in [
        (Framing::lines(9), &b"a\nb"[..]),
        (Framing::lines(9), b"a\r"),
        (Framing::lines(2), b"abc"),
        (Framing::delimiter("::", 9), b"a::b"),
        (Framing::delimiter("::", 9), b"a:"),
        (Framing::length_prefix(Prefix::U8, 999), &[0; 256]),
        (Framing::length_prefix(Prefix::U16Be, 99_999), &[0; 65_536]),
    ] {
        let error = framing.writer(&mut stream).write_frame(frame).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert!(stream.is_empty());
}

#[test]
#[should_panic(expected = "a delimiter has at least one byte")]
fn an_empty_delimiter_is_a_mistake() {
    Framing::delimiter("", 1);
}
