//! Warm instances: those of a plugin whose manifest says `instance = "reused"`, between two requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;
use wasmtime::component::Instance;

use super::instance::State;
use crate::config::Settings;

/// An instance and its history.
pub(super) struct Made {
    pub(super) store: Store<State>,
    pub(super) instance: Instance,
    since: Instant,
    served: u32,
}

impl Made {
    pub(super) fn new(store: Store<State>, instance: Instance) -> Self {
        Self { store, instance, since: Instant::now(), served: 0 }
    }
}

/// The warm instances of one generation. The one used last is used next: what is in the processor's caches is cheapest,
/// and what is not needed grows old.
pub(super) struct Warm {
    idle: Mutex<Vec<(Made, OwnedSemaphorePermit)>>,
    /// Bounds the idle ones of all plugins together.
    room: Arc<Semaphore>,
}

impl Warm {
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        Self { idle: Mutex::default(), room }
    }

    /// An instance that has served before, if there is one that may serve again under these settings.
    pub(super) fn take(&self, settings: &Arc<Settings>) -> Option<Made> {
        let limits = settings.reuse?;
        let (now, mut idle) = (Instant::now(), self.idle());
        // Whatever it is that makes one unfit, it will not become fit again.
        idle.retain(|(made, _)| {
            now.saturating_duration_since(made.since) < limits.max_age
                && made.served < limits.max_requests
                && Arc::ptr_eq(&made.store.data().settings, settings)
        });
        idle.pop().map(|(made, _)| made)
    }

    /// Keeps an instance whose request has ended well, if there is room.
    pub(super) fn keep(&self, mut made: Made) {
        let Some(limits) = made.store.data().settings.reuse else { return };
        made.served += 1;
        let mut idle = self.idle();
        if made.served < limits.max_requests
            && idle.len() < limits.max_instances as usize
            && let Ok(permit) = self.room.clone().try_acquire_owned()
        {
            idle.push((made, permit));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Made, OwnedSemaphorePermit)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
