//! What scripts read: stdout, one event a line, its first word the event.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use crate::config::Address;
use crate::outlet::Outlet;

static STDOUT: Outlet = Outlet::new(
    "events",
    |bytes| rustix::io::write(io::stdout(), bytes),
    |lines| tracing::error!(lines, "events are lost: they were not read in time, or could not be written"),
);

/// Something that happened to a plugin or to the host.
pub enum Event<'a> {
    /// A server accepts, on this address with its real port.
    Listening(&'a Address, &'a str),
    /// New sessions are served by this generation.
    Loaded(&'a str, &'a str),
    /// What was found is refused, and this generation serves on.
    Kept(&'a str, &'a str, &'a dyn Display),
    /// What was found is refused, and there is nothing older.
    Refused(&'a str, &'a dyn Display),
    Unloaded(&'a str),
    Closed(&'a Address, &'a str),
    /// An address can't be had. It is tried again.
    Failed(&'a Address, &'a str, &'a dyn Display),
    /// The host stops, with this many sessions running.
    Draining(usize),
    Stopped,
    /// The host's place is taken by the one in this process.
    Upgraded(u32),
}

impl Event<'_> {
    /// Prints the event. A script that no longer reads does not stop the host.
    pub fn emit(&self) {
        let line = match self {
            Self::Listening(address, plugin) => format!("listening {address} {plugin}"),
            Self::Loaded(plugin, generation) => format!("loaded {plugin} {generation}"),
            Self::Kept(plugin, generation, reason) => format!("kept {plugin} {generation}: {}", one_line(reason)),
            Self::Refused(plugin, reason) => format!("refused {plugin}: {}", one_line(reason)),
            Self::Unloaded(plugin) => format!("unloaded {plugin}"),
            Self::Closed(address, plugin) => format!("closed {address} {plugin}"),
            Self::Failed(address, plugin, reason) => format!("failed {address} {plugin}: {}", one_line(reason)),
            Self::Draining(sessions) => format!("draining {sessions}"),
            Self::Stopped => "stopped".to_owned(),
            Self::Upgraded(pid) => format!("upgraded {pid}"),
        };
        STDOUT.line((line + "\n").as_bytes());
    }
}

/// The most characters of a reason: one that a plugin has a part in can be of any length.
const LONGEST_REASON: usize = 2000;

/// The beginning of a text that may be of any length.
pub fn bounded(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()).into(),
        None => text.into(),
    }
}

/// Has the events so far printed. Waits for a script that does not read for no longer than `limit`.
pub fn flush(limit: Duration) {
    STDOUT.flush(limit);
}

/// The reason as one line of plain text. What stands in a plugin, names of exports for one, may hold anything, and is
/// not to move an operator's cursor, nor to be read in another order than it is written in.
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

/// Whether a character shows itself and nothing else: no control character, and no formatting one either, as those are that turn
/// the direction of text, have no width, or separate lines.
pub fn is_plain(c: char) -> bool {
    // std's tables are those by which it escapes text. A combining character is escaped only where nothing precedes it.
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
