//! The CPU limit: ends a spinner, not a long session.
//!
//! Epochs end at a beat of 10 ms. A guest that is caught running at the end of one gives way to the others on its thread, and the time
//! it ran is added up, until it deals with its client again. While anybody is caught twice before that, the beat is of 50 µs, or as near to it as the
//! kernel's timers come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use super::fault::CpuLimitReached;
use super::instance::State;

/// How long an epoch lasts, which is how exactly the limit is kept.
const EPOCH: Duration = Duration::from_millis(10);
/// How long it lasts while somebody runs on and on: those who share his thread wait for as long each time. Whoever is caught but once
/// was there by chance, as under load somebody always is, and the beat has a price: at 50 µs, an eighth of a core. Shorter ones only had the
/// others interrupted more often.
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
    /// When the guest went on after it last gave way, in nanoseconds since `start`. Shared with the future it waits in
    /// meanwhile; made when an instance is first caught, which most never are.
    resumed: Option<(Instant, Arc<AtomicU64>)>,
    /// Set by whoever deals with the client where the meter is out of reach; made when asked for.
    dealings: Option<Arc<AtomicBool>>,
}

impl CpuMeter {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, used: Duration::ZERO, resumed: None, dealings: None }
    }

    /// The guest has dealt with its client: count from here.
    pub(super) fn reset(&mut self) {
        self.used = Duration::ZERO;
    }

    /// A flag that says the same as [`reset`](Self::reset) when it is set.
    pub(super) fn dealings(&mut self) -> Arc<AtomicBool> {
        self.dealings.get_or_insert_default().clone()
    }

    fn caught(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if self.dealings.as_ref().is_some_and(|dealt| dealt.swap(false, Relaxed)) {
            self.reset();
        }
        // A stretch ends at the epoch after it began. One that seems longer had a wait in it, or the thread was not
        // running; neither is the guest's doing.
        let stretch = match &self.resumed {
            Some((start, at)) => (start.elapsed() - Duration::from_nanos(at.load(Relaxed))).min(2 * EPOCH),
            None => epoch(),
        };
        if !self.used.is_zero() {
            BUSY_UNTIL.store(since(*START) + BUSY.as_nanos() as u64, Relaxed);
        }
        self.used += stretch;
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

/// Puts a new store under its meter.
pub(super) fn watch(store: &mut Store<State>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store: StoreContextMut<'_, State>| store.data_mut().cpu.caught());
}
