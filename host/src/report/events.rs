//! What scripts read: stdout, one event a line, its first word the event.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use super::non_blocking::NonBlockingWriter;
use crate::config::{ListenAddress, one_line};

static STDOUT: NonBlockingWriter = NonBlockingWriter::new(
    "events",
    |bytes| rustix::io::write(io::stdout(), bytes),
    |lines| tracing::error!(lines, "events are lost: they were not read in time, or could not be written"),
);

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
        STDOUT.line((line + "\n").as_bytes());
    }
}

/// Has the events so far printed. Waits for a script that does not read for no longer than `limit`.
pub fn flush(limit: Duration) {
    STDOUT.flush(limit);
}
