//! The connection that a handler serves.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::Address;
#[cfg(not(test))]
use crate::bindings::stream::wharf::handler::connection as host;
use crate::error_code::io_error;
#[cfg(test)]
use crate::fake_host::connection as host;

/// What one `read` asks for at most. The host copies what came into memory it allocates here, so that a
/// larger wish would only make this instance's memory grow.
const READ_MAX: usize = 64 << 10;

/// What one `write` passes on at most: it bounds what the host keeps of a session that writes megabytes at once.
const WRITE_MAX: usize = 256 << 10;

/// The connection being served: TCP or Unix. socketserver's `self.request`.
///
/// It is [`Read`] and [`Write`], so that all of [`std::io`] works on it. As with `TcpStream`, a shared
/// reference reads and writes as well, and a clone is a second name for the same connection; both let one part
/// of a handler read, through a `BufReader` say, while another writes.
///
/// `read` and [`recv`](Self::recv) give what has come, which may be a part of what the client sent at once, or several
/// messages joined: see [`framing`](crate::framing). Each `write` is sent at once: format a message of many
/// pieces into one buffer first, or use a `BufWriter`.
///
/// # Errors
///
/// All methods that return [`io::Result`] fail with these kinds:
///
/// | kind | what happened |
/// | --- | --- |
/// | `TimedOut` | the time set with [`set_timeout`](Self::set_timeout), or by the operator, ran out; the connection is still usable |
/// | `ConnectionReset` | the client reset the connection |
/// | `BrokenPipe` | the client stopped reading, or this side has shut down writing |
/// | `PermissionDenied` | the operator hasn't granted this |
/// | `InvalidInput` | a message is too large for the transport |
/// | `Other` | anything else, in words |
///
/// # Panics
///
/// A test that runs outside a plugin has no connection, and all methods panic. Keep what you want to test
/// in functions over `impl Read` and `impl Write`.
#[derive(Clone, Debug)]
pub struct Connection {
    _made_by_the_sdk_alone: (),
}

impl Connection {
    pub(crate) fn current() -> Self {
        Self { _made_by_the_sdk_alone: () }
    }

    /// Waits for bytes and returns at most `max` of them; an empty answer is end-of-stream.
    ///
    /// It saves the copy that `read` makes. `max` is 1 or more; what is above `u32::MAX` counts as that.
    pub fn recv(&self, max: usize) -> io::Result<Vec<u8>> {
        host::recv(u32::try_from(max).unwrap_or(u32::MAX)).map_err(io_error)
    }

    /// Sends all of `data`, and returns once the kernel has taken it. socketserver's `sendall`.
    pub fn send(&self, data: &[u8]) -> io::Result<()> {
        data.chunks(WRITE_MAX).try_for_each(|chunk| host::send(chunk).map_err(io_error))
    }

    /// Ends one or both directions. The client reads end-of-stream after what was sent before.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let direction = match how {
            Shutdown::Read => host::Direction::Read,
            Shutdown::Write => host::Direction::Write,
            Shutdown::Both => host::Direction::Both,
        };
        host::shutdown(direction).map_err(io_error)
    }

    /// How long each later read and write may wait before it fails with `TimedOut`; `None`, as at the start, waits
    /// without end.
    ///
    /// The resolution is a nanosecond, and what is above 584 years counts as that. The operator's own
    /// timeouts hold all the same.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        host::set_timeout(timeout.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
    }

    /// Where the client connects from.
    pub fn client_address(&self) -> Address {
        Address::from_contract(host::client_address())
    }

    /// Where the server accepted the connection.
    pub fn server_address(&self) -> Address {
        Address::from_contract(host::server_address())
    }

    /// Turns a plain connection into TLS, as the server, with the operator's certificate. What is read and written
    /// afterwards is encrypted.
    ///
    /// **No host can grant it yet.** Until one does, this fails with [`PermissionDenied`](io::ErrorKind::PermissionDenied),
    /// and the connection goes on as it was. Let a proxy in front of wharf end TLS.
    ///
    /// # Errors
    /// As above, always.
    pub fn start_tls(&self) -> io::Result<()> {
        host::start_tls().map_err(io_error)
    }
}

impl Read for &Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let received = self.recv(buf.len().min(READ_MAX))?;
        buf[..received.len()].copy_from_slice(&received);
        Ok(received.len())
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let before = buf.len();
        loop {
            let received = self.recv(READ_MAX)?;
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
        self.send(&buf[..taken])?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }
}

impl Write for Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
