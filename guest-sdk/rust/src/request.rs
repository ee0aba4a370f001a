//! The mirrors of socketserver's `StreamRequestHandler` and `DatagramRequestHandler`: handlers with a file to read from and one to write to.
//!
//! In Python, `rfile` and `wfile` are attributes of the handler; here they are fields of what its methods are given, so that a
//! handler's own fields stay its own. What Python does in the base class's `setup` happens before `setup`, and what it does
//! in the base class's `finish` happens after `finish`, whether `handle` and `finish` failed or not. There is no
//! `super()` to forget.

use std::io::{BufReader, BufWriter, Cursor, Write};
use std::mem;
use std::time::Duration;

use crate::{Address, Connection, Datagram, DatagramHandler, Result, StreamHandler};

/// Serves one connection with files to read and write. socketserver's `StreamRequestHandler`.
///
/// Implemented by the author of a plugin and named in [`export!`](crate::export!) as `stream_request = …`. What is said of a
/// [`StreamHandler`]'s life, of errors and of panics is so here as well.
///
/// ```
/// use std::io::{BufRead, Write};
/// use wharf_guest::{Result, StreamRequest, StreamRequestHandler};
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
/// | `disable_nagle_algorithm` | the key `disable-nagle-algorithm` of the manifest: the host sets it before the handler is called |
/// | `self.rfile`, `self.wfile` | the fields [`rfile`](StreamRequest::rfile) and [`wfile`](StreamRequest::wfile) |
/// | `self.request`, `self.connection` | [`connection`](StreamRequest::connection) |
/// | `self.client_address` | [`client_address`](StreamRequest::client_address) |
/// | `self.server.server_address` | [`server_address`](StreamRequest::server_address) |
/// | `setup`, `handle`, `finish` | the methods of the same name, with no `super()` to call |
pub trait StreamRequestHandler: Default + 'static {
    /// How many bytes [`rfile`](StreamRequest::rfile) may read ahead. Python's `rbufsize`, whose -1 stands for the size that is
    /// the default here.
    ///
    /// With 0 nothing is read ahead, so that the rest can be read from the connection itself; reading lines then takes
    /// a call of the host for each byte.
    const RBUFSIZE: usize = 8 << 10;

    /// How many bytes [`wfile`](StreamRequest::wfile) collects before it sends them. Python's `wbufsize`.
    ///
    /// With 0, as there, each write is sent at once. With more, what is left is sent after [`finish`](Self::finish); flush
    /// before that wherever the client is to answer.
    const WBUFSIZE: usize = 0;

    /// How long each read and each write may wait before it fails with `TimedOut`. Python's `timeout`.
    const TIMEOUT: Option<Duration> = None;

    /// Called first, with the files open. If it fails, neither [`handle`](Self::handle) nor [`finish`](Self::finish) is called, and
    /// what `wfile` still holds is not sent.
    fn setup(&mut self, request: &mut StreamRequest) -> Result {
        let _ = request;
        Ok(())
    }

    /// Called after [`setup`](Self::setup) to serve the client.
    fn handle(&mut self, request: &mut StreamRequest) -> Result;

    /// Called after [`handle`](Self::handle), also if that failed. Then `wfile` is flushed, even if this failed; the session
    /// fails if that does.
    fn finish(&mut self, request: &mut StreamRequest) -> Result {
        let _ = request;
        Ok(())
    }
}

/// The connection that a [`StreamRequestHandler`] serves, and its two files.
#[derive(Debug)]
pub struct StreamRequest {
    /// What the client sends: [`BufRead`](std::io::BufRead), so that it has `read_line` and `lines`. Python's `self.rfile`.
    pub rfile: BufReader<Connection>,
    /// What the client gets. Python's `self.wfile`.
    pub wfile: BufWriter<Connection>,
    connection: Connection,
}

impl StreamRequest {
    fn new<H: StreamRequestHandler>(connection: Connection) -> Self {
        Self {
            // One without capacity would take its empty buffer for the end of the stream. With 1, larger reads pass it by.
            rfile: BufReader::with_capacity(H::RBUFSIZE.max(1), connection.clone()),
            wfile: BufWriter::with_capacity(H::WBUFSIZE, connection.clone()),
            connection,
        }
    }

    /// The connection under both files. What `rfile` has read ahead isn't read from it again, and what is sent through it
    /// overtakes what `wfile` still holds. Python's `self.connection`.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where the client connects from. Python's `self.client_address`.
    pub fn client_address(&self) -> Address {
        self.connection.client_address()
    }

    /// Where the server accepted the connection. Python's `self.server.server_address`.
    pub fn server_address(&self) -> Address {
        self.connection.server_address()
    }
}

