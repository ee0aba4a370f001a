//! A datagram socket, and what arrives on it.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, recvfrom, sendto};
use socket2::{SockAddr, Socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::message::{self, Ancillary};
use crate::config::{ListenAddress, SocketAddress, UnixName};

/// The largest datagram there is: what UDP's 16-bit length leaves. Unix sockets carry more, if
/// their buffers do.
const MAX_DATAGRAM: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8; MAX_DATAGRAM]>> = RefCell::new(Box::new([0; MAX_DATAGRAM]));
}

/// A socket that datagrams come on and answers go out of. Shared by all sessions of its server.
pub struct Datagrams {
    socket: AsyncFd<Socket>,
    max_packet_size: AtomicU32,
    /// Whether it is bound to all addresses of the machine, so that it has to be said which one an
    /// answer comes from.
    any: bool,
    /// How many datagrams were received.
    received: AtomicU32,
    /// How many datagrams the kernel had dropped when it last said so.
    dropped: AtomicU32,
}

/// Of so many datagrams the kernel is asked once how many it had to drop: to hear of it with each
/// costs half as much again.
const ASKED: u32 = 16;

/// One datagram, with the socket it came on.
pub struct Packet {
    pub bytes: Arc<[u8]>,
    pub client: SocketAddress,
    /// The address that it was sent to.
    pub server: SocketAddress,
    pub socket: Arc<Datagrams>,
    /// How many the kernel had dropped, for want of room in the socket's queue, since it last told
    /// of it.
    pub dropped: u32,
}

impl Datagrams {
    pub(super) fn new(socket: AsyncFd<Socket>, max_packet_size: u32, any: bool) -> Self {
        Self { socket, max_packet_size: max_packet_size.into(), any, received: 0.into(), dropped: 0.into() }
    }

    pub(super) fn set_max_packet_size(&self, size: u32) {
        self.max_packet_size.store(size, Relaxed);
    }

    pub(super) async fn ready(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Takes a datagram; what is beyond the largest size is cut off, as Python's `recvfrom` does.
    pub(super) fn try_recv(
        self: &Arc<Self>,
        local: Option<&SocketAddress>,
        address: &ListenAddress,
    ) -> io::Result<Packet> {
        let max = MAX_DATAGRAM.min(self.max_packet_size.load(Relaxed) as usize);
        let is_told = self.any || self.received.load(Relaxed).is_multiple_of(ASKED);
        let (bytes, client, told): (Arc<[u8]>, _, _) = self.socket.try_io(Interest::READABLE, |socket| {
            BUFFER.with_borrow_mut(|buffer| {
                let buffer = &mut buffer[..max];
                if is_told {
                    let (read, client, told) = message::receive(socket, buffer)?;
                    let client = client.as_socket().map_or_else(|| unix_endpoint(&client), SocketAddress::from);
                    return Ok((buffer[..read].into(), client, told));
                }
                let (read, _, client) = recvfrom(socket, &mut *buffer, RecvFlags::empty())?;
                Ok((buffer[..read].into(), endpoint(client), Ancillary::default()))
            })
        })?;
        // Not before: an attempt that finds none would take the turn of one that is told.
        self.received.fetch_add(1, Relaxed);
        let server = match (local, address, told.at) {
            (Some(local), ..) => local.clone(),
            (None, ListenAddress::Tcp(addr) | ListenAddress::Udp(addr), Some(at)) => {
                message::socket_addr(at, addr.port()).into()
            }
            (None, ListenAddress::Tcp(addr) | ListenAddress::Udp(addr), None) => SocketAddress::from(*addr),
            (None, ListenAddress::Unix(_) | ListenAddress::Unixgram(_), _) => SocketAddress::Unix(None),
        };
        let dropped = told.dropped.map_or(0, |now| now.wrapping_sub(self.dropped.swap(now, Relaxed)));
        Ok(Packet { bytes, client, server, socket: self.clone(), dropped })
    }

    /// Sends one datagram, from the address `from` if it is bound to all of them; `WouldBlock` if
    /// the kernel has no room for it now.
    ///
    /// # Errors
    /// Those of sendmsg(2); `NotFound` for a Unix client that has no name to answer to.
    pub fn try_send_to(
        &self,
        data: &[u8],
        destination: &SocketAddress,
        from: Option<&SocketAddress>,
    ) -> io::Result<()> {
        self.socket.try_io(Interest::WRITABLE, |socket| match (destination, from) {
            (SocketAddress::Inet(to), Some(SocketAddress::Inet(from)))
                if self.any && !from.ip().is_unspecified() && !from.ip().is_multicast() =>
            {
                message::send_from(socket, data, *to, *from)
            }
            _ => send_to(socket, data, destination),
        })
    }

    /// Waits until there may be room again.
    pub fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut guard = ready!(self.socket.poll_write_ready(cx))?;
        guard.retain_ready();
        Poll::Ready(Ok(()))
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

fn endpoint(address: Option<SocketAddrAny>) -> SocketAddress {
    let unix = |addr: SocketAddrUnix| {
        let path = addr.path_bytes().map(|path| UnixName::Path(path.to_owned()));
        path.or_else(|| addr.abstract_name().map(|name| UnixName::Abstract(name.to_owned())))
    };
    match address {
        None => SocketAddress::Unix(None),
        Some(address) => match (SocketAddr::try_from(address.clone()), SocketAddrUnix::try_from(address)) {
            (Ok(addr), _) => SocketAddress::from(addr),
            (_, Ok(addr)) => SocketAddress::Unix(unix(addr)),
            _ => SocketAddress::Unix(None),
        },
    }
}

fn send_to(socket: &Socket, data: &[u8], destination: &SocketAddress) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL;
    let unreachable = |why: &str| Err(io::Error::new(io::ErrorKind::NotFound, why));
    match destination {
        SocketAddress::Inet(addr) => sendto(socket, data, flags, addr)?,
        SocketAddress::Unix(Some(UnixName::Abstract(name))) => {
            sendto(socket, data, flags, &SocketAddrUnix::new_abstract_name(name)?)?
        }
        SocketAddress::Unix(Some(UnixName::Path(path))) if path.starts_with(b"/") => {
            sendto(socket, data, flags, &SocketAddrUnix::new(path.as_slice())?)?
        }
        // In the host's folder it would lead elsewhere.
        SocketAddress::Unix(Some(UnixName::Path(_))) => {
            return unreachable("the client's name is a relative path, which only its own folder leads to");
        }
        SocketAddress::Unix(None) => return unreachable("the client has no name to answer to"),
    };
    Ok(())
}

/// A Unix socket's name.
pub(super) fn unix_endpoint(address: &SockAddr) -> SocketAddress {
    let path = address.as_pathname().map(|path| UnixName::Path(path.as_os_str().as_bytes().to_owned()));
    let name = || address.as_abstract_namespace().map(|name| UnixName::Abstract(name.to_owned()));
    SocketAddress::Unix(path.or_else(name))
}
