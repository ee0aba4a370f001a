//! An accepted connection.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::endpoint::Endpoint;

/// An accepted connection, which remembers whether its client has finished sending.
pub struct Stream {
    socket: Socket,
    client: Endpoint,
    server: Endpoint,
    at_end: bool,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How long a close waits for the client to take its last bytes: 5 s without a byte from it, 30 s in all, as nginx's
/// `lingering_timeout` and `lingering_time`.
const LINGER_IDLE: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(30);
/// Bytes read away at a time meanwhile.
const DISCARDED: usize = 4096;

impl Stream {
    /// `local` is this end, where the listener knows it: on a wildcard address, only the connection does.
    pub(super) fn tcp(fd: OwnedFd, client: SocketAddr, local: Option<Endpoint>) -> io::Result<Self> {
        let socket = TcpStream::from_std(fd.into())?;
        let server = match local {
            Some(local) => local,
            None => Endpoint::Inet(socket.local_addr()?),
        };
        Ok(Self { socket: Socket::Tcp(socket), client: Endpoint::Inet(client), server, at_end: false })
    }

    pub(super) fn unix(fd: OwnedFd, client: Endpoint, local: Option<Endpoint>) -> io::Result<Self> {
        let socket = Socket::Unix(UnixStream::from_std(fd.into())?);
        Ok(Self { socket, client, server: local.unwrap_or(Endpoint::Unix(None)), at_end: false })
    }

    /// The client's end.
    pub fn client(&self) -> &Endpoint {
        &self.client
    }

    /// This end: the address the client reached, which on a wildcard listener is not the listener's own.
    pub fn server(&self) -> &Endpoint {
        &self.server
    }

    /// Reads `max` bytes at most, behind what `buffer` has; 0 bytes is end-of-stream.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>> {
        if self.at_end {
            // What tokio would answer now and then is "not yet", to be fair to others; there is nothing to wait for.
            return Poll::Ready(Ok(0));
        }
        // tokio's poll path forgets readiness after a short read, which spares the EAGAIN of try-then-wait a message.
        let mut room = buffer.limit(max);
        let read = ready!(match &mut self.socket {
            Socket::Tcp(socket) => poll_read_buf(Pin::new(socket), cx, &mut room),
            Socket::Unix(socket) => poll_read_buf(Pin::new(socket), cx, &mut room),
        })?;
        self.at_end |= read == 0 && max > 0;
        Poll::Ready(Ok(read))
    }

    /// Writes what the kernel takes now; `WouldBlock` if that is nothing.
    pub fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        match &self.socket {
            Socket::Tcp(socket) => socket.try_write(data),
            Socket::Unix(socket) => socket.try_write(data),
        }
    }

    /// Waits until the kernel takes bytes again.
    pub fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Socket::Tcp(socket) => socket.poll_write_ready(cx),
            Socket::Unix(socket) => socket.poll_write_ready(cx),
        }
    }

    /// shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        SockRef::from(self).shutdown(how)
    }

    /// Closes so that the client gets all that was sent: a close with bytes of the client's unread, or still to come,
    /// is a reset, and a reset may cost the client the answer it has not read yet (RFC 1122, 4.2.2.13). So: no more
    /// from us, then read away what still comes, for a bounded time.
    pub async fn close(mut self) {
        if self.at_end {
            return; // It has read all that came, and nothing more will: a plain close sends what is left, and no reset.
        }
        if self.shutdown(Shutdown::Write).is_err() {
            return; // Reset by the client: nothing left to be careful with.
        }
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
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}
