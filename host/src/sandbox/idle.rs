//! How long a guest may wait for its client.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::contract::ErrorCode;
use super::limits::{BrokenPipe, IN_VAIN};
use crate::timer::DeadlineTimer;

/// The limits of a session's waits: the operator's idle time, which runs from the last byte on
/// however many waits there are in it, and the guest's own, which is of each wait.
pub(super) struct IdleTimeout {
    idle: Duration,
    asked: Option<Duration>,
    /// When the client was first waited for since its last byte.
    quiet_since: Option<Instant>,
    /// The idle time has run out: the client counts as gone.
    exhausted: bool,
    /// How many reads and writes in a row moved nothing, and could not have.
    in_vain: u32,
    /// One timer for all waits.
    alarm: DeadlineTimer,
}

/// One wait.
#[derive(Default)]
pub(super) struct Wait {
    deadline: Option<Instant>,
    /// When to hibernate the guest; none if never, or already done.
    rest: Option<Instant>,
    rests: bool,
    /// Whether the guest was ever suspended in it.
    pub(super) suspended: bool,
}

/// For how long a client is quiet before its guest is hibernated. Waking it takes some
/// microseconds.
const REST: Duration = Duration::from_secs(1);

/// What a wait has come to.
pub(super) enum Expired {
    TimedOut,
    /// It goes on, but has lasted long.
    Rest,
}

impl Wait {
    /// One that says when the guest may be hibernated.
    pub(super) fn with_rest() -> Self {
        Self { rests: true, ..Self::default() }
    }

    /// The limit of a wait begins anew.
    pub(super) fn again(&mut self) {
        self.deadline = None;
    }
}

impl IdleTimeout {
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, asked: None, quiet_since: None, exhausted: false, in_vain: 0, alarm: DeadlineTimer::default() }
    }

    /// Sets the guest's own limit.
    pub(super) fn ask(&mut self, limit: Option<Duration>) {
        self.asked = limit;
    }

    /// Bytes went through.
    pub(super) fn renew(&mut self) {
        self.quiet_since = None;
        self.in_vain = 0;
    }

    /// Something was read or written that nobody has sent or will get, without a wait.
    ///
    /// # Errors
    /// It was once too often.
    pub(super) fn in_vain(&mut self) -> Result<(), BrokenPipe> {
        self.in_vain += 1;
        if self.in_vain < IN_VAIN { Ok(()) } else { Err(BrokenPipe) }
    }

    /// # Errors
    /// `timed-out` for ever once the operator's idle time has run out, so that a guest that goes on
    /// waiting is not taken for one that deals with its client.
    pub(super) fn left(&self) -> Result<(), ErrorCode> {
        if self.exhausted { Err(ErrorCode::TimedOut) } else { Ok(()) }
    }

    /// Ready, with the error for the guest, once this wait has lasted too long.
    pub(super) fn poll_timed_out(&mut self, cx: &mut Context<'_>, wait: &mut Wait) -> Poll<ErrorCode> {
        loop {
            if let Expired::TimedOut = ready!(self.poll_over(cx, wait)) {
                return Poll::Ready(ErrorCode::TimedOut);
            }
        }
    }

    /// Ready once this wait has lasted too long, or long enough that the guest is hibernated.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, wait: &mut Wait) -> Poll<Expired> {
        let deadline = match wait.deadline {
            Some(deadline) => deadline,
            None => {
                let now = Instant::now();
                let idle = *self.quiet_since.get_or_insert(now) + self.idle;
                let deadline =
                    self.asked.and_then(|asked| now.checked_add(asked)).map_or(idle, |asked| asked.min(idle));
                wait.suspended |= deadline > now;
                wait.rest = wait.rests.then(|| now + REST).filter(|rest| *rest < deadline);
                *wait.deadline.insert(deadline)
            }
        };
        if let Some(rest) = wait.rest {
            ready!(self.alarm.poll(cx, rest));
            wait.rest = None;
            return Poll::Ready(Expired::Rest);
        }
        ready!(self.alarm.poll(cx, deadline));
        self.exhausted = self.quiet_since.is_some_and(|since| Instant::now() >= since + self.idle);
        Poll::Ready(Expired::TimedOut)
    }
}
