//! Text of others' making, as it may stand in one line of the log, of events and of errors.

use std::borrow::Cow;
use std::fmt::Display;

/// The most characters of a reason: one that a plugin has a part in can be of any length.
const LONGEST_REASON: usize = 2000;

/// The beginning of a text that may be of any length.
pub fn bounded(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()).into(),
        None => text.into(),
    }
}

/// The reason as one line of plain text. What stands in a plugin, names of exports for one, may
/// hold anything, and is not to move an operator's cursor, nor to be read in another order than it
/// is written in.
pub fn one_line(reason: &dyn Display) -> String {
    let mut line = String::new();
    for c in reason.to_string().chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            c if is_plain(c) => line.push(c),
            c => line.extend(c.escape_unicode()),
        }
    }
    line
}

/// Whether a character shows itself and nothing else: no control character, and no formatting one
/// either, as those are that turn the direction of text, have no width, or separate lines.
pub fn is_plain(c: char) -> bool {
    // std's tables are those by which it escapes text. A combining character is escaped only where
    // nothing precedes it.
    let mut buffer = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let escaped = str::from_utf8(&buffer[..length]).is_ok_and(|pair| pair.escape_debug().nth(2).is_some());
    !escaped || matches!(c, '"' | '\'' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_show_itself_is_escaped() {
        for c in [
            '\0',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e000}',
            '\u{10ffff}',
        ] {
            let escaped = format!("a{}b", c.escape_unicode());
            assert_eq!(one_line(&format_args!("a{c}b")), escaped);
            // The log's fields are escaped by std, which has to agree.
            assert!(!format!("{:?}", format!("a{c}b")).contains(c), "{escaped}");
        }
        for text in ["it's \"upper\" \\ 100 %", "好 ёß ñ n\u{303} a\u{301}", "🦀 ❤\u{fe0f} שלום سلام"] {
            assert_eq!(one_line(&text), text);
        }
        assert_eq!(one_line(&"a\r\nb\tc"), "a  b c");
    }
}
