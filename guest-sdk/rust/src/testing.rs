//! Handlers in a native `cargo test`: [`serve`] runs one with a client that follows a script.
//!
//! The module exists on native targets only.
//!
//! ```
//! use wharf_guest::{Connection, Result, testing};
//!
//! fn handle(connection: Connection) -> Result {
//!     let message = connection.read_chunk(1024)?;
//!     connection.write_all(&message.to_ascii_uppercase())?;
//!     Ok(())
//! }
//!
//! assert_eq!(testing::serve(handle, "hello\n").text(), "HELLO\n");
//! ```
//!
//! A [`Client`] sends in pieces, pauses, leaves:
//!
//! ```
//! # use wharf_guest::{Connection, Result, testing};
//! # fn handle(connection: Connection) -> Result {
//! #     while connection.read(&mut [0; 9])? > 0 {}
//! #     Ok(())
//! # }
//! let client = testing::Client::new().sends("hel").sends("lo\n").resets();
//! let served = testing::serve(handle, client);
//! assert_eq!(served.failures, ["handle: connection reset"]);
//! ```
//!
//! A value that implements a handler's trait is served in the same way,
//! `testing::serve(Upper::default(), "hello\n")`; its `setup` and `finish` are called too.
//! Datagrams have [`serve_datagram`].
//!
//! Nothing of a sandbox is tested here: neither its limits nor its permissions, nor the host's
//! timeouts. A panic of the handler is a panic of the test.

use std::collections::VecDeque;
use std::time::Duration;

use crate::session::{Handles, IntoResult, text};
use crate::socketserver::{DatagramRequestHandler, DatagramRequests, StreamRequestHandler, StreamRequests};
use crate::{Address, Connection, Datagram, Result};

pub(crate) mod host;

/// Lets `handler` serve `client`, which may be the bytes that it sends, and returns the outcome.
///
/// `handler` is a function that takes a [`Connection`], a value of a
/// [`StreamHandler`](crate::StreamHandler), or one of a [`StreamRequestHandler`]. The compiler
/// infers `K`, which tells these apart.
///
/// # Panics
///
/// If the handler panics, or is itself run by this function.
pub fn serve<K>(handler: impl Handler<Connection, K>, client: impl Into<Client>) -> Served {
    let (failures, session) = host::run(client.into(), || handler.serve(Connection::current()));
    let writes = session.sent.into_iter().map(|(data, _)| data).collect();
    Served { writes, failures, timeout: session.timeout }
}

/// Lets `handler` serve one datagram, the bytes that `client` sends, and returns the outcome.
///
/// `handler` is a function that takes a [`Datagram`], a value of a
/// [`DatagramHandler`](crate::DatagramHandler), or one of a [`DatagramRequestHandler`]. The
/// compiler infers `K`, which tells these apart.
///
/// # Panics
///
/// If the handler panics, or is itself run by this function.
pub fn serve_datagram<K>(handler: impl Handler<Datagram, K>, client: impl Into<Client>) -> ServedDatagram {
    let mut client = client.into();
    let packet = client.take_packet();
    let (failures, session) = host::run(client, || handler.serve(Datagram::new(packet)));
    ServedDatagram { sent: session.sent, failures }
}

/// A client, as a script. It does one thing after the other, then sends no more and still reads: it
/// has shut down writing.
#[derive(Clone, Debug)]
pub struct Client {
    peer: Address,
    local: Address,
    script: VecDeque<Step>,
    /// The bytes that it still reads.
    reads: usize,
    granted: Vec<Address>,
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Pause,
    Reset,
}

impl Client {
    /// A client at 127.0.0.1:50000 that connects to 127.0.0.1:9999 and sends nothing.
    pub fn new() -> Self {
        let address = |port| Address::Inet(([127, 0, 0, 1], port).into());
        Self {
            peer: address(50000),
            local: address(9999),
            script: VecDeque::new(),
            reads: usize::MAX,
            granted: Vec::new(),
        }
    }

    /// Connects from `address`.
    pub fn peer_addr(mut self, address: impl Into<Address>) -> Self {
        self.peer = address.into();
        self
    }

    /// Connects to `address`.
    pub fn local_addr(mut self, address: impl Into<Address>) -> Self {
        self.local = address.into();
        self
    }

    /// Sends `bytes`, which arrive as one piece: no read returns bytes of two pieces.
    pub fn sends(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        // A read that returns no bytes would be the end of the stream.
        if !bytes.is_empty() {
            self.script.push_back(Step::Send(bytes));
        }
        self
    }

    /// Sends nothing for longer than a read may wait: one read fails with `TimedOut`.
    pub fn pauses(mut self) -> Self {
        self.script.push_back(Step::Pause);
        self
    }

