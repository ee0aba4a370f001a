//! A connection's socket, shared between the stream that a guest has and the session around the
//! guest.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use socket2::{Socket, TcpKeepalive};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::config::SocketAddress;

/// A connection's socket, and what is known of its use.
///
/// Its flags are stored at each message and read only where something is out of the ordinary: they
/// are hints to one session, which is one task, and need no order.
pub(super) struct SharedSocket {
    /// Ends before the socket does.
    watch: OnceLock<AsyncFd<Descriptor>>,
    pub(super) socket: Socket,
    /// The client has sent a byte, and the guest has taken it.
    pub(super) spoke: AtomicBool,
    /// The client was sent a byte.
    pub(super) told: AtomicBool,
    /// The guest was told of its client's end, or of an error.
    pub(super) noticed: AtomicBool,
    /// The guest has shut down writing, so that a broken pipe is its own doing.
    pub(super) writing_is_shut: AtomicBool,
    /// The guest got an error that means that its client has left.
    pub(super) left: AtomicBool,
    /// The guest waits for its client.
    pub(super) waited_for: AtomicBool,
    /// The session is to end soon, and its guest has not been told.
    pub(super) ends_soon: AtomicBool,
}

/// The descriptor of a line's socket, which outlives it.
pub(super) struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl SharedSocket {
    pub(super) fn new(socket: Socket) -> Self {
        let (spoke, told, noticed, writing_is_shut, left, waited_for, ends_soon) = Default::default();
        Self { watch: OnceLock::new(), socket, spoke, told, noticed, writing_is_shut, left, waited_for, ends_soon }
    }

    /// The guest is about to get this error.
    pub(super) fn failed(&self, error: &io::Error) {
        self.noticed.store(true, Relaxed);
        let has_left = match error.kind() {
            // It reset the connection, or TCP gave it up.
            io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut => true,
            io::ErrorKind::BrokenPipe => !self.writing_is_shut.load(Relaxed),
            _ => false,
        };
        if has_left {
            self.left.store(true, Relaxed);
        }
    }

    /// What the runtime sees of it, if it watches it by now.
    pub(super) fn watched(&self) -> Option<&AsyncFd<Descriptor>> {
        self.watch.get()
    }

    /// Has the runtime watch it, from now on.
    pub(super) fn watch(&self) -> io::Result<&AsyncFd<Descriptor>> {
        if let Some(watch) = self.watch.get() {
            return Ok(watch);
        }
        let descriptor = Descriptor(self.socket.as_raw_fd());
        #[expect(unsafe_code, reason = "tokio offers readiness of any descriptor in no other way")]
        // SAFETY: the descriptor is that of `self.socket`, which keeps it for as long as it lives
        // and is never replaced. `watch` is declared before `socket`, and so dropped before it.
        let watch = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE | Interest::WRITABLE) }?;
        Ok(self.watch.get_or_init(|| watch))
    }
}

/// How much of a client is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Here,
    /// It sends no more. Whether it still reads can't be told from a TCP client that has closed.
    HalfClosed,
    /// It has reset the connection, or nothing can be sent in either direction any more.
    Gone,
}

/// What a session may know of its client while its guest has the stream.
pub struct ClientWatch {
    shared: Arc<SharedSocket>,
    is_tcp: bool,
}

impl ClientWatch {
    pub(super) fn new(shared: Arc<SharedSocket>, client: &SocketAddress) -> Self {
        Self { shared, is_tcp: matches!(client, SocketAddress::Inet(_)) }
    }

    /// The guest is about to be polled.
    pub fn begin_poll(&self) {
        self.shared.waited_for.store(false, Relaxed);
    }

    /// Whether the guest waits for its client, since [`begin_poll`](Self::begin_poll): if so, the
    /// client's end wakes it.
    pub fn is_waited_for(&self) -> bool {
        self.shared.waited_for.load(Relaxed)
    }

    /// Ends one wait for the client's bytes, this or the next, as if its time had run out: the
    /// guest still has a moment to say goodbye.
    pub fn announce_the_end(&self) {
        self.shared.ends_soon.store(true, Relaxed);
    }

    /// Asks the kernel. A client that nothing can be learnt of counts as there.
    pub fn presence(&self) -> Presence {
        let mut asked = [PollFd::new(&self.shared.socket, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut asked, Some(&at_once)) {
            Ok(1..) if asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => Presence::Gone,
            Ok(1..) => Presence::HalfClosed,
            _ => Presence::Here,
        }
    }

    /// Bytes that have come and that the guest has not taken.
    pub fn unread(&self) -> u64 {
        ioctl_fionread(&self.shared.socket).unwrap_or(0)
    }

    /// Whether it has ever sent a byte.
    pub fn has_spoken(&self) -> bool {
        self.shared.spoke.load(Relaxed) || self.unread() > 0
    }

    /// Whether the guest got an error that means that it has left.
    pub fn has_left(&self) -> bool {
        self.shared.left.load(Relaxed)
    }

    /// Whether it was ever sent a byte.
    pub fn was_told(&self) -> bool {
        self.shared.told.load(Relaxed)
    }

    /// Whether the guest was told that it has ended.
    pub fn end_was_noticed(&self) -> bool {
        self.shared.noticed.load(Relaxed)
    }

    /// Has the kernel ask a TCP client every `interval` whether it is still there. One that has
    /// closed answers with a reset once its kernel has forgotten the connection, one that reads on
    /// says so, and one that can't be reached is given up. Where the operator has it asked sooner,
    /// more often or for fewer times, it still is.
    pub fn ask_whether_it_is_there(&self, interval: Duration) {
        if !self.is_tcp {
            return;
        }
        let socket = &self.shared.socket;
        let keepalive = TcpKeepalive::new();
        let keepalive = if socket.keepalive().unwrap_or(false) {
            let least = |set: io::Result<Duration>| set.map_or(interval, |set| set.min(interval));
            // What is not said stays as it is.
            keepalive
                .with_time(least(socket.tcp_keepalive_time()))
                .with_interval(least(socket.tcp_keepalive_interval()))
        } else {
            keepalive.with_time(interval).with_interval(interval).with_retries(UNANSWERED)
        };
        // Where that fails, the session's own time remains.
        let _ = socket.set_tcp_keepalive(&keepalive);
    }
}

/// After how many questions without an answer a client is given up: `tcp_keepalive_probes` as Linux
/// has it.
const UNANSWERED: u32 = 9;
