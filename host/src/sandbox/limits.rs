//! What a guest may have at most, and the verdicts on one that wants more, on their way through
//! wasmtime.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// The most elements a table may grow to. Components of large languages start with 6,000.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;
/// The most that all tables of an instance may have together.
const ALL_ELEMENTS: usize = 200_000;

/// The most files, streams and waits of WASI that an instance may have open at once: each may be a
/// descriptor, and the host has only so many for all.
pub(super) const RESOURCES: usize = 256;

/// The most bytes that one call of a guest's hands the host to copy: strings, lists, buffers. What
/// is sent to a client is not copied, and what WASI 0.1 reads and writes is copied in pieces.
pub(super) const COPIED: usize = 8 << 20;

/// The most waits that one call of a component's names: each of its resources, several times.
pub(super) const WAITS: usize = 4 * RESOURCES;

/// The most bytes of randomness that one call of a component's returns. A program of WASI 0.1 says
/// where they are to be, and has no such bound.
pub(super) const RANDOM: usize = 64 << 20;

/// How many reads of nothing and writes to nobody a guest may do in a row once its client has gone.
/// A few are what readers and writers with buffers do, and thousands what a program does that
/// ignores the errors of what it prints; none of them costs more than a microsecond. SIGPIPE ends a
/// program at the first such write.
pub(super) const IN_VAIN: u32 = 10_000;

/// Counts linear memory over all memories of an instance, and ends it beyond its limit: a trap with
/// a name tells an operator more than the allocation failure that a `-1` from `memory.grow` becomes
/// in most languages.
pub(super) struct MemoryCap {
    limit: u64,
    used: u64,
    /// Of tables.
    elements: usize,
}

impl MemoryCap {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, elements: 0 }
    }
}

impl ResourceLimiter for MemoryCap {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // The memory's own declared maximum: an ordinary -1.
        }
        let used = self.used + (desired - current) as u64;
        if used > self.limit {
            return Err(MemoryLimitReached(self.limit).into());
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired - current);
        let fits =
            desired <= TABLE_ELEMENTS && elements <= ALL_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum);
        if fits {
            self.elements = elements;
        }
        Ok(fits)
    }
}

/// The memory limiter's verdict.
#[derive(Debug, thiserror::Error)]
#[error("memory limit of {0} bytes reached")]
pub(super) struct MemoryLimitReached(pub u64);

/// The verdict on a guest that goes on without its client.
#[derive(Debug, thiserror::Error)]
#[error("{IN_VAIN} reads and writes in a row without a client")]
pub(super) struct BrokenPipe;

/// The CPU meter's verdict.
#[derive(Debug, thiserror::Error)]
#[error("cpu limit of {0:?} reached")]
pub(super) struct CpuLimitReached(pub Duration);
