//! The log: stderr, one line an entry. A reader that does not read loses lines, which are counted;
//! it stops nobody.

use std::io;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::colour;
use super::non_blocking::NonBlockingWriter;

static STDERR: NonBlockingWriter = NonBlockingWriter::new(
    "log",
    |bytes| rustix::io::write(io::stderr(), bytes),
    |lines| tracing::warn!(lines, "the log lost lines: they were not read in time, or could not be written"),
);

const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// How much each line has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStyle {
    Full,
    /// Without the time and the place in the code, for somebody who watches.
    Short,
}

/// Logs go to stderr; stdout is for events. Of the libraries only errors are logged: the rest is
/// said by us.
///
/// # Panics
/// If called twice.
pub fn to_stderr(level: LevelFilter, style: LogStyle) {
    let ours = Targets::new().with_target("wharf", level).with_target("guest", level);
    let lines = fmt::layer()
        .with_writer(|| &STDERR)
        .with_ansi(colour::is_wanted(&io::stderr()))
        // A log that can't be written, to a closed pipe say, must not panic over that.
        .log_internal_errors(false);
    let lines = match style {
        LogStyle::Full => lines.boxed(),
        LogStyle::Short => lines.without_time().with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(lines).with(ours.with_default(level.min(LevelFilter::ERROR))).init();
}

/// Has written what was logged so far. Waits for a reader that does not read for no longer than
/// `limit`.
pub fn flush(limit: Duration) {
    STDERR.flush(limit);
}

/// A level as a child process is told it.
pub fn to_number(level: LevelFilter) -> u8 {
    LEVELS.iter().zip(0..).find(|(known, _)| **known == level).map_or(0, |(_, number)| number)
}

/// The level that [`to_number`] gave.
pub fn from_number(number: u8) -> LevelFilter {
    LEVELS.get(usize::from(number)).copied().unwrap_or(LevelFilter::INFO)
}
