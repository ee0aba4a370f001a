//! How much of the log one plugin may fill: a burst, and then so much a second.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How soon after a line was suppressed it is said how many were.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// What is logged of a plugin, each with a rate of its own, so that none of them can drown the
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCategory {
    /// What its handlers print.
    Printed,
    /// Sessions that failed.
    Failures,
    /// Clients that were turned away.
    Refusals,
}

/// A number of lines and of bytes.
#[derive(Clone, Copy)]
struct Amount {
    lines: f64,
    bytes: f64,
}

impl Amount {
    fn times(self, share: f64) -> Self {
        Self { lines: self.lines * share, bytes: self.bytes * share }
    }
}

impl LogCategory {
    pub const ALL: [Self; 3] = [Self::Printed, Self::Failures, Self::Refusals];

    /// As the log calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Printed => "printed",
            Self::Failures => "failures",
            Self::Refusals => "refusals",
        }
    }

    /// What may come at once.
    fn burst(self) -> Amount {
        match self {
            Self::Printed => Amount { lines: 1000.0, bytes: (512 << 10) as f64 },
            Self::Failures | Self::Refusals => Amount { lines: 500.0, bytes: (512 << 10) as f64 },
        }
    }

    /// What may come each second from then on.
    fn rate(self) -> Amount {
        match self {
            Self::Printed => Amount { lines: 200.0, bytes: (64 << 10) as f64 },
            Self::Failures | Self::Refusals => Amount { lines: 50.0, bytes: (64 << 10) as f64 },
        }
    }
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    /// Suppressed, as the first one of which nothing was said yet.
    FirstSuppressed,
    Suppressed,
}

/// A bucket of lines and bytes, filled at the topic's rate.
pub(super) struct Throttle {
    topic: LogCategory,
    /// How much of the topic's burst and rate this one has.
    share: f64,
    bucket: Mutex<Bucket>,
    suppressed: AtomicU64,
}

struct Bucket {
    left: Amount,
    /// When it was last filled; none while it is as full as in the beginning.
    at: Option<Instant>,
    /// Suppressed lines that nothing was said of.
    unsaid: u64,
}

impl Throttle {
    pub(super) fn new(topic: LogCategory, share: f64) -> Self {
        let bucket = Bucket { left: topic.burst().times(share), at: None, unsaid: 0 };
        Self { topic, share, bucket: Mutex::new(bucket), suppressed: AtomicU64::default() }
    }

    /// Asks for a line of so many bytes.
    pub(super) fn ask(&self, bytes: usize, now: Instant) -> Verdict {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = bucket.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        let (burst, rate) = (self.topic.burst().times(self.share), self.topic.rate().times(self.share));
        let filled = |left: f64, rate: f64, burst: f64| (left + rate * passed).min(burst);
        bucket.at = Some(now);
        bucket.left.lines = filled(bucket.left.lines, rate.lines, burst.lines);
        bucket.left.bytes = filled(bucket.left.bytes, rate.bytes, burst.bytes);
        if bucket.left.lines >= 1.0 && bucket.left.bytes >= bytes as f64 {
            bucket.left.lines -= 1.0;
            bucket.left.bytes -= bytes as f64;
            return Verdict::Admitted;
        }
        self.suppressed.fetch_add(1, Relaxed);
        bucket.unsaid += 1;
        if bucket.unsaid == 1 { Verdict::FirstSuppressed } else { Verdict::Suppressed }
    }

    /// Suppresses so many lines, without asking for each.
    pub(super) fn suppress(&self, lines: u64) -> Verdict {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        self.suppressed.fetch_add(lines, Relaxed);
        let is_first = bucket.unsaid == 0 && lines > 0;
        bucket.unsaid += lines;
        if is_first { Verdict::FirstSuppressed } else { Verdict::Suppressed }
    }

    /// How many lines were suppressed since this was last asked.
    pub(super) fn take_unsaid(&self) -> u64 {
        std::mem::take(&mut self.bucket.lock().unwrap_or_else(PoisonError::into_inner).unsaid)
    }

    /// How many were suppressed at all.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Relaxed)
    }

    /// Counts what was suppressed, and said, elsewhere.
    pub(super) fn add_suppressed(&self, lines: u64) {
        self.suppressed.fetch_add(lines, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        let throttle = Throttle::new(LogCategory::Failures, 1.0);
        let start = Instant::now();
        let admitted = |seconds: u64, asked: usize, bytes: usize| {
            let now = start + Duration::from_secs(seconds);
            (0..asked).filter(|_| throttle.ask(bytes, now) == Verdict::Admitted).count()
        };
        assert_eq!(admitted(0, 1000, 10), 500);
        assert_eq!(admitted(1, 1000, 10), 50);
        assert_eq!(admitted(3, 1000, 10), 100);
        // What is not used is not kept beyond a burst, and long lines count as more.
        assert_eq!(admitted(1000, 1000, 10), 500);
        assert_eq!(admitted(2000, 1000, 4 << 10), 128);
        // A clock that goes back gives nothing.
        assert_eq!(admitted(0, 10, 4 << 10), 0);
        assert_eq!(throttle.suppressed(), 500 + 950 + 900 + 500 + 872 + 10);
    }

    #[test]
    fn the_first_suppressed_line_is_told_from_those_after_it() {
        let throttle = Throttle::new(LogCategory::Printed, 1.0);
        let now = Instant::now();
        while throttle.ask(1, now) == Verdict::Admitted {}
        assert_eq!(throttle.ask(1, now), Verdict::Suppressed);
        assert_eq!(throttle.take_unsaid(), 2);
        assert_eq!(throttle.take_unsaid(), 0);
        assert_eq!(throttle.ask(1, now), Verdict::FirstSuppressed);
        assert_eq!(throttle.suppressed(), 3);
    }
}
