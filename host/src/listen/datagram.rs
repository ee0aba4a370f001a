//! A datagram socket, and what arrives on it.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, recvfrom, sendto};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::config::Address;
use crate::endpoint::Endpoint;

/// The largest datagram there is: what UDP's 16-bit length leaves. Unix sockets carry more, if their buffers do.
const LARGEST: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8; LARGEST]>> = RefCell::new(Box::new([0; LARGEST]));
}

/// A socket that datagrams come on and answers go out of. Shared by all sessions of its server.
pub struct Datagrams {
    socket: AsyncFd<Socket>,
    max_packet_size: AtomicU32,
}

/// One datagram, with the socket it came on.
pub struct Packet {
    pub bytes: Arc<[u8]>,
    pub client: Endpoint,
    pub server: Endpoint,
    pub socket: Arc<Datagrams>,
}

impl Datagrams {
    pub(super) fn new(socket: AsyncFd<Socket>, max_packet_size: u32) -> Self {
        Self { socket, max_packet_size: max_packet_size.into() }
    }

    pub(super) fn set_max_packet_size(&self, size: u32) {
        self.max_packet_size.store(size, Relaxed);
    }

    pub(super) async fn ready(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Takes a datagram; what is beyond the largest size is cut off, as Python's `recvfrom` does.
    pub(super) fn try_recv(self: &Arc<Self>, local: Option<&Endpoint>, address: &Address) -> io::Result<Packet> {
        let max = LARGEST.min(self.max_packet_size.load(Relaxed) as usize);
        self.socket.try_io(Interest::READABLE, |socket| {
            BUFFER.with_borrow_mut(|buffer| {
                let (read, _, client) = recvfrom(socket, &mut buffer[..max], RecvFlags::empty())?;
                let server = match (local, address) {
                    (Some(local), _) => local.clone(),
                    (None, Address::Tcp(addr) | Address::Udp(addr)) => Endpoint::Inet(*addr),
                    (None, Address::Unix(_) | Address::Unixgram(_)) => Endpoint::Unix(None),
                };
                Ok(Packet { bytes: buffer[..read].into(), client: endpoint(client), server, socket: self.clone() })
            })
        })
    }

    /// Sends one datagram; `WouldBlock` if the kernel has no room for it now.
    ///
    /// # Errors
    /// Those of sendto(2); `NotFound` for a Unix client that has no name to answer to.
    pub fn try_send_to(&self, data: &[u8], destination: &Endpoint) -> io::Result<()> {
        self.socket.try_io(Interest::WRITABLE, |socket| send_to(socket, data, destination))
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

fn send_to(socket: &Socket, data: &[u8], destination: &Endpoint) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL;
    match destination {
        Endpoint::Inet(addr) => sendto(socket, data, flags, addr)?,
        Endpoint::Unix(Some(path)) => match path.strip_prefix('@') {
            Some(name) => sendto(socket, data, flags, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?,
            None => sendto(socket, data, flags, &SocketAddrUnix::new(path.as_str())?)?,
        },
        Endpoint::Unix(None) => {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the client has no name to answer to"));
        }
    };
    Ok(())
}

fn endpoint(address: Option<SocketAddrAny>) -> Endpoint {
    let Some(address) = address else { return Endpoint::Unix(None) };
    if let Ok(addr) = SocketAddr::try_from(address.clone()) {
        return Endpoint::Inet(addr);
    }
    let unix = SocketAddrUnix::try_from(address).ok();
    let path = |unix: &SocketAddrUnix| Some(unix.path()?.to_string_lossy().into_owned());
    let name = |unix: &SocketAddrUnix| Some(format!("@{}", String::from_utf8_lossy(unix.abstract_name()?)));
    Endpoint::Unix(unix.and_then(|unix| path(&unix).or_else(|| name(&unix))))
}
