//! One loaded version of a plugin.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::cache;
use crate::sandbox::Guest;

/// One loaded version of a plugin. New sessions take the current one; a session keeps the one it
/// began with.
#[derive(Debug)]
pub struct Generation {
    /// The content's hash, which names it.
    pub id: Arc<str>,
    pub guest: Guest,
    code: OnceLock<Arc<[u8]>>,
    /// When what it still serves ends, once it is replaced or its server stops.
    pub deadline: DrainDeadline,
}

/// A moment that comes once, if ever, and is announced before. Each of its sessions asks at every
/// message how near it is: that is a load.
#[derive(Debug, Default)]
pub struct DrainDeadline {
    stage: AtomicU8,
    announced: CancellationToken,
    reached: CancellationToken,
}

impl DrainDeadline {
    const ANNOUNCED: u8 = 1;
    const REACHED: u8 = 2;

    /// It is near.
    pub fn announce(&self) {
        self.stage.fetch_max(Self::ANNOUNCED, Ordering::AcqRel);
        self.announced.cancel();
    }

    /// It is now.
    pub fn reach(&self) {
        self.stage.store(Self::REACHED, Ordering::Release);
        self.announced.cancel();
        self.reached.cancel();
    }

    pub fn is_announced(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= Self::ANNOUNCED
    }

    pub fn is_reached(&self) -> bool {
        self.stage.load(Ordering::Acquire) == Self::REACHED
    }

    /// Waits until it is near, or now. Cancel-safe.
    pub fn announced(&self) -> WaitForCancellationFuture<'_> {
        self.announced.cancelled()
    }

    /// Waits for it. Cancel-safe.
    pub fn reached(&self) -> WaitForCancellationFuture<'_> {
        self.reached.cancelled()
    }
}

impl Generation {
    pub(super) fn new(id: Arc<str>, guest: Guest) -> Self {
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
