//! What scripts read: stdout, one event a line, its first word the event.

use std::fmt::Display;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstyle::AnsiColor;

use super::colour;
use super::non_blocking::NonBlockingWriter;
use crate::config::{ListenAddress, one_line};

static STDOUT: NonBlockingWriter = NonBlockingWriter::new(
    "events",
    |bytes| rustix::io::write(io::stdout(), bytes),
    |lines| tracing::error!(lines, "events are lost: they were not read in time, or could not be written"),
);

static COLOURED: AtomicBool = AtomicBool::new(false);

/// Something that happened to a plugin or to the host.
pub enum Event<'a> {
    /// A server accepts, on this address with its real port.
    Listening(&'a ListenAddress, &'a str),
    /// New sessions are served by this generation.
    Loaded(&'a str, &'a str),
    /// What was found is refused, and this generation serves on.
    Kept(&'a str, &'a str, &'a dyn Display),
    /// What was found is refused, and there is nothing older.
    Refused(&'a str, &'a dyn Display),
    Unloaded(&'a str),
    Closed(&'a ListenAddress, &'a str),
    /// An address can't be had. It is tried again.
    Failed(&'a ListenAddress, &'a str, &'a dyn Display),
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
        let line = if COLOURED.load(Ordering::Relaxed) { self.colour(&line) } else { line };
        STDOUT.line((line + "\n").as_bytes());
    }

    /// The event's line with its first word in colour.
    fn colour(&self, line: &str) -> String {
        let style = match self {
            Self::Listening(..) | Self::Loaded(..) => AnsiColor::Green,
            Self::Kept(..) | Self::Unloaded(_) | Self::Closed(..) => AnsiColor::Yellow,
            Self::Refused(..) | Self::Failed(..) => AnsiColor::Red,
            Self::Draining(_) | Self::Stopped | Self::Upgraded(_) => AnsiColor::Blue,
        };
        let style = style.on_default().bold();
        let (word, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
        format!("{style}{word}{style:#}{rest}")
    }
}

/// Shows events in colour from now on, if they go to a terminal.
pub fn colour_events() {
    COLOURED.store(colour::is_wanted(&io::stdout()), Ordering::Relaxed);
}

/// Has the events so far printed. Waits for a script that does not read for no longer than `limit`.
pub fn flush(limit: Duration) {
    STDOUT.flush(limit);
}
