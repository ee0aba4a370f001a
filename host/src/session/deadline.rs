//! What ends a session that does not end by itself: its phases' time, its generation's drain
//! deadline, and the end of its client.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFuture;

use crate::listen::{ClientWatch, Presence};
use crate::plugin::DrainDeadline;
use crate::sandbox::{Cause, Fault};
use crate::timer::{DeadlineTimer, WakerCache};

/// What ends a phase that does not end by itself.
pub(crate) struct Deadline<'p, 't> {
    drain: Drain<'p, 't>,
    /// One timer for all of a session.
    alarm: DeadlineTimer,
    limit: Duration,
    /// From when the phase was first waited for: most end before.
    until: Option<Instant>,
    /// None where the request is no connection.
    client: Option<Vigil>,
}

impl<'p, 't> Deadline<'p, 't> {
    pub(crate) fn new(
        drain: &'t DrainDeadline,
        next: Pin<&'p mut WaitForCancellationFuture<'t>>,
        client: Option<Vigil>,
    ) -> Self {
        let drain = Drain { deadline: drain, next, asked: WakerCache::default(), is_announced: false };
        Self { drain, alarm: DeadlineTimer::default(), limit: Duration::ZERO, until: None, client }
    }

    /// Whatever is bound from now on has this long, all together.
    pub(crate) fn set(&mut self, limit: Duration) {
        self.limit = limit;
        self.until = None;
    }

    pub(crate) async fn bound<T>(&mut self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut call = pin!(call);
        poll_fn(|cx| {
            self.begin_poll();
            match call.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => self.poll_over(cx).map(|cause| Err(Fault::Ended(cause))),
            }
        })
        .await
    }

    /// To be called before the guest is polled, and [`poll_over`](Self::poll_over) after it, where
    /// it is pending.
    pub(crate) fn begin_poll(&self) {
        if let Some(vigil) = &self.client {
            vigil.client.begin_poll();
        }
    }

    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        match self.drain.poll(cx) {
            Poll::Pending => {}
            Poll::Ready(Drained::Soon) => {
                if let Some(vigil) = &self.client {
                    vigil.client.announce_the_end();
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Ready(Drained::Now) => return Poll::Ready(Cause::Drain),
        }
        let limit = self.limit;
        let until = *self.until.get_or_insert_with(|| Instant::now() + limit);
        // A guest that waits for its client is woken by its end.
        let Some(vigil) = self.client.as_mut().filter(|vigil| !vigil.client.is_waited_for()) else {
            return self.alarm.poll(cx, until).map(|()| Cause::Timeout(limit));
        };
        loop {
            let look = vigil.next_look();
            ready!(self.alarm.poll(cx, look.min(until)));
            if until <= look {
                return Poll::Ready(Cause::Timeout(limit));
            }
            if vigil.look_is_the_last() {
                return Poll::Ready(Cause::Gone(vigil.grace));
            }
        }
    }

    /// The client, where there is one.
    pub(crate) fn client(&self) -> Option<&ClientWatch> {
        self.client.as_ref().map(|vigil| &vigil.client)
    }
}

/// The drain deadline, as one session waits for it.
struct Drain<'p, 't> {
    deadline: &'t DrainDeadline,
    /// What is waited for next: that it is announced, then that it is reached.
    next: Pin<&'p mut WaitForCancellationFuture<'t>>,
    asked: WakerCache,
    is_announced: bool,
}

enum Drained {
    /// Said once.
    Soon,
    Now,
}

impl Drain<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Drained> {
        if !self.asked.before(cx) {
            // What it says is asked below.
            let _ = self.next.as_mut().poll(cx);
        }
        if self.deadline.is_reached() {
            return Poll::Ready(Drained::Now);
        }
        if self.is_announced || !self.deadline.is_announced() {
            return Poll::Pending;
        }
        self.is_announced = true;
        self.next.set(self.deadline.reached());
        if self.next.as_mut().poll(cx).is_ready() { Poll::Ready(Drained::Now) } else { Poll::Ready(Drained::Soon) }
    }
}

/// The watch for a client that leaves while its handler is busy with something else.
pub(crate) struct Vigil {
    client: ClientWatch,
    /// `timeouts.gone`.
    grace: Duration,
    look: Option<Instant>,
    /// Since when the client is known to be gone, and what of its bytes was unread when that began
    /// to count.
    gone: Option<(Instant, u64)>,
    asks: bool,
}

/// How often the kernel is asked at most, and how often a half-closed TCP client is.
const LOOK: Duration = Duration::from_secs(1);
const ASK: Duration = Duration::from_secs(10);

impl Vigil {
    pub(crate) fn new(client: ClientWatch, grace: Duration) -> Self {
        Self { client, grace, look: None, gone: None, asks: false }
    }

    fn next_look(&mut self) -> Instant {
        *self.look.get_or_insert_with(|| Instant::now() + self.grace.clamp(Duration::from_millis(10), LOOK))
    }

    /// Looks for the client. Whether it has been gone for long enough that its session ends.
    fn look_is_the_last(&mut self) -> bool {
        self.look = None;
        match self.client.presence() {
            Presence::Here => self.gone = None,
            Presence::HalfClosed => {
                self.gone = None;
                if !self.asks {
                    self.asks = true;
                    // The kernel counts in seconds.
                    self.client.ask_whether_it_is_there(self.grace.clamp(Duration::from_secs(1), ASK));
                }
            }
            Presence::Gone => {
                let (now, unread) = (Instant::now(), self.client.unread());
                // What came before the end is still the handler's: as long as it takes more of it,
                // it is not done.
                let (since, _) = *match &mut self.gone {
                    Some(gone) if gone.1 == unread => gone,
                    other => other.insert((now, unread)),
                };
                return now >= since + self.grace;
            }
        }
        false
    }
}
