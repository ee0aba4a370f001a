//! A number of requests after which a host stops: socketserver's `handle_request`, as often as
//! asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How many requests are still to be taken.
pub struct RequestQuota {
    left: Arc<Semaphore>,
    spent: CancellationToken,
    last_arrival: Mutex<Instant>,
}

impl RequestQuota {
    pub fn new(requests: u32) -> Self {
        Self {
            left: Arc::new(Semaphore::new(requests as usize)),
            spent: CancellationToken::new(),
            last_arrival: Mutex::new(Instant::now()),
        }
    }

    /// The right to take one request. It is given back unless it is [spent](Self::spend).
    pub async fn reserve(&self) -> OwnedSemaphorePermit {
        self.left.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// The same if it is there at once.
    pub fn try_reserve(&self) -> Option<OwnedSemaphorePermit> {
        self.left.clone().try_acquire_owned().ok()
    }

    /// A request was taken.
    pub fn spend(&self, reserved: OwnedSemaphorePermit) {
        reserved.forget();
        self.touch();
        if self.left.available_permits() == 0 {
            self.spent.cancel();
        }
    }

    /// From here on, the time without a request counts.
    pub fn touch(&self) {
        *self.last_arrival.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until the last request was taken.
    pub async fn spent(&self) {
        self.spent.cancelled().await;
    }

    /// Waits until no request has come for so long.
    pub async fn unused_for(&self, timeout: Duration) {
        loop {
            let until = *self.last_arrival.lock().unwrap_or_else(PoisonError::into_inner) + timeout;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}
