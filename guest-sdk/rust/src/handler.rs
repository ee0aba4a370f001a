//! What the author of a plugin implements.

use std::error::Error as StdError;

use crate::{Address, Connection, Datagram};

/// Any error: `?` makes one of every [`std::error::Error`], and of text, as in `Err("no such user")?`.
pub type Error = Box<dyn StdError + Send + Sync>;

/// What a handler's methods return.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Serves one connection. socketserver's `BaseRequestHandler` on a `TCPServer` or `UnixStreamServer`; the mirror of its
/// `StreamRequestHandler`, with files to read and write, is [`StreamRequestHandler`](crate::StreamRequestHandler).
///
/// Implemented by the author of a plugin and named in [`export!`](crate::export!). For each connection, the SDK makes a value with
/// [`Default`] and calls the three methods on it, each at most once, in order. The value lives over the three
/// calls and no longer: it is never seen by another connection, even where an instance serves several in turn.
///
/// An error ends the session, and the operator finds its text in the log, with what caused it. So does a panic,
/// with its message; after one, nothing more of this value is called. No other session is concerned.
pub trait StreamHandler: Default + 'static {
    /// Called first. If it fails, neither [`handle`](Self::handle) nor [`finish`](Self::finish) is called.
    fn setup(&mut self, connection: &mut Connection) -> Result {
        let _ = connection;
        Ok(())
    }

    /// Called after [`setup`](Self::setup) to serve the client. The connection is closed after it and [`finish`](Self::finish) return.
    fn handle(&mut self, connection: &mut Connection) -> Result;

    /// Called after [`handle`](Self::handle), also if that failed.
    fn finish(&mut self, connection: &mut Connection) -> Result {
        let _ = connection;
        Ok(())
    }
}

/// Serves one datagram. socketserver's `BaseRequestHandler` on a `UDPServer` or `UnixDatagramServer`; the mirror of its
/// `DatagramRequestHandler`, with files to read and write, is [`DatagramRequestHandler`](crate::DatagramRequestHandler).
///
/// Implemented by the author of a plugin and named in [`export!`](crate::export!) as `datagram = …`. For each datagram, the SDK makes a
/// value with [`Default`] and calls the three methods on it, as it does for a [`StreamHandler`]. What is said there of
/// the value's life, of errors and of panics is so here as well.
pub trait DatagramHandler: Default + 'static {
    /// Called first. If it fails, neither [`handle`](Self::handle) nor [`finish`](Self::finish) is called.
    fn setup(&mut self, datagram: &mut Datagram) -> Result {
        let _ = datagram;
        Ok(())
    }

    /// Called after [`setup`](Self::setup) to serve the datagram. It may send any number of datagrams, and none.
    fn handle(&mut self, datagram: &mut Datagram) -> Result;

    /// Called after [`handle`](Self::handle), also if that failed.
    fn finish(&mut self, datagram: &mut Datagram) -> Result {
        let _ = datagram;
        Ok(())
    }
}

/// What a socketserver server class lets its subclass override.
///
/// Implemented by the author of a plugin that wants it, on the handler's type or another, and named in
/// [`export!`](crate::export!) as `hooks = …`. There is no `self`: the host calls these in instances of its choice, so nothing can be kept
/// between two calls.
pub trait ServerHooks {
    /// Called once for each connection or datagram, before anything else. False turns the client away: no handler is made.
    fn verify_request(client: &Address) -> bool {
        let _ = client;
        true
    }

    /// Called after `setup`, `handle` or `finish` failed, panicked or ran out of time, with the cause as the log has it.
    fn handle_error(client: &Address, error: &str) {
        let _ = (client, error);
    }

    /// Called once every `service-interval` of the manifest while the server runs, whether clients come or not.
    fn service_actions() {}
}