    /// Resets the connection. Each later read, and each write once the handler has read all before,
    /// fails with `ConnectionReset`.
    pub fn resets(mut self) -> Self {
        self.script.push_back(Step::Reset);
        self
    }

    /// Stops reading after `bytes` bytes. The write that would exceed them, and each later one,
    /// fails with `BrokenPipe`.
    pub fn stops_reading_after(mut self, bytes: usize) -> Self {
        self.reads = bytes;
        self
    }

    /// The operator grants sending datagrams to `address`. Without a grant, sending to any address
    /// but the client's fails with `PermissionDenied`.
    pub fn with_grant(mut self, address: impl Into<Address>) -> Self {
        self.granted.push(address.into());
        self
    }

    /// The packet of a datagram: the first piece.
    fn take_packet(&mut self) -> Vec<u8> {
        match self.script.pop_front_if(|step| matches!(step, Step::Send(_))) {
            Some(Step::Send(packet)) => packet,
            _ => Vec::new(),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Into<Vec<u8>>> From<B> for Client {
    fn from(bytes: B) -> Self {
        Self::new().sends(bytes)
    }
}

/// The outcome of [`serve`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// The bytes that the client received, a vector for each write.
    pub writes: Vec<Vec<u8>>,
    /// The errors that ended the session, as the log has them: the method, a colon and the text, as
    /// in `handle: connection reset`. A function is `handle`.
    pub failures: Vec<String>,
    /// The last argument of [`Connection::set_timeout`].
    pub timeout: Option<Duration>,
}

impl Served {
    /// All bytes that the client received.
    ///
    /// # Panics
    /// If the handler failed.
    #[track_caller]
    pub fn output(self) -> Vec<u8> {
        assert!(self.failures.is_empty(), "the handler failed: {}", self.failures.join(", "));
        self.writes.concat()
    }

    /// [`output`](Self::output) as text.
    ///
    /// # Panics
    /// If the handler failed, or the bytes are not UTF-8.
    #[track_caller]
    pub fn text(self) -> String {
        String::from_utf8(self.output()).expect("the client receives UTF-8")
    }
}

/// The outcome of [`serve_datagram`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServedDatagram {
    /// The datagrams that the handler sent, with their destinations.
    pub sent: Vec<(Vec<u8>, Address)>,
    /// As in [`Served::failures`].
    pub failures: Vec<String>,
}

impl ServedDatagram {
    /// The packets that the handler sent, in order, whatever their destinations.
    ///
    /// # Panics
    /// If the handler failed.
    #[track_caller]
    pub fn packets(self) -> Vec<Vec<u8>> {
        assert!(self.failures.is_empty(), "the handler failed: {}", self.failures.join(", "));
        self.sent.into_iter().map(|(packet, _)| packet).collect()
    }
}

/// A handler of requests `R`, in one of the shapes that [`serve`] and [`serve_datagram`] take. `K`
/// is the shape. Nothing outside this crate implements or calls it.
pub trait Handler<R, K> {
    #[doc(hidden)]
    fn serve(self, request: R) -> Vec<String>;
}

/// The shapes of a handler.
#[doc(hidden)]
pub mod shape {
    #[derive(Debug)]
    pub enum Function {}
    #[derive(Debug)]
    pub enum Methods {}
    #[derive(Debug)]
    pub enum Files {}
}

impl<R, F: FnOnce(R) -> O, O: IntoResult> Handler<R, shape::Function> for F {
    fn serve(self, request: R) -> Vec<String> {
        failures([("handle", self(request).into_result())])
    }
}

impl<R: Clone, H: Handles<R>> Handler<R, shape::Methods> for H {
    fn serve(mut self, request: R) -> Vec<String> {
        let setup = self.setup(request.clone());
        if setup.is_err() {
            return failures([("setup", setup)]);
        }
        let handle = self.handle(request.clone());
        failures([("handle", handle), ("finish", self.finish(request))])
    }
}

impl<H: StreamRequestHandler> Handler<Connection, shape::Files> for H {
    fn serve(self, connection: Connection) -> Vec<String> {
        Handler::<_, shape::Methods>::serve(StreamRequests::of(self), connection)
    }
}

impl<H: DatagramRequestHandler> Handler<Datagram, shape::Files> for H {
    fn serve(self, datagram: Datagram) -> Vec<String> {
        Handler::<_, shape::Methods>::serve(DatagramRequests::of(self), datagram)
    }
}

fn failures<const N: usize>(results: [(&str, Result); N]) -> Vec<String> {
    let failed = |(phase, result): (&str, Result)| result.err().map(|error| format!("{phase}: {}", text(error)));
    results.into_iter().filter_map(failed).collect()
}
