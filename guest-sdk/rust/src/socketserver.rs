//! Handlers in the words of Python's `socketserver`: [`StreamRequestHandler`] and
//! [`DatagramRequestHandler`], with a file to read from and a file to write to.
//!
//! In Python, `rfile` and `wfile` are attributes of the handler. Here they are fields of the
//! request that each method gets, so that a handler's own fields stay its own. The work of Python's
//! base class in `setup` happens before `setup`, and its work in `finish` happens after `finish`,
//! whether `handle` and `finish` failed or not. There is no `super()` to forget.
//!
//! | in Python | here |
//! | --- | --- |
//! | `BaseRequestHandler` on a `TCPServer`, `self.request.recv` and `sendall` | [`StreamHandler`], [`Connection::read_chunk`] and [`Connection::write_all`] |
//! | `BaseRequestHandler` on a `UDPServer`, `self.request[0]` and `self.request[1].sendto` | [`DatagramHandler`], [`Datagram::packet`] and [`Datagram::send_to`] |
//! | `self.client_address`, `self.server.server_address` of these two | `peer_addr`, `local_addr` |
//! | `StreamRequestHandler` | [`StreamRequestHandler`] |
//! | `DatagramRequestHandler` | [`DatagramRequestHandler`] |
//! | `verify_request`, `handle_error`, `service_actions` of a server class | [`ServerHooks`](crate::ServerHooks) |
//! | `TCPServer`, `UDPServer`, `UnixStreamServer`, `UnixDatagramServer` | the address in the manifest: `tcp://`, `udp://`, `unix://`, `unixgram://` |
//! | `ThreadingMixIn`, `ForkingMixIn` | `concurrency = "thread"`, `concurrency = "process"` in the manifest |

use std::io::{BufReader, BufWriter, Cursor, Write};
use std::mem;
use std::time::Duration;

use crate::{Address, Connection, Datagram, DatagramHandler, Result, StreamHandler};

/// Serves one connection with files to read and write.
///
/// Implemented by the author of a plugin and named in [`export!`](crate::export!) as
/// `stream_request = …`. The value's life, errors and panics are those of a [`StreamHandler`].
///
/// ```
/// use std::io::{BufRead, Write};
/// use wharf_guest::Result;
/// use wharf_guest::socketserver::{StreamRequest, StreamRequestHandler};
///
/// #[derive(Default)]
/// struct Upper;
///
/// impl StreamRequestHandler for Upper {
///     fn handle(&mut self, request: &mut StreamRequest) -> Result {
///         let mut line = String::new();
///         request.rfile.read_line(&mut line)?;
///         request.wfile.write_all(line.trim().to_uppercase().as_bytes())?;
///         Ok(())
///     }
/// }
///
/// wharf_guest::export!(stream_request = Upper);
/// ```
///
/// | Python | here |
/// | --- | --- |
/// | `rbufsize`, `wbufsize`, `timeout` | [`RBUFSIZE`](Self::RBUFSIZE), [`WBUFSIZE`](Self::WBUFSIZE), [`TIMEOUT`](Self::TIMEOUT) |
/// | `disable_nagle_algorithm` | the manifest's key `disable-nagle-algorithm` |
/// | `self.rfile`, `self.wfile` | the fields [`rfile`](StreamRequest::rfile) and [`wfile`](StreamRequest::wfile) |
/// | `self.request`, `self.connection` | [`connection`](StreamRequest::connection) |
/// | `self.client_address` | [`client_address`](StreamRequest::client_address) |
/// | `self.server.server_address` | [`server_address`](StreamRequest::server_address) |
/// | `setup`, `handle`, `finish` | the methods of the same name, with no `super()` to call |
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle connections with files",
    label = "needs `impl StreamRequestHandler for {Self}`"
)]
pub trait StreamRequestHandler: Default + 'static {
    /// How many bytes [`rfile`](StreamRequest::rfile) may read ahead. Python's `rbufsize`; its -1
    /// is the default here.
    ///
    /// With 0 nothing is read ahead, so that the rest can be read from the connection itself.
    /// Reading lines then takes a call of the host for each byte.
    const RBUFSIZE: usize = 8 << 10;

    /// How many bytes [`wfile`](StreamRequest::wfile) collects before it sends them. Python's
    /// `wbufsize`.
    ///
    /// With 0, the default of both, each write is sent at once. With more, the rest is sent after
    /// [`finish`](Self::finish); flush `wfile` earlier wherever the client is to answer.
    const WBUFSIZE: usize = 0;

    /// How long each read and each write may wait before it fails with `TimedOut`; `None` waits
    /// without end. Python's `timeout`.
    const TIMEOUT: Option<Duration> = None;

    /// Called first, with the files open. If it fails, neither [`handle`](Self::handle) nor
    /// [`finish`](Self::finish) is called, and the bytes that `wfile` still holds are not sent.
    fn setup(&mut self, request: &mut StreamRequest) -> Result {
        let _ = request;
        Ok(())
    }

    /// Called after [`setup`](Self::setup) to serve the client.
    fn handle(&mut self, request: &mut StreamRequest) -> Result;

    /// Called after [`handle`](Self::handle), also if that failed. Then `wfile` is flushed, even if
    /// this method failed. An error of the flush is an error of the session.
    fn finish(&mut self, request: &mut StreamRequest) -> Result {
        let _ = request;
        Ok(())
    }
}

