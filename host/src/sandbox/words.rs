//! What a guest had to say before it ended: the last of what it wrote to stderr, and the functions
//! that it was in.

use std::fmt::Write;

use wasmtime::WasmBacktrace;

/// How much of the end of stderr is kept, in bytes.
const KEPT: usize = 2048;
/// The most of it that a cause repeats, in characters.
const MOST: usize = 300;
/// How many functions a cause names.
const FRAMES: usize = 4;

/// The end of what a guest wrote to stderr.
#[derive(Default)]
pub(super) struct LastWords(Vec<u8>);

impl LastWords {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        if self.0.len() + bytes.len() > 2 * KEPT {
            let excess = (self.0.len() + bytes.len()).saturating_sub(KEPT).min(self.0.len());
            self.0.drain(..excess);
        }
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The panic, the exception or the last line, as one line. None if nothing was written.
    pub(super) fn say(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.0);
        // What Rust's std adds to each panic.
        let is_hint = |line: &str| line.starts_with("note: run with `RUST_BACKTRACE");
        let lines: Vec<&str> =
            text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !is_hint(line)).collect();
        // With std's "thread … " before it, or without, where the SDK prints it.
        let panic = lines.iter().rposition(|line| line.contains("panicked at "));
        // A traceback of Python ends with the exception. One of JavaScript begins with it, and its
        // frames are indented.
        let last = || lines.iter().rposition(|line| !line.starts_with([' ', '\t']) && *line != "Stack:");
        let (first, count) = match panic {
            Some(panic) => (panic, 3),
            None => (last()?, 1),
        };
        let said = lines[first..].iter().take(count).copied().collect::<Vec<_>>().join(" ");
        let said = said.find("panicked at ").filter(|_| panic.is_some()).map_or(&*said, |at| &said[at..]);
        let mut said = said.to_owned();
        if let Some((end, _)) = said.char_indices().nth(MOST) {
            said.truncate(end);
            said.push('…');
        }
        Some(said)
    }
}

/// What every program has on its stack when it ends, and nobody has written.
const RUNTIME: [&str; 16] = [
    "core::",
    "std::",
    "alloc::",
    "rust_",
    "__rust",
    "_R",
    "<core::",
    "<std::",
    "<alloc::",
    "wit_bindgen",
    "wharf_guest::",
    "<wharf_guest::",
    "abort",
    "cabi_",
    "__wasm",
    "__original",
];

/// The functions that the guest was in, the innermost first, as far as the module names them. Empty
/// if it names none.
pub(super) fn frames(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return text };
    let names = backtrace.frames().iter().filter_map(|frame| frame.func_name());
    let names = names.map(|name| format!("{:#}", rustc_demangle::demangle(name)));
    for name in names.filter(|name| !RUNTIME.iter().any(|prefix| name.starts_with(prefix))).take(FRAMES) {
        let separator = if text.is_empty() { "" } else { " < " };
        let _ = write!(text, "{separator}{name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<String> {
        let mut words = LastWords::default();
        text.as_bytes().chunks(7).for_each(|piece| words.push(piece));
        words.say()
    }

    #[test]
    fn the_cause_of_a_crash_is_found_in_what_each_language_prints() {
        assert_eq!(said(""), None);
        let rust = "listening\n\nthread '<unnamed>' (1) panicked at src/lib.rs:7:9:\nindex out of bounds: 3\nnote: run with \
                    `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        assert_eq!(said(rust).unwrap(), "panicked at src/lib.rs:7:9: index out of bounds: 3");
        let without_std = "panicked at src/lib.rs:7:9:\nindex out of bounds: 3\n";
        assert_eq!(said(without_std).unwrap(), "panicked at src/lib.rs:7:9: index out of bounds: 3");
        let python = "Traceback (most recent call last):\n  File \"upper.py\", line 7, in handle\n    raise ValueError('no')\n\
                      ValueError: no\n";
        assert_eq!(said(python).unwrap(), "ValueError: no");
        assert_eq!(said("TypeError: x is null\nStack:\n  handle@upper.js:5:9\n").unwrap(), "TypeError: x is null");
        assert_eq!(said("ready\nassertion failed: a == b\n").unwrap(), "assertion failed: a == b");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut words = LastWords::default();
        for number in 0..10_000 {
            words.push(format!("line {number} {}\n", "x".repeat(number % 400)).as_bytes());
        }
        words.push(&[b'y'; 100_000]);
        assert!(words.0.capacity() <= 8 * KEPT, "{}", words.0.capacity());
        assert_eq!(words.say().unwrap().chars().count(), MOST + 1);
    }
}
