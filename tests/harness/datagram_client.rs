//! A client of a plugin's datagrams: blocking, with a deadline on every wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, recvfrom, sendto};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use super::DEADLINE;

pub struct DatagramClient {
    socket: Socket,
    server: SocketAddrAny,
    /// Where it has its name, if it is a Unix socket with one.
    _folder: Option<TempDir>,
}

impl DatagramClient {
    /// A client of the server at `url`, with an address of its own to be answered at.
    pub fn to(url: &str) -> Self {
        let client = Self::unnamed(url);
        if client.socket.domain().expect("a socket has a domain") != Domain::UNIX {
            return client;
        }
        let folder = tempfile::tempdir().expect("create a temporary folder");
        client.socket.bind(&SockAddr::unix(folder.path().join("client")).expect("it fits")).expect("bind to a path");
        Self { _folder: Some(folder), ..client }
    }

    /// The same, but a Unix socket has no name to be answered at.
    pub fn unnamed(url: &str) -> Self {
        if url.starts_with("udp:") {
            return Self::from(Ipv4Addr::LOCALHOST, url);
        }
        Self::over(Socket::new(Domain::UNIX, Type::DGRAM, None).expect("a socket"), url)
    }

    /// A client from another of this machine's loopback addresses.
    pub fn from(source: Ipv4Addr, url: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("bind to a loopback address");
        Self::over(socket, url)
    }

    fn over(socket: Socket, url: &str) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        socket.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Self { socket, server: server(url), _folder: None }
    }

    /// Where it is answered: `127.0.0.1:9999`, a path, or `unnamed`.
    pub fn address(&self) -> String {
        let local = self.socket.local_addr().expect("a socket has an address");
        match (local.as_socket(), local.as_pathname()) {
            (Some(addr), _) => addr.to_string(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => "unnamed".to_owned(),
        }
    }

    /// The address that the host knows this client by, as its log has it.
    pub fn name(&self) -> String {
        format!("client={}", self.address())
    }

    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> &Self {
        let bytes = bytes.as_ref();
        match sendto(&self.socket, bytes, SendFlags::empty(), &self.server) {
            Ok(sent) => assert_eq!(sent, bytes.len(), "a datagram is sent whole"),
            Err(error) => panic!("send {} bytes: {error}", bytes.len()),
        }
        self
    }

    /// Waits for one datagram, which has to come from the server.
    #[track_caller]
    pub fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 256 << 10];
        let received = recvfrom(&self.socket, &mut buffer[..], RecvFlags::empty());
        let (read, _, from) = received.unwrap_or_else(|error| panic!("receive: {error}"));
        assert_eq!(from, Some(self.server.clone()), "it is the server that answers");
        buffer.truncate(read);
        buffer
    }

    /// Sends this until it comes back.
    #[track_caller]
    pub fn retry_until_heard(&self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        self.socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let mut buffer = vec![0; 256 << 10];
        let heard = |read: usize, buffer: &[u8]| buffer[..read] == *text.as_bytes();
        loop {
            assert!(Instant::now() < deadline, "{text:?} has not come back");
            self.send(text);
            if recvfrom(&self.socket, &mut buffer[..], RecvFlags::empty()).is_ok_and(|(read, ..)| heard(read, &buffer))
            {
                break;
            }
        }
        self.socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    }

    /// Waits for one datagram, which has to be this.
    #[track_caller]
    pub fn hears(&self, expected: impl AsRef<[u8]>) -> &Self {
        let (heard, expected) = (self.receive(), expected.as_ref());
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
        assert!(
            heard == expected,
            "heard {} bytes {:?}, not {} bytes {:?}",
            heard.len(),
            lossy(&heard),
            expected.len(),
            lossy(expected)
        );
        self
    }
}

fn server(url: &str) -> SocketAddrAny {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    match rest.strip_prefix('@') {
        _ if scheme == "udp" => rest.parse::<SocketAddr>().expect("an address and a port").into(),
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("it fits").into(),
        None => SocketAddrUnix::new(rest).expect("it fits").into(),
    }
}
