//! A bound, listening socket.

use std::io;
use std::net::SocketAddr;

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Stream;
use crate::config::Address;

/// A listening stream socket.
///
/// It is an [`AsyncFd`] and no `tokio::net::TcpListener` because the accept loop has to know that a client is there
/// *before* it takes a permit: a thousand idle listeners would hold a thousand permits else.
pub struct Listener {
    socket: AsyncFd<Socket>,
    /// With the port the kernel chose.
    address: Address,
}

impl Listener {
    /// Binds `address` and listens, with `backlog` connections at most held by the kernel.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2); `Unsupported` for an address no stream server can have.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(address: &Address, backlog: u32) -> io::Result<Self> {
        let Address::Tcp(addr) = address else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "only tcp:// is served"));
        };
        let socket = Socket::new(Domain::for_address(*addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        // A listener that went a moment ago leaves connections in TIME_WAIT behind, which must not keep the port.
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            // [::] means IPv6 alone, whatever net.ipv6.bindv6only says, so that 0.0.0.0 can stand beside it.
            socket.set_only_v6(true)?;
        }
        // Accepted sockets inherit it: an answer goes out when the handler sends it, and no call a connection is spent.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SockAddr::from(*addr))?;
        socket.listen(backlog_argument(backlog))?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        #[expect(unsafe_code, reason = "tokio offers readiness of a listener in no other way")]
        // SAFETY: a `Socket` owns its descriptor, and stands for the same one for as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, address: Address::Tcp(local) })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Changes how many connections the kernel holds; none of those it holds now is lost.
    ///
    /// # Errors
    /// Those of listen(2).
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        self.socket.get_ref().listen(backlog_argument(backlog))
    }

    /// Waits until a connection may be there to accept. Cancel-safe.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Accepts a connection if one is there, else none.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(super) fn try_accept(&self) -> io::Result<Option<Stream>> {
        let accepted = self.socket.try_io(Interest::READABLE, |socket| {
            Ok(acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
        });
        let (fd, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        // Without an address the client is gone already (accept(2) gives a length of 0 then).
        let client =
            client.and_then(|client| SocketAddr::try_from(client).ok()).ok_or(io::ErrorKind::ConnectionAborted)?;
        let Address::Tcp(listening) = self.address else { unreachable!("bind makes TCP listeners alone") };
        Ok(Some(Stream::tcp(fd, client, listening)?))
    }
}

/// listen(2) takes an `int`, and cuts it to `net.core.somaxconn` itself.
fn backlog_argument(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}
