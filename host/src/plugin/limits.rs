//! The memory cap of one instance.

use wasmtime::ResourceLimiter;

use super::fault::MemoryLimitReached;

/// The most elements a table may grow to. Components of large languages start with 6,000.
pub(super) const TABLE_ELEMENTS: usize = 100_000;

/// The most files, streams and waits of WASI that an instance may have open at once: each may be a descriptor, and the
/// host has only so many for all.
pub(super) const RESOURCES: usize = 256;

/// Counts linear memory over all memories of an instance, and ends it beyond its limit: a trap with a name tells an
/// operator more than the allocation failure that a `-1` from `memory.grow` becomes in most languages.
pub(super) struct MemoryCap {
    limit: u64,
    used: u64,
}

impl MemoryCap {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
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

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
