//! The traits that the author of a plugin implements.

use std::error::Error as StdError;

use crate::{Address, Connection, Datagram};

/// Any error. `?` makes one of every [`std::error::Error`], and of text, as in
/// `Err("no such user")?`.
pub type Error = Box<dyn StdError + Send + Sync>;

/// What the methods of a handler return.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Serves one connection.
///
/// Implemented by the author of a plugin and named in [`export!`](crate::export!). A handler that
/// is one function needs no type: see [`main`](macro@crate::main).
///
/// For each connection, the SDK makes a value with [`Default`] and calls the three methods on it,
/// each at most once, in order. The value lives for these three calls: no other connection ever
/// sees it, even where an instance serves several in turn.
///
/// An error ends the session. The operator finds its text and its causes in the log. A panic ends
/// the session too, with its message, and no further method is called. No other session is
/// affected.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle connections",
    label = "needs `impl StreamHandler for {Self}`",
    note = "`export!(datagram = {Self})` is for a `DatagramHandler`, `stream_request = …` and `datagram_request = …` for those of `wharf_guest::socketserver`"
)]
pub trait StreamHandler: Default + 'static {
    /// Called first. If it fails, neither [`handle`](Self::handle) nor [`finish`](Self::finish) is
    /// called.
    fn setup(&mut self, connection: Connection) -> Result {
        let _ = connection;
        Ok(())
    }

    /// Called after [`setup`](Self::setup) to serve the client. The host closes the connection
    /// after this method and [`finish`](Self::finish) have returned.
    fn handle(&mut self, connection: Connection) -> Result;

    /// Called after [`handle`](Self::handle), also if that failed.
    fn finish(&mut self, connection: Connection) -> Result {
        let _ = connection;
        Ok(())
    }
}

/// Serves one datagram.
///
/// Implemented by the author of a plugin and named in [`export!`](crate::export!) as
/// `datagram = …`. For each datagram, the SDK makes a value with [`Default`] and calls the three
/// methods on it, as for a [`StreamHandler`]: the value's life, errors and panics are the same.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle datagrams",
    label = "needs `impl DatagramHandler for {Self}`",
    note = "`export!({Self})` is for a `StreamHandler`, `stream_request = …` and `datagram_request = …` for those of `wharf_guest::socketserver`"
)]
pub trait DatagramHandler: Default + 'static {
    /// Called first. If it fails, neither [`handle`](Self::handle) nor [`finish`](Self::finish) is
    /// called.
    fn setup(&mut self, datagram: Datagram) -> Result {
        let _ = datagram;
        Ok(())
    }

    /// Called after [`setup`](Self::setup) to serve the datagram. It may send any number of
    /// datagrams, also none.
    fn handle(&mut self, datagram: Datagram) -> Result;

    /// Called after [`handle`](Self::handle), also if that failed.
    fn finish(&mut self, datagram: Datagram) -> Result {
        let _ = datagram;
        Ok(())
    }
}

/// The hooks of a server: what subclasses of a server class override in Python's socketserver.
///
/// Implemented by the author of a plugin, for the handler's type or another, and named in
/// [`export!`](crate::export!) as `hooks = …`. There is no `self`, because the host calls these
/// functions in instances of its choice: nothing can be kept from one call to the next.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no hooks for a server",
    label = "needs `impl ServerHooks for {Self}`"
)]
pub trait ServerHooks {
    /// Called once for each connection or datagram, before anything else. `false` turns the client
    /// away: no handler is made.
    fn verify_request(client: &Address) -> bool {
        let _ = client;
        true
    }

    /// Called after `setup`, `handle` or `finish` failed, panicked or ran out of time. `error` is
    /// the cause as in the log.
    fn handle_error(client: &Address, error: &str) {
        let _ = (client, error);
    }

    /// Called once every `service-interval` of the manifest while the server runs, whether clients
    /// come or not.
    fn service_actions() {}
}
