//! Warm instances, between two requests: those of a plugin whose manifest says
//! `instance = "reused"`, and fresh ones that were put back into their first state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

use super::state::State;
use crate::config::{Reuse, Settings};

/// How fresh instances are kept: for as long as a busy plugin wants them, and no longer.
const FRESH_POOL: Reuse = Reuse { max_instances: 64, max_age: Duration::from_secs(60), max_requests: u32::MAX };

/// How often those are looked for that will not be used again.
const SWEEP: Duration = Duration::from_secs(1);

/// An instance and its history.
pub(super) struct Pooled<I> {
    pub(super) store: Store<State>,
    pub(super) instance: I,
    since: Instant,
    served: u32,
    /// Its room among the kept ones, once it was one.
    room: Option<OwnedSemaphorePermit>,
}

impl<I> Pooled<I> {
    /// In a box, as it is passed on from step to step.
    pub(super) fn new(store: Store<State>, instance: I) -> Box<Self> {
        Box::new(Self { store, instance, since: Instant::now(), served: 0, room: None })
    }

    /// Whether it may serve under these settings. Once false, it stays false.
    fn may_serve(&self, now: Instant, settings: &Arc<Settings>) -> bool {
        let limits = settings.reuse.unwrap_or(FRESH_POOL);
        now.saturating_duration_since(self.since) < limits.max_age
            && self.served < limits.max_requests
            && Arc::ptr_eq(&self.store.data().settings, settings)
    }
}

/// The warm instances of one generation. The one used last is used next: what is in the processor's
/// caches is cheapest, and what is not needed grows old.
pub(super) struct InstancePool<I> {
    idle: Mutex<Idle<I>>,
    /// Bounds the kept ones of all plugins together.
    room: Arc<Semaphore>,
}

struct Idle<I> {
    made: Vec<Box<Pooled<I>>>,
    swept: Instant,
}

impl<I> InstancePool<I> {
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        Self { idle: Mutex::new(Idle { made: Vec::new(), swept: Instant::now() }), room }
    }

    /// An instance that has served before, if there is one that may serve again under these
    /// settings.
    pub(super) fn take(&self, settings: &Arc<Settings>) -> Option<Box<Pooled<I>>> {
        let (now, mut idle) = (Instant::now(), self.idle());
        if now.saturating_duration_since(idle.swept) > SWEEP {
            idle.swept = now;
            idle.made.retain(|made| made.may_serve(now, settings));
        }
        while let Some(made) = idle.made.pop() {
            if made.may_serve(now, settings) {
                return Some(made);
            }
        }
        None
    }

    /// Keeps an instance whose request has ended well, if there is room: one that is to be reused,
    /// or is as good as new.
    pub(super) fn keep(&self, mut made: Box<Pooled<I>>) {
        let limits = made.store.data().settings.reuse.unwrap_or(FRESH_POOL);
        made.served += 1;
        if made.served >= limits.max_requests {
            return;
        }
        made.room = made.room.take().or_else(|| self.room.clone().try_acquire_owned().ok());
        let mut idle = self.idle();
        if made.room.is_some() && idle.made.len() < limits.max_instances as usize {
            idle.made.push(made);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle<I>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
