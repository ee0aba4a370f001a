//! What this machine allows: so many sessions at once, another thread, a file of a size.

use std::io;
use std::ptr;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::ListenAddress;

/// Mappings of one pooled instance: two for its stack's slot, two for its memory while it lives.
const MAPPINGS: u64 = 4;
/// Mappings left to everything else in the process: code, plugins, heaps, threads.
const OTHER_MAPPINGS: u64 = 5_000;
/// Descriptors left to everything else: listeners, logs, plugin files while they are read.
const OTHER_DESCRIPTORS: u64 = 128;
/// Descriptors that no listener gets: with these the folder is read, and plugins are loaded.
const RESERVED_DESCRIPTORS: u64 = 64;
/// More than this is of use to few, and its room takes time to make at start.
const MAX_SANDBOXES: u64 = 10_000;

/// What bounds the number of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions at once.
    pub sessions: u32,
    /// What it was worked out from.
    pub descriptors: u64,
    pub mappings: u64,
}

impl Capacity {
    /// Raises this process's limit of descriptors as far as it may, and works out the rest. `asked`
    /// is the operator's own limit, which counts only as far as the machine allows it.
    pub fn of_this_machine(asked: Option<u32>) -> Self {
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            // Where it can't be raised, the limit stays what it is, and is counted with.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        // Linux's default, where it does not say.
        let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(65_530);
        Self { sessions: sessions(descriptors, mappings, asked), descriptors, mappings }
    }
}

/// Whether the kernel gives the mappings that another thread takes. Asked before one is begun:
/// where the one for its signal stack fails, std aborts the process, and every session with it.
/// Where another takes the last of it in between, it still does.
///
/// # Errors
/// Those of mmap(2): ENOMEM for want of memory or addresses, at RLIMIT_AS or RLIMIT_DATA, or at
/// `vm.max_map_count`.
pub(crate) fn room_for_a_thread() -> io::Result<()> {
    /// std's stacks have 2 MiB; what comes with them is little.
    const TAKES: usize = 4 << 20;
    #[expect(unsafe_code, reason = "no safe call asks the kernel for as much, and gives it back")]
    // SAFETY: a new mapping, at an address that the kernel chooses, that nobody else knows of and
    // that is never touched.
    unsafe {
        let mapped = mmap_anonymous(ptr::null_mut(), TAKES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?;
        Ok(munmap(mapped, TAKES)?)
    }
}

/// From here on a file that has reached RLIMIT_FSIZE, be it the cache's, the log's or a guest's,
/// fails the write with EFBIG, as in CPython. By itself, setrlimit(2) says, SIGXFSZ would end the
/// process.
///
/// # Errors
/// Those of sigaction(2).
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn outlive_file_size_limit() -> io::Result<()> {
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// Descriptors for listeners: those that neither a session may want nor the reserve is made of, and
/// beyond these at most half of the sessions' own. What a listener takes of a session's, no session
/// takes.
#[derive(Clone)]
pub struct ListenerRoom {
    free: Arc<Semaphore>,
    /// How many of the sessions' permits listeners may have.
    lent: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
}

/// One listener's descriptors, given back when it is dropped. The default is none, for a listener
/// that was handed over with its own where there was no room to be kept for it.
#[derive(Default)]
pub struct ListenerPlace {
    _own: Option<OwnedSemaphorePermit>,
    _session: Option<OwnedSemaphorePermit>,
}

impl ListenerRoom {
    /// `sessions` is what every session takes a permit of.
    pub fn new(capacity: Capacity, sessions: Arc<Semaphore>) -> Self {
        let (free, lent) = listeners(capacity.descriptors, capacity.sessions);
        Self { free: Arc::new(Semaphore::new(free)), lent: Arc::new(Semaphore::new(lent)), sessions }
    }

    /// Takes the room for one.
    ///
    /// # Errors
    /// There is none: the reserve would be touched.
    pub fn take(&self, address: &ListenAddress) -> io::Result<ListenerPlace> {
        // The socket, and its copy while a successor is handed it. A file that stands for a socket
        // has two more.
        let count = match address {
            ListenAddress::Tcp(_) | ListenAddress::Udp(_) => 2,
            ListenAddress::Unix(_) | ListenAddress::Unixgram(_) => 4,
        };
        let take = |from: &Arc<Semaphore>| from.clone().try_acquire_many_owned(count).ok();
        let place = take(&self.free).map(|own| ListenerPlace { _own: Some(own), _session: None }).or_else(|| {
            let own = take(&self.lent)?;
            Some(ListenerPlace { _own: Some(own), _session: Some(take(&self.sessions)?) })
        });
        place.ok_or_else(|| {
            io::Error::other("no descriptors are left for it; raise the limit (ulimit -n, LimitNOFILE=) or listen at fewer addresses")
        })
    }
}

/// How many descriptors listeners may have of their own, and how many of the sessions'.
fn listeners(descriptors: u64, sessions: u32) -> (usize, usize) {
    let reserved = RESERVED_DESCRIPTORS.min(descriptors / 8);
    let free = descriptors.saturating_sub(u64::from(sessions) + reserved);
    // A limit of 2^64 is no number of permits.
    let free = usize::try_from(free).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    (free, sessions as usize / 2)
}

fn sessions(descriptors: u64, mappings: u64, asked: Option<u32>) -> u32 {
    // A process short of descriptors still gives half of them to its clients.
    let by_descriptors = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(descriptors / 2);
    let by_mappings = mappings.saturating_sub(OTHER_MAPPINGS) / MAPPINGS;
    let wanted = asked.map_or(MAX_SANDBOXES, u64::from);
    u32::try_from(wanted.min(by_descriptors).min(by_mappings).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{listeners, sessions};

    #[test]
    fn listeners_leave_descriptors_to_the_folder_and_to_sessions() {
        assert_eq!(listeners(1024, 896), (64, 448));
        assert_eq!(listeners(64, 32), (24, 16));
        assert_eq!(listeners(1 << 20, 10_000), ((1 << 20) - 10_064, 5_000));
        assert_eq!(listeners(0, 1), (0, 0));
        assert_eq!(listeners(u64::MAX, 1).0, tokio::sync::Semaphore::MAX_PERMITS);
    }

    #[test]
    fn the_scarcest_thing_decides() {
        assert_eq!(sessions(1 << 20, 65_530, None), 10_000);
        assert_eq!(sessions(1024, 65_530, None), 896);
        assert_eq!(sessions(64, 65_530, None), 32);
        assert_eq!(sessions(1 << 20, 65_530, Some(100_000)), 15_132);
        assert_eq!(sessions(1 << 20, 65_530, Some(7)), 7);
        assert_eq!(sessions(0, 0, None), 1);
    }
}
