//! A deadline that moves, and is seldom reached.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that fires later than this after its deadline tells of a host that stood still, by
/// SIGSTOP for one.
const LATE: Duration = Duration::from_millis(100);
/// What a wait gets then. What came in time is found ready only when the kernel is asked next, and
/// epoll_wait(2) ends at a SIGCONT without having been asked.
const GRACE: Duration = Duration::from_millis(10);

/// A timer for waits that mostly end long before their deadline: it is set when something waits for
/// the first time, and a deadline that has moved on since is found out when it fires.
#[derive(Default)]
pub(crate) struct DeadlineTimer {
    timer: Option<Pin<Box<Sleep>>>,
    asked: WakerCache,
    /// A deadline that it was late for, and when that one counts.
    put_off: Option<(Instant, Instant)>,
}

impl DeadlineTimer {
    /// Ready once `deadline` has passed, and the waiter had a chance to see what came before it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let (asked, due) = (self.asked.before(cx), deadline);
        let deadline = self.put_off.filter(|(deadline, _)| *deadline == due).map_or(due, |(_, until)| until);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        } else if asked && !timer.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if now < deadline {
                timer.as_mut().reset(deadline);
            } else if now < deadline + LATE || deadline != due {
                return Poll::Ready(());
            } else {
                self.put_off = Some((due, now + GRACE));
                timer.as_mut().reset(now + GRACE);
                return timer.as_mut().poll(cx);
            }
        }
    }
}

/// The waker that is already registered. Registering the same one again would only take locks, at
/// every message.
#[derive(Default)]
pub(crate) struct WakerCache(Option<Waker>);

impl WakerCache {
    /// Whether this task has asked before; from now on, it has.
    pub(crate) fn before(&mut self, cx: &Context<'_>) -> bool {
        let known = self.0.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            self.0 = Some(cx.waker().clone());
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn it_fires_at_the_deadline_and_not_before() {
        runtime().block_on(async {
            let mut alarm = DeadlineTimer::default();
            let deadline = Instant::now() + Duration::from_millis(20);
            poll_fn(|cx| alarm.poll(cx, deadline)).await;
            assert!(Instant::now() >= deadline);
        });
    }

    #[test]
    fn one_that_comes_late_leaves_time_to_look_once_more() {
        runtime().block_on(async {
            let mut alarm = DeadlineTimer::default();
            let deadline = Instant::now() + Duration::from_millis(1);
            let mut polls = 0;
            poll_fn(|cx| {
                let before = Instant::now();
                polls += 1;
                let fired = alarm.poll(cx, deadline);
                if polls == 1 {
                    assert!(fired.is_pending());
                    std::thread::sleep(2 * LATE);
                } else if fired.is_pending() {
                    assert!(before >= deadline + LATE, "it was late");
                }
                fired
            })
            .await;
            assert!(polls >= 3, "{polls}");
        });
    }

    #[test]
    fn a_deadline_moves_both_ways() {
        runtime().block_on(async {
            let hour = Duration::from_secs(3600);
            for (first, then) in [(hour, Duration::from_millis(20)), (Duration::ZERO, Duration::from_millis(20))] {
                let mut alarm = DeadlineTimer::default();
                let now = Instant::now();
                // What comes of it is not the question.
                let _ = poll_fn(|cx| Poll::Ready(alarm.poll(cx, now + first))).await;
                poll_fn(|cx| alarm.poll(cx, now + then)).await;
                assert!(Instant::now() >= now + then);
            }
        });
    }
}
