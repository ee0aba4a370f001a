//! A client of a plugin's connections: blocking, with a deadline on every wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockAddr, Socket, Type};

use super::DEADLINE;
use super::family::socket_address;

pub struct Client {
    pub stream: Socket,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|error| panic!("connect to {addr}: {error}"))
    }

    pub fn try_connect(addr: SocketAddr) -> std::io::Result<Self> {
        Self::try_reach(&addr.into())
    }

    /// Connects to a server of any family that has connections, by its URL.
    #[track_caller]
    pub fn dial(url: &str) -> Self {
        Self::try_dial(url).unwrap_or_else(|error| panic!("connect to {url}: {error}"))
    }

    pub fn try_dial(url: &str) -> std::io::Result<Self> {
        Self::try_reach(&socket_address(url))
    }

    fn try_reach(addr: &SockAddr) -> std::io::Result<Self> {
        let client = Self::over(Socket::new(addr.domain(), Type::STREAM, None)?);
        // As long as the timeout for writing, which it has.
        client.stream.connect(addr)?;
        Ok(client)
    }

    /// Connects from another of this machine's loopback addresses.
    pub fn connect_from(source: Ipv4Addr, addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("bind to a loopback address");
        socket.connect(&addr.into()).unwrap_or_else(|error| panic!("connect to {addr} from {source}: {error}"));
        Self::over(socket)
    }

    fn over(stream: Socket) -> Self {
        if stream.domain().expect("a socket has a domain") != Domain::UNIX {
            stream.set_tcp_nodelay(true).expect("TCP_NODELAY");
        }
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Self { stream }
    }

    /// The address that the host knows this client by, as its log has it.
    pub fn name(&self) -> String {
        let local = self.stream.local_addr().expect("a connected socket has an address");
        match local.as_socket() {
            Some(addr) => format!("client={addr}"),
            None => "client=unnamed".to_owned(),
        }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap_or_else(|error| panic!("send: {error}"));
        self
    }

    /// Reads as many bytes as `expected` has, which must be these.
    #[track_caller]
    pub fn hears(&mut self, expected: impl AsRef<[u8]>) -> &mut Self {
        let expected = expected.as_ref();
        let heard = self.heard(expected.len());
        assert!(heard == expected, "heard {:?}, not {:?}", lossy(&heard), lossy(expected));
        self
    }

    /// Reads so many bytes, or fewer if the stream ends before.
    #[track_caller]
    pub fn heard(&mut self, length: usize) -> Vec<u8> {
        let mut heard = vec![0; length];
        let mut filled = 0;
        while filled < heard.len() {
            match self.stream.read(&mut heard[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => panic!("after {:?}: {error}", String::from_utf8_lossy(&heard[..filled])),
            }
        }
        heard.truncate(filled);
        heard
    }

    /// Says that no more will come.
    #[track_caller]
    pub fn ends(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).unwrap_or_else(|error| panic!("shut down writing: {error}"));
        self
    }

    /// All that comes until end-of-stream. A reset is a failure.
    #[track_caller]
    pub fn rest(mut self) -> String {
        let mut heard = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut heard) {
            panic!("after {:?}: {error}", lossy(&heard));
        }
        String::from_utf8(heard).expect("UTF-8")
    }

    /// Sends `bytes` and reads to the end, which may be a reset: whether all that came was
    /// `expected`. What is neither that nor nothing is a failure.
    #[track_caller]
    pub fn served(mut self, bytes: impl AsRef<[u8]>, expected: &str) -> bool {
        let mut heard = Vec::new();
        let _ = self.stream.write_all(bytes.as_ref());
        match self.stream.read_to_end(&mut heard) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no end after {:?}", lossy(&heard)),
            _ if heard.is_empty() => false,
            _ => {
                assert_eq!(lossy(&heard), expected);
                true
            }
        }
    }

    /// Waits until the host is done with this connection, be it by end-of-stream or a reset.
    #[track_caller]
    pub fn sees_the_end(mut self) {
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => {}
            Ok(_) => panic!("bytes came where the end was expected"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("no end: {error}"),
        }
    }

    /// Goes away as a crashed client does: the server gets a reset.
    pub fn resets(self) {
        self.stream.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

/// One whole session: connect, send, half-close, read to the end.
#[track_caller]
pub fn ask(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    talk(Client::connect(addr), bytes)
}

/// The same with a server of any family that has connections, by its URL.
#[track_caller]
pub fn ask_url(url: &str, bytes: impl AsRef<[u8]>) -> String {
    talk(Client::dial(url), bytes)
}

#[track_caller]
fn talk(mut client: Client, bytes: impl AsRef<[u8]>) -> String {
    client.send(bytes).ends();
    client.rest()
}

/// What a failure shows of bytes: the beginning.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}

/// The limit that this process was started with, if it has raised it since.
static RAISED_FROM: RwLock<Option<Rlimit>> = RwLock::new(None);

/// As many descriptors as may be, for thousands of clients, whose sockets this process has. Hosts
/// are started with the limit that this process was started with.
pub fn raise_descriptor_limit() {
    let mut raised_from = RAISED_FROM.write().expect("no thread panicked with it");
    let limit = *raised_from.get_or_insert_with(|| getrlimit(Resource::Nofile));
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit anybody may");
}

/// The limit to give to a child, if this process has raised its own. Nobody raises it while this is
/// held.
pub fn limit_for_children() -> RwLockReadGuard<'static, Option<Rlimit>> {
    RAISED_FROM.read().expect("no thread panicked with it")
}
