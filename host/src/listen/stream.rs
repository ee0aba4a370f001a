//! An accepted connection.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::endpoint::Endpoint;

/// An accepted connection, which remembers whether its client has finished sending.
pub struct Stream {
    socket: TcpStream,
    client: Endpoint,
    server: Endpoint,
    at_end: bool,
}

/// How long a close waits for the client to take its last bytes: 5 s without a byte from it, 30 s in all, as nginx's
/// `lingering_timeout` and `lingering_time`.
const LINGER_IDLE: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(30);

impl Stream {
    /// `listening` is the listener's address, which is this end's unless it is a wildcard.
    pub(super) fn tcp(fd: OwnedFd, client: SocketAddr, listening: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::from_std(fd.into())?;
        let server = if listening.ip().is_unspecified() { socket.local_addr()? } else { listening };
        Ok(Self { socket, client: Endpoint::Inet(client), server: Endpoint::Inet(server), at_end: false })
    }

    /// The client's end.
    pub fn client(&self) -> &Endpoint {
        &self.client
    }

    /// This end: the address the client reached, which on a wildcard listener is not the listener's own.
    pub fn server(&self) -> &Endpoint {
        &self.server
    }

    /// Reads into `buffer`; 0 bytes is end-of-stream.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.at_end {
            // What tokio would answer now and then is "not yet", to be fair to others; there is nothing to wait for.
            return Poll::Ready(Ok(0));
        }
        // tokio's poll path forgets readiness after a short read, which spares the EAGAIN of try-then-wait a message.
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        self.at_end |= read == 0 && buffer.capacity() > 0;
        Poll::Ready(Ok(read))
    }

    /// Writes what the kernel takes now; `WouldBlock` if that is nothing.
    pub fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        self.socket.try_write(data)
    }

    /// Waits until the kernel takes bytes again.
    pub fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    /// shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        SockRef::from(&self.socket).shutdown(how)
    }

    /// Closes so that the client gets all that was sent: a close with bytes of the client's unread, or still to come,
    /// is a reset, and a reset may cost the client the answer it has not read yet (RFC 1122, 4.2.2.13). So: no more
    /// from us, then read away what still comes, for a bounded time.
    pub async fn close(mut self) {
        if self.shutdown(Shutdown::Write).is_err() {
            return; // Reset by the client: nothing left to be careful with.
        }
        let give_up = Instant::now() + LINGER;
        let mut discarded = [0; 4096];
        while !self.at_end {
            let wait = (Instant::now() + LINGER_IDLE).min(give_up);
            match tokio::time::timeout_at(wait, poll_fn(|cx| self.poll_recv(cx, &mut discarded))).await {
                Ok(Ok(_)) if Instant::now() < give_up => {}
                _ => return,
            }
        }
    }
}
