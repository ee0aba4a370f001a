//! The CPU limit: ends a spinner, not a long session.
//!
//! Epochs end at a beat of 10 ms. A guest that is caught running at the end of one gives way to the
//! others on its thread, and the time it ran is added up, until it deals with its client again.
//! While anybody is caught twice before that, the beat is of 50 µs, or as near to it as the
//! kernel's timers come.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use wasmtime::UpdateDeadline;

use super::limits::CpuLimitReached;

/// How long an epoch lasts, which is how exactly the limit is kept.
const EPOCH: Duration = Duration::from_millis(10);
/// How long it lasts while a guest hogs its thread: its neighbours wait this long each turn. Being
/// caught once is normal under load. The beat has a price: at 50 µs, an eighth of a core. Shorter
/// ones only had the others interrupted more often.
const SHORT_EPOCH: Duration = Duration::from_micros(50);
/// For how long after that.
const BUSY: Duration = Duration::from_millis(100);

/// Since when [`BUSY_UNTIL`] counts.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Until when epochs are short, in nanoseconds.
static BUSY_UNTIL: AtomicU64 = AtomicU64::new(0);

/// How long the epoch that begins now lasts.
pub(super) fn epoch() -> Duration {
    if since(*START) < BUSY_UNTIL.load(Relaxed) { SHORT_EPOCH } else { EPOCH }
}

/// In nanoseconds, which a u64 has for five centuries.
fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What one instance has run since it last dealt with its client.
pub(super) struct CpuMeter {
    limit: Duration,
    used: Duration,
    /// When the guest went on after it last gave way, in nanoseconds since `start`. Shared with the
    /// future it waits in meanwhile; made when an instance is first caught, which most never are.
    resumed: Option<(Instant, Arc<AtomicU64>)>,
    /// What is known of it where the meter is out of reach; made when asked for.
    account: Option<Arc<Account>>,
}

/// A guest's time, for code that works for the guest out of the meter's reach: its streams, and
/// functions that take long.
pub(super) struct Account {
    limit: AtomicU64,
    /// The guest has dealt with its client since the meter last looked.
    dealt: AtomicBool,
    /// What the meter had counted when it last looked, in nanoseconds.
    ran: AtomicU64,
    /// For how long the host has worked for the guest since then, in nanoseconds.
    worked: AtomicU64,
}

impl Account {
    /// The guest has dealt with its client, if `really`: count from here.
    pub(super) fn dealt(&self, really: bool) {
        if really {
            self.dealt.store(true, Relaxed);
            self.worked.store(0, Relaxed);
        }
    }

    /// The host has worked for the guest for so long.
    ///
    /// # Errors
    /// That was more than the limit, together with what the guest ran.
    pub(super) fn charge(&self, time: Duration) -> wasmtime::Result<()> {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let worked = self.worked.fetch_add(time, Relaxed).saturating_add(time);
        let ran = if self.dealt.load(Relaxed) { 0 } else { self.ran.load(Relaxed) };
        let limit = self.limit.load(Relaxed);
        if worked.saturating_add(ran) < limit {
            Ok(())
        } else {
            Err(CpuLimitReached(Duration::from_nanos(limit)).into())
        }
    }

    fn begin(&self, limit: Duration) {
        self.limit.store(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.count_from_here();
    }

    fn count_from_here(&self) {
        self.dealt.store(false, Relaxed);
        self.ran.store(0, Relaxed);
        self.worked.store(0, Relaxed);
    }
}

/// For how long the host works for a guest in one go, where it can tell.
pub(super) const TURN: Duration = Duration::from_micros(100);

/// What the host does for a guest within one call, in pieces: it is charged to the guest, and gives
/// way to others.
pub(super) struct ChargedWork {
    account: Arc<Account>,
    since: Instant,
    /// What was done since others on the thread last had their turn.
    at_once: Duration,
}

impl ChargedWork {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self { account, since: Instant::now(), at_once: Duration::ZERO }
    }

    /// A piece is done.
    ///
    /// # Errors
    /// The guest has had its time.
    pub(super) async fn pause(&mut self) -> wasmtime::Result<()> {
        self.took(self.since.elapsed()).await
    }

    /// Does a piece that waits for something in between, which costs the guest nothing.
    ///
    /// # Errors
    /// The guest has had its time.
    pub(super) async fn during<T>(&mut self, piece: impl Future<Output = T>) -> wasmtime::Result<T> {
        let mut piece = pin!(piece);
        let mut took = Duration::ZERO;
        let done = poll_fn(|cx| {
            let since = Instant::now();
            let polled = piece.as_mut().poll(cx);
            took += since.elapsed();
            polled
        })
        .await;
        self.took(took).await?;
        Ok(done)
    }

    async fn took(&mut self, took: Duration) -> wasmtime::Result<()> {
        self.account.charge(took)?;
        self.at_once += took;
        if self.at_once >= TURN {
            tokio::task::yield_now().await;
            self.at_once = Duration::ZERO;
        }
        self.since = Instant::now();
        Ok(())
    }
}

impl CpuMeter {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, used: Duration::ZERO, resumed: None, account: None }
    }

    /// The same guest serves another request, under this limit.
    pub(super) fn begin_anew(&mut self, limit: Duration) {
        (self.limit, self.used, self.resumed) = (limit, Duration::ZERO, None);
        if let Some(account) = &self.account {
            account.begin(limit);
        }
    }

    /// The guest has dealt with its client: count from here.
    pub(super) fn reset(&mut self) {
        self.used = Duration::ZERO;
        if let Some(account) = &self.account {
            account.count_from_here();
        }
    }

    /// What the meter has and gets from where it is out of reach.
    pub(super) fn account(&mut self) -> Arc<Account> {
        let limit = self.limit;
        let account = self.account.get_or_insert_with(|| {
            let account = Account { limit: 0.into(), dealt: false.into(), ran: 0.into(), worked: 0.into() };
            account.begin(limit);
            Arc::new(account)
        });
        account.clone()
    }

    /// An epoch has ended while it ran.
    ///
    /// # Errors
    /// It has had its time.
    pub(super) fn caught(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let mut worked = Duration::ZERO;
        if let Some(account) = &self.account {
            if account.dealt.swap(false, Relaxed) {
                self.used = Duration::ZERO;
            }
            worked = Duration::from_nanos(account.worked.swap(0, Relaxed));
        }
        // A stretch ends at the epoch after it began. One that seems longer had a wait in it, or
        // the thread was not running; neither is the guest's doing.
        let stretch = match &self.resumed {
            Some((start, at)) => (start.elapsed() - Duration::from_nanos(at.load(Relaxed))).min(2 * EPOCH),
            None => epoch(),
        };
        // Work of the host's is the guest's doing, however long it took. The stretch has what of it
        // lasted no longer.
        let stretch = stretch.max(worked);
        if !self.used.is_zero() {
            BUSY_UNTIL.store(since(*START) + BUSY.as_nanos() as u64, Relaxed);
        }
        self.used += stretch;
        if let Some(account) = &self.account {
            account.ran.store(u64::try_from(self.used.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
        if self.used >= self.limit {
            return Err(CpuLimitReached(self.limit).into());
        }
        let (start, at) = self.resumed.get_or_insert_with(|| (Instant::now(), Arc::default())).clone();
        let give_way = async move {
            tokio::task::yield_now().await;
            at.store(since(start), Relaxed);
        };
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(give_way)))
    }
}
