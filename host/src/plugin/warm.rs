//! Warm instances, between two requests: those of a plugin whose manifest says `instance = "reused"`, and fresh ones that were put back
//! into their first state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

use super::instance::State;
use crate::config::{Reuse, Settings};

/// How fresh instances are kept: for as long as a busy plugin wants them, and no longer.
const FRESH: Reuse = Reuse { max_instances: 64, max_age: Duration::from_secs(60), max_requests: u32::MAX };

/// An instance and its history.
pub(super) struct Made<I> {
    pub(super) store: Store<State>,
    pub(super) instance: I,
    since: Instant,
    served: u32,
}

impl<I> Made<I> {
    /// In a box, as it is passed on from step to step.
    pub(super) fn new(store: Store<State>, instance: I) -> Box<Self> {
        Box::new(Self { store, instance, since: Instant::now(), served: 0 })
    }
}

/// The warm instances of one generation. The one used last is used next: what is in the processor's caches is cheapest,
/// and what is not needed grows old.
pub(super) struct Warm<I> {
    idle: Mutex<Vec<(Box<Made<I>>, OwnedSemaphorePermit)>>,
    /// Bounds the idle ones of all plugins together.
    room: Arc<Semaphore>,
}

impl<I> Warm<I> {
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        Self { idle: Mutex::default(), room }
    }

    /// An instance that has served before, if there is one that may serve again under these settings.
    pub(super) fn take(&self, settings: &Arc<Settings>) -> Option<Box<Made<I>>> {
        let limits = settings.reuse.unwrap_or(FRESH);
        let (now, mut idle) = (Instant::now(), self.idle());
        // Whatever it is that makes one unfit, it will not become fit again.
        idle.retain(|(made, _)| {
            now.saturating_duration_since(made.since) < limits.max_age
                && made.served < limits.max_requests
                && Arc::ptr_eq(&made.store.data().settings, settings)
        });
        idle.pop().map(|(made, _)| made)
    }

    /// Keeps an instance whose request has ended well, if there is room: one that is to be reused, or is as good as new.
    pub(super) fn keep(&self, mut made: Box<Made<I>>) {
        let limits = made.store.data().settings.reuse.unwrap_or(FRESH);
        made.served += 1;
        let mut idle = self.idle();
        if made.served < limits.max_requests
            && idle.len() < limits.max_instances as usize
            && let Ok(permit) = self.room.clone().try_acquire_owned()
        {
            idle.push((made, permit));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Box<Made<I>>, OwnedSemaphorePermit)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