/// The connection that a [`StreamRequestHandler`] serves, and its two files.
#[derive(Debug)]
pub struct StreamRequest {
    /// The bytes that the client sends, as [`BufRead`](std::io::BufRead): it has `read_line` and
    /// `lines`. Python's `self.rfile`.
    pub rfile: BufReader<Connection>,
    /// The way to the client. Python's `self.wfile`.
    pub wfile: BufWriter<Connection>,
    connection: Connection,
}

impl StreamRequest {
    fn new<H: StreamRequestHandler>(connection: Connection) -> Self {
        Self {
            // One without capacity would take its empty buffer for the end of the stream. With 1,
            // larger reads bypass it.
            rfile: BufReader::with_capacity(H::RBUFSIZE.max(1), connection.clone()),
            wfile: BufWriter::with_capacity(H::WBUFSIZE, connection.clone()),
            connection,
        }
    }

    /// The connection under both files. Python's `self.connection`.
    ///
    /// Bytes that `rfile` has read ahead are not read from it again, and bytes written to it
    /// overtake those that `wfile` still holds.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The client's end. Python's `self.client_address`.
    pub fn client_address(&self) -> Address {
        self.connection.peer_addr()
    }

    /// The server's end. Python's `self.server.server_address`.
    pub fn server_address(&self) -> Address {
        self.connection.local_addr()
    }
}

impl Drop for StreamRequest {
    fn drop(&mut self) {
        // A `BufWriter` writes its buffer when it is dropped: after a failed setup, or, where an
        // instance is reused, to the next client.
        let empty = BufWriter::with_capacity(0, self.connection.clone());
        let _ = mem::replace(&mut self.wfile, empty).into_parts();
    }
}

/// The [`StreamHandler`] that a [`StreamRequestHandler`] is for the host.
pub struct StreamRequests<H> {
    handler: H,
    request: StreamRequest,
}

impl<H: StreamRequestHandler> Default for StreamRequests<H> {
    fn default() -> Self {
        Self::of(H::default())
    }
}

impl<H: StreamRequestHandler> StreamRequests<H> {
    pub(crate) fn of(handler: H) -> Self {
        Self { handler, request: StreamRequest::new::<H>(Connection::current()) }
    }
}

impl<H: StreamRequestHandler> StreamHandler for StreamRequests<H> {
    fn setup(&mut self, connection: Connection) -> Result {
        if H::TIMEOUT.is_some() {
            connection.set_timeout(H::TIMEOUT);
        }
        self.handler.setup(&mut self.request)
    }

    fn handle(&mut self, _: Connection) -> Result {
        self.handler.handle(&mut self.request)
    }

    fn finish(&mut self, _: Connection) -> Result {
        let finished = self.handler.finish(&mut self.request);
        let flushed = self.request.wfile.flush();
        finished?;
        Ok(flushed?)
    }
}

/// Serves one datagram with files to read and write.
///
/// Implemented by the author of a plugin and named in [`export!`](crate::export!) as
/// `datagram_request = …`. The value's life, errors and panics are those of a [`StreamHandler`].
///
/// The bytes written to [`wfile`](DatagramRequest::wfile) go to the client as **one** datagram,
/// after [`finish`](Self::finish). As in Python they go there in any case: if nothing was written,
/// as an empty datagram, and if `handle` failed, with the bytes written until then. To send none,
/// or several, implement a [`DatagramHandler`].
///
/// ```
/// use std::io::{BufRead, Write};
/// use wharf_guest::Result;
/// use wharf_guest::socketserver::{DatagramRequest, DatagramRequestHandler};
///
/// #[derive(Default)]
/// struct Numbered;
///
/// impl DatagramRequestHandler for Numbered {
///     fn handle(&mut self, request: &mut DatagramRequest) -> Result {
///         for (number, line) in (1..).zip((&mut request.rfile).lines()) {
///             writeln!(request.wfile, "{number} {}", line?)?;
///         }
///         Ok(())
///     }
/// }
///
/// wharf_guest::export!(datagram_request = Numbered);
/// ```
///
/// | Python | here |
/// | --- | --- |
/// | `self.rfile`, `self.wfile` | the fields [`rfile`](DatagramRequest::rfile) and [`wfile`](DatagramRequest::wfile) |
/// | `self.packet` | [`packet`](DatagramRequest::packet) |
/// | `self.request`, `self.socket` | [`datagram`](DatagramRequest::datagram) |
/// | `self.client_address` | [`client_address`](DatagramRequest::client_address) |
/// | `self.server.server_address` | [`server_address`](DatagramRequest::server_address) |
/// | `setup`, `handle`, `finish` | the methods of the same name, with no `super()` to call |
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle datagrams with files",
    label = "needs `impl DatagramRequestHandler for {Self}`"
)]
pub trait DatagramRequestHandler: Default + 'static {
    /// Called first, with the files open. If it fails, neither [`handle`](Self::handle) nor
    /// [`finish`](Self::finish) is called, and nothing is sent.
    fn setup(&mut self, request: &mut DatagramRequest) -> Result {
        let _ = request;
        Ok(())
    }

    /// Called after [`setup`](Self::setup) to serve the datagram.
    fn handle(&mut self, request: &mut DatagramRequest) -> Result;

    /// Called after [`handle`](Self::handle), also if that failed. Then `wfile` is sent, even if
    /// this method failed. An error of the sending is an error of the session.
    fn finish(&mut self, request: &mut DatagramRequest) -> Result {
        let _ = request;
        Ok(())
    }
}

