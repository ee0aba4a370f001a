//! How far a request has come in its guest.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::report::Phase;

/// Which phase a request is in. It can be read while the guest runs.
pub struct Progress(AtomicU8);

impl Progress {
    pub(super) fn new(phase: Phase) -> Self {
        Self(AtomicU8::new(phase as u8))
    }

    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.0.load(Relaxed))]
    }

    pub(super) fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Relaxed);
    }
}

/// What became of a request that no fault has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// All its phases are over. Some may have returned an error, which is among the
    /// [complaints](super::Running::complaints).
    Whole,
    /// The plugin turned the client away: `verify-request` was false.
    Refused,
}
