//! A bound socket that requests arrive on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::net::SocketFlags;
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::bind::bind;
use super::bound::{Bound, SocketLease};
use super::datagram::{Datagrams, Packet, unix_endpoint};
use super::options;
use super::readiness::watched;
use super::socket_file::SocketFile;
use super::socket_store::{PassedSocket, SocketStore};
use super::stream::Stream;
use crate::config::{ListenAddress, SocketAddress, SocketSettings, UnixName};

/// A request, as it comes in.
pub enum Incoming {
    Connection(Stream),
    Datagram(Packet),
}

impl Incoming {
    /// A request that another process of this program took, with the socket that was inherited from
    /// it: the connection, or what the packet came on.
    ///
    /// # Errors
    /// The descriptor is no such socket.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn inherited(
        socket: OwnedFd,
        client: SocketAddress,
        server: SocketAddress,
        packet: Option<Vec<u8>>,
    ) -> io::Result<Self> {
        match (packet, &client) {
            (Some(bytes), _) => {
                let socket = Socket::from(socket);
                let local = socket.local_addr()?.as_socket();
                let any = local.is_some_and(|local| local.ip().is_unspecified());
                let socket = watched(socket, Interest::READABLE | Interest::WRITABLE)?;
                let socket = Arc::new(Datagrams::new(socket, 0, any));
                Ok(Self::Datagram(Packet { bytes: bytes.into(), client, server, socket, dropped: 0 }))
            }
            (None, SocketAddress::Inet(addr)) => Stream::tcp(socket.into(), *addr, Some(server)).map(Self::Connection),
            (None, SocketAddress::Unix(_)) => Ok(Self::Connection(Stream::unix(socket.into(), client, Some(server)))),
        }
    }

    /// The client's end, and this one.
    pub fn ends(&self) -> (&SocketAddress, &SocketAddress) {
        match self {
            Self::Connection(stream) => (stream.client(), stream.server()),
            Self::Datagram(packet) => (&packet.client, &packet.server),
        }
    }
}

/// A bound socket that requests arrive on: a listening one, or one for datagrams.
///
/// It is an [`AsyncFd`] and no `tokio::net::TcpListener` because the accept loop has to know that a
/// client is there *before* it takes a permit: a thousand idle listeners would hold a thousand
/// permits else.
pub struct Listener {
    kind: Kind,
    /// With the port the kernel chose.
    address: ListenAddress,
    /// This end, as sessions are told it: none for a wildcard, where it depends on the connection.
    local: Option<SocketAddress>,
    file: Option<SocketFile>,
    /// Where it was not bound here.
    loan: Option<SocketLease>,
}

enum Kind {
    Stream(AsyncFd<Socket>),
    Datagram(Arc<Datagrams>),
}