/// The datagram that a [`DatagramRequestHandler`] serves, and its two files.
#[derive(Debug)]
#[non_exhaustive]
pub struct DatagramRequest {
    /// The bytes that the client sent, as [`BufRead`](std::io::BufRead). Python's `self.rfile`.
    pub rfile: Cursor<Datagram>,
    /// The answer. Python's `self.wfile`.
    pub wfile: Vec<u8>,
}

impl DatagramRequest {
    fn new(datagram: Datagram) -> Self {
        Self { rfile: Cursor::new(datagram), wfile: Vec::new() }
    }

    /// All bytes that the client sent. Python's `self.packet`.
    pub fn packet(&self) -> &[u8] {
        self.datagram().packet()
    }

    /// The datagram under both files, which can send to other addresses. Python's `self.socket`.
    pub fn datagram(&self) -> &Datagram {
        self.rfile.get_ref()
    }

    /// The address that the client sent from. Python's `self.client_address`.
    pub fn client_address(&self) -> Address {
        self.datagram().peer_addr()
    }

    /// The address that the datagram arrived at. Python's `self.server.server_address`.
    pub fn server_address(&self) -> Address {
        self.datagram().local_addr()
    }
}

/// The [`DatagramHandler`] that a [`DatagramRequestHandler`] is for the host.
pub struct DatagramRequests<H> {
    handler: H,
    request: DatagramRequest,
}

impl<H: DatagramRequestHandler> Default for DatagramRequests<H> {
    fn default() -> Self {
        Self::of(H::default())
    }
}

impl<H: DatagramRequestHandler> DatagramRequests<H> {
    pub(crate) fn of(handler: H) -> Self {
        Self { handler, request: DatagramRequest::new(Datagram::new(Vec::new())) }
    }
}

impl<H: DatagramRequestHandler> DatagramHandler for DatagramRequests<H> {
    fn setup(&mut self, datagram: Datagram) -> Result {
        self.request = DatagramRequest::new(datagram);
        self.handler.setup(&mut self.request)
    }

    fn handle(&mut self, _: Datagram) -> Result {
        self.handler.handle(&mut self.request)
    }

    fn finish(&mut self, datagram: Datagram) -> Result {
        let finished = self.handler.finish(&mut self.request);
        let sent = datagram.reply(&self.request.wfile);
        finished?;
        Ok(sent?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Read};

    use super::*;
    use crate::session::{Handles, Session};
    use crate::testing::{Client, host};

    /// What a client receives of the session, which may stop before `finish`.
    fn served<H: Handles<R>, R: Clone>(session: &Session<H, R>, request: R, text: &str, finishes: bool) -> Vec<u8> {
        let ((), served) = host::run(Client::from(text), || {
            session.setup(request).unwrap();
            session.handle().unwrap();
            if finishes {
                session.finish().unwrap();
            }
        });
        served.sent.into_iter().flat_map(|(data, _)| data).collect()
    }

    /// Answers with the bytes of the first line.
    #[derive(Default)]
    struct Line;

    impl StreamRequestHandler for Line {
        const WBUFSIZE: usize = 100;

        fn handle(&mut self, request: &mut StreamRequest) -> Result {
            let mut line = String::new();
            request.rfile.read_line(&mut line)?;
            Ok(request.wfile.write_all(line.as_bytes())?)
        }
    }

    impl DatagramRequestHandler for Line {
        fn handle(&mut self, request: &mut DatagramRequest) -> Result {
            request.rfile.read_to_end(&mut request.wfile)?;
            Ok(())
        }
    }

    #[test]
    fn a_reused_instance_sends_no_client_the_answer_of_another() {
        let session = Session::<StreamRequests<Line>, _>::new();
        assert_eq!(served(&session, Connection::current(), "secret\n", false), b"");
        assert_eq!(served(&session, Connection::current(), "hello\n", true), b"hello\n");
    }

    #[test]
    fn a_reused_instance_has_the_next_packet_alone() {
        let session = Session::<DatagramRequests<Line>, _>::new();
        for word in ["one", "two"] {
            assert_eq!(served(&session, Datagram::new(word.into()), "", true), word.as_bytes());
        }
    }
}
