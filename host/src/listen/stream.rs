//! An accepted connection.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;
use tokio::io::Interest;
use tokio::time::Instant;

use super::shared_socket::{ClientWatch, SharedSocket};
use crate::config::SocketAddress;

/// An accepted connection, which remembers whether its client has finished sending.
///
/// It makes its own system calls, the same for TCP and Unix: tokio's streams come to them by a
/// longer way.
///
/// The runtime watches it from when it is first waited for: a client that connects and speaks at
/// once, as most do, has been heard before that, and one wait less is a wake-up less.
pub struct Stream {
    shared: Arc<SharedSocket>,
    client: SocketAddress,
    server: SocketAddress,
    /// The last read took all that there was, so that the next one is to be waited for.
    emptied: bool,
    at_end: bool,
}

/// How long a close waits for the client to take its last bytes: 5 s without a byte from it, 30 s
/// in all, as nginx's `lingering_timeout` and `lingering_time`.
const LINGER_IDLE: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(30);
/// Bytes read away at a time meanwhile.
const DISCARDED: usize = 4096;

impl Stream {
    /// `local` is this end, where the listener knows it: on a wildcard address, only the connection
    /// does.
    pub(super) fn tcp(socket: Socket, client: SocketAddr, local: Option<SocketAddress>) -> io::Result<Self> {
        let server = match local {
            Some(local) => local,
            None => {
                let local = socket.local_addr()?;
                local.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?.into()
            }
        };
        Ok(Self::new(socket, client.into(), server))
    }

    pub(super) fn unix(socket: Socket, client: SocketAddress, local: Option<SocketAddress>) -> Self {
        Self::new(socket, client, local.unwrap_or(SocketAddress::Unix(None)))
    }

    fn new(socket: Socket, client: SocketAddress, server: SocketAddress) -> Self {
        Self { shared: Arc::new(SharedSocket::new(socket)), client, server, emptied: false, at_end: false }
    }

    /// What a session may ask of it while a guest has it.
    pub fn client_watch(&self) -> ClientWatch {
        ClientWatch::new(self.shared.clone(), &self.client)
    }

    /// The client's end.
    pub fn client(&self) -> &SocketAddress {
        &self.client
    }

    /// This end: the address the client reached, which on a wildcard listener is not the listener's
    /// own.
    pub fn server(&self) -> &SocketAddress {
        &self.server
    }

    /// Reads `max` bytes at most, and no more than `buffer` has room for, behind what it holds; 0
    /// bytes is end-of-stream, and `WouldBlock` a wait that was ended, as its session is to end
    /// soon.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>> {
        if self.at_end {
            // There is nothing to wait for.
            return Poll::Ready(Ok(0));
        }
        let max = max.min(buffer.capacity() - buffer.len());
        loop {
            let mut guard = match self.shared.watched() {
                None if !self.emptied => None,
                watched => {
                    let watch = watched.map_or_else(|| self.shared.watch(), Ok)?;
                    let Poll::Ready(ready) = watch.poll_read_ready(cx) else {
                        if self.shared.ends_soon.load(Relaxed) && self.shared.ends_soon.swap(false, Relaxed) {
                            // As recv(2) once SO_RCVTIMEO has run out.
                            return Poll::Ready(Err(Errno::AGAIN.into()));
                        }
                        self.shared.waited_for.store(true, Relaxed);
                        return Poll::Pending;
                    };
                    Some(ready?)
                }
            };
            let room = &mut buffer.spare_capacity_mut()[..max];
            match recv(&self.shared.socket, room, RecvFlags::empty()) {
                Ok(((received, _), _)) => {
                    let read = received.len();
                    // After a short read the kernel has no more, and epoll tells when it has: to
                    // find out by an EAGAIN would be a system call for each message.
                    if 0 < read && read < max {
                        match &mut guard {
                            Some(guard) => guard.clear_ready(),
                            None => self.emptied = true,
                        }
                    }
                    if read > 0 {
                        self.shared.spoke.store(true, Relaxed);
                    } else if max > 0 {
                        self.at_end = true;
                        self.shared.noticed.store(true, Relaxed);
                    }
                    #[expect(unsafe_code, reason = "what was read stands in the buffer's spare room")]
                    // SAFETY: recv(2) has initialised the first `read` bytes of the spare capacity.
                    unsafe {
                        buffer.set_len(buffer.len() + read);
                    }
                    return Poll::Ready(Ok(read));
                }
                Err(Errno::AGAIN) => match &mut guard {
                    Some(guard) => guard.clear_ready(),
                    None => self.emptied = true,
                },
                Err(Errno::INTR) => {}
                Err(error) => {
                    let error = error.into();
                    self.shared.failed(&error);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Writes what the kernel takes now; `WouldBlock` if that is nothing.
    pub fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        let send = || Ok(send(&self.shared.socket, data, SendFlags::NOSIGNAL)?);
        let sent = match self.shared.watched() {
            Some(watch) => watch.try_io(Interest::WRITABLE, |_| send()),
            None => send(),
        };
        match &sent {
            Ok(_) => self.shared.told.store(true, Relaxed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.shared.failed(error),
        }
        sent
    }

    /// Waits until the kernel takes bytes again.
    pub fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(ready) = self.shared.watch()?.poll_write_ready(cx) else {
            self.shared.waited_for.store(true, Relaxed);
            return Poll::Pending;
        };
        ready?.retain_ready();
        Poll::Ready(Ok(()))
    }

    /// shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.shared.writing_is_shut.store(true, Relaxed);
        }
        self.shared.socket.shutdown(how)
    }

    /// Waits until there is something to read: bytes, end-of-stream or an error. Reads nothing.
    /// Tells whether the connection has ended in both directions by then.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut ready = ready!(self.shared.watch()?.poll_read_ready(cx))?;
        ready.retain_ready();
        Poll::Ready(Ok(ready.ready().is_read_closed() && ready.ready().is_write_closed()))
    }

    /// Closes so that the client gets all that was sent: a close with bytes of the client's unread,
    /// or still to come, is a reset, and a reset may cost the client the answer it has not read yet
    /// (RFC 1122, 4.2.2.13). So: no more from us, then read away what still comes, for a bounded
    /// time.
    pub async fn close(mut self) {
        if self.at_end {
            return; // It has read all that came, and nothing more will: a plain close sends what is left, and no reset.
        }
        if self.shutdown(Shutdown::Write).is_err() {
            return; // Reset by the client: nothing left to be careful with.
        }
        self.shared.ends_soon.store(false, Relaxed);
        let give_up = Instant::now() + LINGER;
        let mut discarded = Vec::with_capacity(DISCARDED);
        while !self.at_end {
            let wait = (Instant::now() + LINGER_IDLE).min(give_up);
            discarded.clear();
            match tokio::time::timeout_at(wait, poll_fn(|cx| self.poll_recv(cx, &mut discarded, DISCARDED))).await {
                Ok(Ok(_)) if Instant::now() < give_up => {}
                _ => return,
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}