impl Listener {
    /// Takes the socket over that was inherited for this plugin's `address`, else binds; a stream
    /// socket listens, too.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(
        address: &ListenAddress,
        plugin: &str,
        settings: &SocketSettings,
        from: &SocketStore,
    ) -> io::Result<Self> {
        let bound = match from.take(plugin, address)? {
            Some(bound) => bound,
            None => bind(address, settings)?,
        };
        let is_inherited = bound.loan.is_some();
        let listener = Self::over(bound, settings)?;
        if is_inherited {
            listener.adjust(settings)?;
        }
        Ok(listener)
    }

    fn over(bound: Bound, settings: &SocketSettings) -> io::Result<Self> {
        let Bound { socket, address, file, loan } = bound;
        let local = match &address {
            ListenAddress::Tcp(addr) | ListenAddress::Udp(addr) => {
                (!addr.ip().is_unspecified()).then(|| SocketAddress::from(*addr))
            }
            ListenAddress::Unix(path) | ListenAddress::Unixgram(path) => {
                Some(SocketAddress::Unix(Some(UnixName::of_text(path.as_os_str().as_bytes()))))
            }
        };
        let kind = if address.is_stream() {
            socket.listen(backlog_argument(settings.backlog))?;
            Kind::Stream(watched(socket, Interest::READABLE)?)
        } else {
            let both = Interest::READABLE | Interest::WRITABLE;
            if let ListenAddress::Udp(addr) = &address {
                options::tell_of_datagrams(&socket, *addr)?;
            }
            let socket = watched(socket, both)?;
            Kind::Datagram(Arc::new(Datagrams::new(socket, settings.max_packet_size, local.is_none())))
        };
        Ok(Self { kind, address, local, file, loan })
    }

    /// The same socket once more, for the host that is to come.
    ///
    /// # Errors
    /// The machine has no descriptor left.
    pub fn hand(&self, plugin: Arc<str>, asked: ListenAddress) -> io::Result<PassedSocket> {
        let socket = match &self.kind {
            Kind::Stream(socket) => socket.get_ref().as_fd(),
            Kind::Datagram(socket) => socket.as_fd(),
        };
        Ok(PassedSocket {
            socket: socket.try_clone_to_owned()?.into(),
            address: self.address.clone(),
            user: Some((plugin, asked)),
            activated: self.loan.as_ref().is_some_and(SocketLease::is_activated),
            file: self.file.as_ref().map(SocketFile::identity),
        })
    }

    /// Closes it here alone: another process has the same socket, and now the file, too.
    pub fn leave(self) {
        self.file.into_iter().for_each(SocketFile::leave);
    }

    /// Whether the file that stands for it is gone, so that nobody can reach it.
    pub fn is_gone(&self) -> bool {
        self.file.as_ref().is_some_and(SocketFile::is_gone)
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Takes new settings over, all but those that only bind(2) heeds; nothing that the kernel
    /// holds now is lost.
    ///
    /// # Errors
    /// Those of listen(2), chown(2) and chmod(2).
    pub fn adjust(&self, settings: &SocketSettings) -> io::Result<()> {
        match &self.kind {
            Kind::Stream(socket) => {
                socket.get_ref().listen(backlog_argument(settings.backlog))?;
                if let ListenAddress::Tcp(_) = self.address {
                    socket.get_ref().set_tcp_nodelay(settings.nodelay)?;
                }
            }
            Kind::Datagram(socket) => socket.set_max_packet_size(settings.max_packet_size),
        }
        let socket = match &self.kind {
            Kind::Stream(socket) => socket.get_ref().as_fd(),
            Kind::Datagram(socket) => socket.as_fd(),
        };
        options::set(socket, &self.address, settings)?;
        self.file.as_ref().map_or(Ok(()), |file| file.give_to(&settings.unix))
    }

    /// Waits until a request may be there. Cancel-safe.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub(super) async fn ready(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Stream(socket) => socket.readable().await.map(|mut guard| guard.retain_ready()),
            Kind::Datagram(socket) => socket.ready().await,
        }
    }

    /// Takes a request if one is there, else none.
    ///
    /// # Errors
    /// Those of accept(2) and recvfrom(2).
    pub(super) fn try_take(&self) -> io::Result<Option<Incoming>> {
        let taken = match &self.kind {
            Kind::Stream(socket) => self.try_accept(socket).map(Incoming::Connection),
            Kind::Datagram(socket) => socket.try_recv(self.local.as_ref(), &self.address).map(Incoming::Datagram),
        };
        match taken {
            Ok(arrival) => Ok(Some(arrival)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_accept(&self, socket: &AsyncFd<Socket>) -> io::Result<Stream> {
        let flags = (SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).bits().cast_signed();
        let (accepted, client) = socket.try_io(Interest::READABLE, |socket| socket.accept4(flags))?;
        match self.address {
            ListenAddress::Tcp(_) => {
                // Without an address the client is gone already.
                let client = client.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
                Stream::tcp(accepted, client, self.local.clone())
            }
            _ => Ok(Stream::unix(accepted, unix_endpoint(&client), self.local.clone())),
        }
    }
}

/// listen(2) takes an `int`, and cuts it to `net.core.somaxconn` itself.
fn backlog_argument(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}
