//! Where plugins are compiled: on threads of their own, apart from those that serve and behind
//! them, small plugins and large ones in lanes of their own.

use std::thread;
use std::time::Duration;

use rustix::process::nice;
use tokio::sync::{Semaphore, oneshot};

use crate::capacity::room_for_a_thread;

/// How much goes through a lane at once: in the quick one more than there are cores, so that none
/// waits for one that is not quite as quick; in the long one no more than there are cores. Not
/// without end, as a compiler takes memory.
const WIDTH: usize = 8;

/// Wasm of more bytes than this is long work: half a second of compiling, or more.
const LONG_FROM: usize = 1 << 20;

/// What looks quick, and takes longer than this, goes on in the other lane, from the beginning:
/// code of some hundred KB can take a compiler minutes, if it is made for that.
const QUICK: Duration = Duration::from_secs(2);

/// Twelve times what Python takes, the largest of the usual guests.
const LONG_LANE_TIME: Duration = Duration::from_secs(120);

/// Which work waits for which: a lane's for its own only, so that the replacement of a small plugin
/// never queues behind large ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Reading a plugin, taking its code from the cache, compiling a small one.
    Quick,
    /// Compiling a large one, which takes seconds.
    Long,
}

impl Lane {
    /// The lane that so many bytes of wasm are compiled in.
    pub(super) fn of(size: usize) -> Self {
        if size > LONG_FROM { Self::Long } else { Self::Quick }
    }

    /// The longest that one plugin may be compiled in it, in CPU time.
    pub(super) fn time(self) -> Duration {
        match self {
            Self::Quick => QUICK,
            Self::Long => LONG_LANE_TIME,
        }
    }

    /// What its threads are called.
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "load",
            Self::Long => "compile",
        }
    }

    /// How far its threads stand behind those that serve, in steps of nice(2). Not as far as the
    /// scheduler goes: where others take every core, work at 10 still gets a tenth of what each of
    /// them does, and ends in its time.
    fn niceness(self) -> i32 {
        match self {
            Self::Quick => 5,
            Self::Long => 10,
        }
    }
}

/// The lanes of one host.
pub(super) struct Lanes {
    quick: Semaphore,
    long: Semaphore,
    /// Whether anything serves meanwhile.
    behind: bool,
}

impl Lanes {
    /// With `behind`, what goes through them gives way to all other threads of this process.
    pub(super) fn new(behind: bool) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { quick: Semaphore::new(WIDTH), long: Semaphore::new(cores.min(WIDTH)), behind }
    }

    /// Does `work` in its turn, and waits for it. If the wait is dropped before the turn, nothing
    /// is done.
    ///
    /// # Errors
    /// It panicked, or the machine gives no thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let turns = match lane {
            Lane::Quick => &self.quick,
            Lane::Long => &self.long,
        };
        let _turn = turns.acquire().await.expect("the semaphore is never closed");
        let (done, outcome) = oneshot::channel();
        let niceness = self.behind.then(|| lane.niceness());
        let on_thread = move || {
            // Of this thread alone: on Linux, niceness is a thread's own. The thread ends with its
            // work, as only root may take a niceness back. Where it can't be had, the work is done
            // all the same.
            let _ = niceness.map(nice);
            // Nobody waits any longer where the host stops.
            let _ = done.send(work());
        };
        let begun =
            room_for_a_thread().and_then(|()| thread::Builder::new().name(lane.name().to_owned()).spawn(on_thread));
        begun.map_err(|error| error.to_string())?;
        outcome.await.map_err(|_| "its thread panicked".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::process::getpriority_process;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn work_stands_behind_who_serves_and_long_work_behind_quick_work() {
        let own = getpriority_process(None).unwrap();
        let nice = |behind, lane| {
            block_on(Lanes::new(behind).run(lane, || getpriority_process(None).unwrap())).expect("it does not panic")
        };
        assert!(own < nice(true, Lane::Quick) && nice(true, Lane::Quick) < nice(true, Lane::Long));
        assert_eq!(nice(false, Lane::Long), own);
        assert_eq!(getpriority_process(None).unwrap(), own, "nobody else's priority changes");
    }

    #[test]
    fn quick_work_does_not_wait_for_long_work() {
        let lanes = Arc::new(Lanes::new(true));
        block_on(async {
            let (release, held) = std::sync::mpsc::channel::<()>();
            let held = Arc::new(std::sync::Mutex::new(held));
            // As much as there may be at once, and more that waits for its turn.
            let long: Vec<_> = (0..100)
                .map(|_| {
                    let (lanes, held) = (lanes.clone(), held.clone());
                    tokio::spawn(async move { lanes.run(Lane::Long, move || held.lock().unwrap().recv()).await })
                })
                .collect();
            while lanes.long.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(lanes.run(Lane::Quick, || 7).await, Ok(7));
            assert!(long.iter().all(|work| !work.is_finished()));
            drop(release);
            for work in long {
                work.await.unwrap().unwrap().unwrap_err();
            }
        });
    }

    #[test]
    fn work_that_panics_is_told_and_gives_its_turn_back() {
        let lanes = Lanes::new(true);
        block_on(async {
            for _ in 0..2 * WIDTH {
                let outcome = lanes.run(Lane::Quick, || -> u8 { panic!("a test's") }).await;
                assert_eq!(outcome, Err("its thread panicked".to_owned()));
            }
        });
    }
}