impl Drop for StreamRequest {
    fn drop(&mut self) {
        // A `BufWriter` writes what it holds when it is dropped: after a failed setup, or, where an instance is reused,
        // to the next client.
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
        Self { handler: H::default(), request: StreamRequest::new::<H>(Connection::current()) }
    }
}

impl<H: StreamRequestHandler> StreamHandler for StreamRequests<H> {
    fn setup(&mut self, connection: &mut Connection) -> Result {
        if H::TIMEOUT.is_some() {
            connection.set_timeout(H::TIMEOUT);
        }
        self.handler.setup(&mut self.request)
    }

    fn handle(&mut self, _: &mut Connection) -> Result {
        self.handler.handle(&mut self.request)
    }

    fn finish(&mut self, _: &mut Connection) -> Result {
        let finished = self.handler.finish(&mut self.request);
        let flushed = self.request.wfile.flush();
        finished?;
        Ok(flushed?)
    }
}

/// Serves one datagram with files to read and write. socketserver's `DatagramRequestHandler`.
///
/// Implemented by the author of a plugin and named in [`export!`](crate::export!) as `datagram_request = …`. What is said of a
/// [`StreamHandler`]'s life, of errors and of panics is so here as well.
///
/// All that is written to [`wfile`](DatagramRequest::wfile) goes to the client as **one** datagram, after [`finish`](Self::finish). As in Python
/// it goes there in any case: when nothing was written, as an empty datagram, and when `handle` failed, with what was
/// written until then. To send none, or several, implement a [`DatagramHandler`].
///
/// ```
/// use std::io::{BufRead, Write};
/// use wharf_guest::{DatagramRequest, DatagramRequestHandler, Result};
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
pub trait DatagramRequestHandler: Default + 'static {
    /// Called first, with the files open. If it fails, neither [`handle`](Self::handle) nor [`finish`](Self::finish) is called, and
    /// nothing is sent.
    fn setup(&mut self, request: &mut DatagramRequest) -> Result {
        let _ = request;
        Ok(())
    }

    /// Called after [`setup`](Self::setup) to serve the datagram.
    fn handle(&mut self, request: &mut DatagramRequest) -> Result;

    /// Called after [`handle`](Self::handle), also if that failed. Then `wfile` is sent, even if this failed; the session
    /// fails if that does.
    fn finish(&mut self, request: &mut DatagramRequest) -> Result {
        let _ = request;
        Ok(())
    }
}

/// The datagram that a [`DatagramRequestHandler`] serves, and its two files.
#[derive(Debug)]
pub struct DatagramRequest {
    /// What the client sent: [`BufRead`](std::io::BufRead), so that it has `read_line` and `lines`. Python's `self.rfile`.
    pub rfile: Cursor<Datagram>,
    /// What the client gets: [`Write`], and whatever else a `Vec` is. Python's `self.wfile`.
    pub wfile: Vec<u8>,
}

impl DatagramRequest {
    fn new(datagram: Datagram) -> Self {
        Self { rfile: Cursor::new(datagram), wfile: Vec::new() }
    }

    /// What the client sent, as a whole. Python's `self.packet`.
    pub fn packet(&self) -> &[u8] {
        self.datagram().packet()
    }

    /// The datagram under both files, which can be answered to other addresses. Python's `self.socket`.
    pub fn datagram(&self) -> &Datagram {
        self.rfile.get_ref()
    }

    /// Where the client sent it from. Python's `self.client_address`.
    pub fn client_address(&self) -> Address {
        self.datagram().client_address()
    }

    /// Where the server received it. Python's `self.server.server_address`.
    pub fn server_address(&self) -> Address {
        self.datagram().server_address()
    }
}

/// The [`DatagramHandler`] that a [`DatagramRequestHandler`] is for the host.
pub struct DatagramRequests<H> {
    handler: H,
    request: DatagramRequest,
}

impl<H: DatagramRequestHandler> Default for DatagramRequests<H> {
    fn default() -> Self {
        Self { handler: H::default(), request: DatagramRequest::new(Datagram::new(Vec::new())) }
    }
}

impl<H: DatagramRequestHandler> DatagramHandler for DatagramRequests<H> {
    fn setup(&mut self, datagram: &mut Datagram) -> Result {
        self.request = DatagramRequest::new(datagram.take());
        self.handler.setup(&mut self.request)
    }

    fn handle(&mut self, _: &mut Datagram) -> Result {
        self.handler.handle(&mut self.request)
    }

    fn finish(&mut self, datagram: &mut Datagram) -> Result {
        let finished = self.handler.finish(&mut self.request);
        let sent = datagram.reply(&self.request.wfile);
        finished?;
        Ok(sent?)
    }
}

#[cfg(test)]
mod tests;
