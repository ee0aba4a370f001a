//! A client of a plugin: blocking, with a deadline on every wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::DEADLINE;

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|error| panic!("connect to {addr}: {error}"))
    }

    pub fn try_connect(addr: SocketAddr) -> std::io::Result<Self> {
        TcpStream::connect_timeout(&addr, DEADLINE).map(Self::over)
    }

    /// Connects from another of this machine's loopback addresses.
    pub fn connect_from(source: Ipv4Addr, addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("bind to a loopback address");
        socket.connect(&addr.into()).unwrap_or_else(|error| panic!("connect to {addr} from {source}: {error}"));
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Self { stream }
    }

    /// The address that the host knows this client by, as its log has it.
    pub fn name(&self) -> String {
        format!("client={}", self.stream.local_addr().expect("a connected socket has an address"))
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
        let mut heard = vec![0; expected.len()];
        let mut filled = 0;
        while filled < heard.len() {
            match self.stream.read(&mut heard[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => panic!("after {:?}: {error}", String::from_utf8_lossy(&heard[..filled])),
            }
        }
        heard.truncate(filled);
        assert!(heard == expected, "heard {:?}, not {:?}", lossy(&heard), lossy(expected));
        self
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
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

/// One whole session: connect, send, half-close, read to the end.
#[track_caller]
pub fn ask(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut client = Client::connect(addr);
    client.send(bytes).ends();
    client.rest()
}

/// What a failure shows of bytes: the beginning.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}
