//! The connection that a handler serves.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::Address;
use crate::error_code::io_error;
use crate::host::connection as host;

/// The most that one `read` asks for, in bytes. The host copies what came into memory that it
/// allocates here, so a larger request would only make this instance's memory grow.
const READ_MAX: usize = 64 << 10;

/// The most that one `write` passes on, in bytes. It bounds what the host keeps of a session that
/// writes megabytes at once.
const WRITE_MAX: usize = 256 << 10;

/// The connection being served: TCP or a Unix stream. It has the shape of
/// [`TcpStream`](std::net::TcpStream).
///
/// [`Read`] and [`Write`] are implemented for `Connection` and for `&Connection`. A clone is a
/// second name for the same connection and costs nothing. So one part of a handler can read, in a
/// `BufReader` say, while another writes. The methods `read`, `write_all` and `write!` also work
/// without an import of the traits and without `mut`.
///
/// A read returns the bytes that have arrived: a part of what the client sent at once, or several
/// messages joined. The module [`framing`](crate::framing) finds messages in them. Each write is
/// sent at once. `write!` formats first and sends its text as one piece.
///
/// # Errors
///
/// All methods that return [`io::Result`] fail with these kinds:
///
/// | kind | cause |
/// | --- | --- |
/// | `TimedOut` | The time set with [`set_timeout`](Self::set_timeout), or by the operator, ran out. The connection is still usable. |
/// | `ConnectionReset` | The client reset the connection. |
/// | `BrokenPipe` | The client stopped reading, or this side has shut down writing. |
/// | `PermissionDenied` | The operator has not granted this. |
/// | `Other` | Any other error of the operating system, as text. |
///
/// # Panics
///
/// Outside a plugin, all methods panic unless [`testing::serve`](crate::testing::serve) runs the
/// handler.
#[derive(Clone, Debug)]
pub struct Connection {
    _private: (),
}

impl Connection {
    pub(crate) fn current() -> Self {
        Self { _private: () }
    }

    /// Waits for bytes and puts them into `buf`. Returns their number; 0 is the end of the stream,
    /// or means that `buf` is empty.
    ///
    /// One call returns at most 64 KiB.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let received = self.read_chunk(buf.len().min(READ_MAX))?;
        buf[..received.len()].copy_from_slice(&received);
        Ok(received.len())
    }

    /// Waits for bytes and returns at most `max` of them. An empty vector is the end of the stream.
    ///
    /// This saves the copy that [`read`](Self::read) makes. `max` is at least 1; the host returns
    /// at most 64 KiB, however large `max` is.
    pub fn read_chunk(&self, max: usize) -> io::Result<Vec<u8>> {
        host::recv(u32::try_from(max).unwrap_or(u32::MAX)).map_err(io_error)
    }

    /// Sends all of `data`, and returns once the kernel has taken it.
    ///
    /// # Errors
    /// As in the table of [`Connection`]. A part of `data` may have been sent.
    pub fn write_all(&self, data: &[u8]) -> io::Result<()> {
        data.chunks(WRITE_MAX).try_for_each(|chunk| host::send(chunk).map_err(io_error))
    }

    /// Sends formatted text as one piece: what `write!(connection, …)` and `writeln!` call.
    ///
    /// # Errors
    /// As in the table of [`Connection`]. A part of the text may have been sent.
    pub fn write_fmt(&self, text: fmt::Arguments<'_>) -> io::Result<()> {
        match text.as_str() {
            Some(text) => self.write_all(text.as_bytes()),
            None => self.write_all(text.to_string().as_bytes()),
        }
    }

    /// Ends one direction or both. The client reads the end of the stream after the bytes that were
    /// sent before.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let direction = match how {
            Shutdown::Read => host::Direction::Read,
            Shutdown::Write => host::Direction::Write,
            Shutdown::Both => host::Direction::Both,
        };
        host::shutdown(direction).map_err(io_error)
    }

    /// Sets how long each later read and each later write may wait before it fails with `TimedOut`.
    /// `None`, the value at the start, waits without end.
    ///
    /// It is std's `set_read_timeout` and `set_write_timeout` in one. The resolution is one
    /// nanosecond; values above 584 years are cut to that. The operator's own timeouts hold as
    /// well.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        host::set_timeout(timeout.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
    }

    /// The client's end of the connection.
    pub fn peer_addr(&self) -> Address {
        Address::from_contract(host::client_address())
    }

    /// The server's end: the address that accepted the connection.
    pub fn local_addr(&self) -> Address {
        Address::from_contract(host::server_address())
    }

    /// Turns a plain connection into TLS, as the server, with the operator's certificate. Later
    /// reads and writes are encrypted.
    ///
    /// **No host grants this yet.** Let a proxy in front of wharf end TLS.
    ///
    /// # Errors
    /// Always [`PermissionDenied`](io::ErrorKind::PermissionDenied) today. The connection stays as
    /// it was.
    pub fn start_tls(&self) -> io::Result<()> {
        host::start_tls().map_err(io_error)
    }
}

impl Read for &Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Connection::read(self, buf)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let before = buf.len();
        loop {
            let received = self.read_chunk(READ_MAX)?;
            if received.is_empty() {
                return Ok(buf.len() - before);
            }
            buf.extend_from_slice(&received);
        }
    }
}

impl Write for &Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let taken = buf.len().min(WRITE_MAX);
        self.write_all(&buf[..taken])?;
        Ok(taken)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        Connection::write_all(self, buf)
    }

    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        Connection::write_fmt(self, text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Connection::read(self, buf)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }
}

impl Write for Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        Connection::write_all(self, buf)
    }

    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        Connection::write_fmt(self, text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
