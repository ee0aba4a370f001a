//! A file's bytes as binary wasm, or what they are instead.

use std::borrow::Cow;

use crate::config::Size;

/// What files of other formats begin with.
const FORMATS: [(&[u8], &str); 17] = [
    (b"\x7fELF\x02\x01\x01\xc8", "native code that wasmtime compiled, and not the wasm it was made of"),
    (b"\x7fELF", "an ELF program or library, native code of some machine"),
    (b"MZ", "a Windows program"),
    (b"\xfe\xed\xfa\xce", "a macOS program"),
    (b"\xfe\xed\xfa\xcf", "a macOS program"),
    (b"\xce\xfa\xed\xfe", "a macOS program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "a macOS program or a Java class"),
    (b"BC\xc0\xde", "LLVM bitcode, not compiled yet"),
    (b"!<arch>\n", "an archive of object files, not linked yet"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\xff\xfe", "text in UTF-16, where .wat text is UTF-8"),
    (b"\xfe\xff", "text in UTF-16, where .wat text is UTF-8"),
];

/// The most .wat text that is assembled here, in bytes: to take it apart needs 40 times as much
/// memory.
const MOST_TEXT: usize = 8 << 20;

/// What texts of other languages begin with, in whatever case.
const TEXTS: [(&str, &str); 6] = [
    ("#!", "a script"),
    ("<!doctype html", "an HTML page, as a failed download leaves"),
    ("<html", "an HTML page, as a failed download leaves"),
    ("<?xml", "an XML text, as a failed download leaves"),
    ("{", "a JSON text, as a failed download leaves"),
    ("version https://git-lfs", "a pointer of Git LFS, where `git lfs pull` fetches the file itself"),
];

/// The file as binary wasm, `.wat` text assembled.
///
/// # Errors
/// What it is instead, in one line.
pub(super) fn binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if bytes.starts_with(b"\0asm") {
        return if bytes.len() >= 8 {
            Ok(bytes.into())
        } else {
            Err("truncated wasm: only its first bytes are there".into())
        };
    }
    let kind = match FORMATS.iter().find(|(beginning, _)| bytes.starts_with(beginning)) {
        Some((_, kind)) => kind,
        None if bytes.is_empty() => "an empty file",
        None if bytes.iter().all(|byte| *byte == 0) => "nothing but zero bytes",
        None => match str::from_utf8(bytes) {
            Ok(text) => {
                // The mark that some editors begin UTF-8 with.
                let text = text.trim_start_matches('\u{feff}').trim_start();
                if text.starts_with("(;") || text.starts_with([';', '(']) {
                    return assembled(text).map(Into::into);
                }
                let begins = |beginning: &str| {
                    text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
                };
                TEXTS.iter().find(|(beginning, _)| begins(beginning)).map_or("a text file", |(_, kind)| kind)
            }
            Err(_) => "no wasm",
        },
    };
    Err(kind.to_owned())
}

fn assembled(text: &str) -> Result<Vec<u8>, String> {
    if text.len() > MOST_TEXT {
        let (size, most) = (text.len(), Size(MOST_TEXT as u64));
        return Err(format!(
            "{size} bytes of .wat text, where {most} are the most; `wasm-tools parse` makes binary wasm of it"
        ));
    }
    wat::parse_str(text).map_err(|error| {
        // Of the multi-line message, what is wrong and where.
        let text = error.to_string();
        let place = text.lines().find_map(|line| line.trim().strip_prefix("--> "));
        let what = text.lines().next().unwrap_or("syntax error");
        match place {
            Some(place) => format!("wrong .wat text: {what} at {}", place.trim_start_matches("<anon>:")),
            None => format!("wrong .wat text: {what}"),
        }
    })
}
