//! How long a guest may wait for its client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::contract::ErrorCode;

/// The limits of a session's waits: the operator's idle time, which runs from the last byte on however many waits there
/// are in it, and the guest's own, which is of each wait.
pub(super) struct Patience {
    idle: Duration,
    asked: Option<Duration>,
    /// When the client was first waited for since its last byte.
    quiet_since: Option<Instant>,
    /// The idle time has run out: the client counts as gone.
    exhausted: bool,
    /// One timer for all waits. Most end long before it, so it is set when it fires, and not at each wait.
    timer: Option<Pin<Box<Sleep>>>,
}

/// One wait.
#[derive(Default)]
pub(super) struct Wait {
    deadline: Option<Instant>,
    /// Whether the guest was ever suspended in it.
    pub(super) suspended: bool,
}

impl Wait {
    /// The limit of a wait begins anew.
    pub(super) fn again(&mut self) {
        self.deadline = None;
    }
}

impl Patience {
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, asked: None, quiet_since: None, exhausted: false, timer: None }
    }

    /// Sets the guest's own limit.
    pub(super) fn ask(&mut self, limit: Option<Duration>) {
        self.asked = limit;
    }

    /// Bytes went through.
    pub(super) fn renew(&mut self) {
        self.quiet_since = None;
    }

    /// # Errors
    /// `timed-out` for ever once the operator's idle time has run out, so that a guest that goes on waiting is not
    /// taken for one that deals with its client.
    pub(super) fn left(&self) -> Result<(), ErrorCode> {
        if self.exhausted { Err(ErrorCode::TimedOut) } else { Ok(()) }
    }

    /// Ready, with the error for the guest, once this wait has lasted too long.
    pub(super) fn poll_timed_out(&mut self, cx: &mut Context<'_>, wait: &mut Wait) -> Poll<ErrorCode> {
        let deadline = *wait.deadline.get_or_insert_with(|| {
            let now = Instant::now();
            let idle = *self.quiet_since.get_or_insert(now) + self.idle;
            self.asked.and_then(|asked| now.checked_add(asked)).map_or(idle, |asked| asked.min(idle))
        });
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        wait.suspended |= deadline > Instant::now();
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if now >= deadline {
                self.exhausted = self.quiet_since.is_some_and(|since| now >= since + self.idle);
                return Poll::Ready(ErrorCode::TimedOut);
            }
            timer.as_mut().reset(deadline);
        }
    }
}
