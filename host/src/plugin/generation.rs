//! One loaded version of a plugin.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{Guest, cache};

/// One loaded version of a plugin. New sessions take the current one; a session keeps the one it began with.
#[derive(Debug)]
pub struct Generation {
    /// The content's hash, which names it.
    pub id: Arc<str>,
    pub guest: Box<dyn Guest>,
    code: OnceLock<Arc<[u8]>>,
    /// When what it still serves ends, once it is replaced or its server stops.
    pub deadline: DrainDeadline,
}

/// A moment that comes once, if ever. Each of its sessions asks at every message whether it has come: that is a load.
#[derive(Debug, Default)]
pub struct DrainDeadline {
    reached: AtomicBool,
    token: CancellationToken,
}

impl DrainDeadline {
    /// It is now.
    pub fn reach(&self) {
        self.reached.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    /// Waits for it. Cancel-safe.
    pub fn reached(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}

impl Generation {
    pub(super) fn new(id: Arc<str>, guest: Box<dyn Guest>) -> Self {
        Self { id, guest, code: OnceLock::new(), deadline: DrainDeadline::default() }
    }

    /// Its native code, for another process of this same program. Kept once it was asked for.
    ///
    /// # Errors
    /// wasmtime can't give it.
    pub fn code(&self) -> io::Result<Arc<[u8]>> {
        if let Some(code) = self.code.get() {
            return Ok(code.clone());
        }
        let code = self.guest.code().map_err(|error| io::Error::other(format!("{error:#}")))?;
        Ok(self.code.get_or_init(|| code.into()).clone())
    }

    /// The name of the generation that a file of this content is: 12 hex digits of its SHA-256.
    pub fn id_of(content: &[u8]) -> Arc<str> {
        Self::id_of_digest(&cache::digest(content))
    }

    pub(super) fn id_of_digest(file: &cache::Digest) -> Arc<str> {
        cache::hex(&file[..6]).into()
    }
}
