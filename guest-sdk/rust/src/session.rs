//! The way from the contract's exports to the author's traits. The code that `export!` makes calls
//! it.

use std::cell::RefCell;
use std::io::Write;

use crate::bindings::stream::wharf::handler::types;
use crate::{Address, Connection, Datagram, DatagramHandler, Error, Result, ServerHooks, StreamHandler, stdio};

/// A handler of requests `R`: the common shape of both traits that authors implement.
pub trait Handles<R>: Default {
    fn setup(&mut self, request: R) -> Result;
    fn handle(&mut self, request: R) -> Result;
    fn finish(&mut self, request: R) -> Result;
}

impl<H: StreamHandler> Handles<Connection> for H {
    fn setup(&mut self, connection: Connection) -> Result {
        StreamHandler::setup(self, connection)
    }
    fn handle(&mut self, connection: Connection) -> Result {
        StreamHandler::handle(self, connection)
    }
    fn finish(&mut self, connection: Connection) -> Result {
        StreamHandler::finish(self, connection)
    }
}

impl<H: DatagramHandler> Handles<Datagram> for H {
    fn setup(&mut self, datagram: Datagram) -> Result {
        DatagramHandler::setup(self, datagram)
    }
    fn handle(&mut self, datagram: Datagram) -> Result {
        DatagramHandler::handle(self, datagram)
    }
    fn finish(&mut self, datagram: Datagram) -> Result {
        DatagramHandler::finish(self, datagram)
    }
}

/// The result of a handler that is one function.
#[diagnostic::on_unimplemented(
    message = "a handler can't return `{Self}`",
    label = "returns `{Self}`",
    note = "a handler returns nothing, or a `Result<(), E>` whose error is text or a `std::error::Error + Send + Sync`"
)]
pub trait IntoResult {
    fn into_result(self) -> Result;
}

impl IntoResult for () {
    fn into_result(self) -> Result {
        Ok(())
    }
}

impl<E: Into<Error>> IntoResult for Result<(), E> {
    fn into_result(self) -> Result {
        self.map_err(Into::into)
    }
}

/// The result of a function that serves a request; named by the code that `main` makes.
pub fn result(returned: impl IntoResult) -> Result {
    returned.into_result()
}

/// The request that this instance serves now, and its handler.
pub struct Session<H, R> {
    current: RefCell<Option<(H, R)>>,
}

impl<H: Handles<R>, R: Clone> Session<H, R> {
    /// No request yet.
    #[expect(clippy::new_without_default, reason = "only a const fn can initialise the static that export! makes")]
    pub const fn new() -> Self {
        Self { current: RefCell::new(None) }
    }

    /// Makes the handler of `request`, and sets it up.
    pub fn setup(&self, request: R) -> Result<(), String> {
        // An instance may be reused: the rest of the last request goes before this handler is made.
        drop(self.current.take());
        call(|| {
            let mut handler = H::default();
            handler.setup(request.clone())?;
            self.current.replace(Some((handler, request)));
            Ok(())
        })
    }

    /// Lets the handler serve the client.
    pub fn handle(&self) -> Result<(), String> {
        call(|| match &mut *self.current.borrow_mut() {
            Some((handler, request)) => handler.handle(request.clone()),
            None => Err("the host called handle without setup".into()),
        })
    }

    /// Lets the handler finish, and drops it.
    pub fn finish(&self) -> Result<(), String> {
        call(|| match self.current.take() {
            Some((mut handler, request)) => handler.finish(request),
            None => Err("the host called finish without setup".into()),
        })
    }
}

/// Checks the type in `export!`, so that an error names the trait that it lacks.
pub fn is_stream_handler<H: StreamHandler>() {}

/// See [`is_stream_handler`].
pub fn is_datagram_handler<H: DatagramHandler>() {}

/// The connection that this instance serves now.
pub fn connection() -> Connection {
    Connection::current()
}

/// The datagram that this instance serves now. The contract passes the packet twice; once is
/// enough.
pub fn datagram(packet: Vec<u8>) -> Datagram {
    Datagram::new(packet)
}

/// See [`ServerHooks::verify_request`].
pub fn verify_request<H: ServerHooks>(client: types::Address) -> bool {
    call(|| H::verify_request(&Address::from_contract(client)))
}

/// See [`ServerHooks::handle_error`].
pub fn handle_error<H: ServerHooks>(client: types::Address, error: String) {
    call(|| H::handle_error(&Address::from_contract(client), &error));
}

/// See [`ServerHooks::service_actions`].
pub fn service_actions<H: ServerHooks>() {
    call(H::service_actions);
}

/// Surrounds every call into a plugin.
fn call<T: Outcome>(author: impl FnOnce() -> T) -> T::Contract {
    stdio::report_panics();
    let outcome = author();
    // No code runs when an instance ends, so a `print!` without a newline would be lost. An error
    // has no receiver: standard output is closed.
    let _ = std::io::stdout().flush();
    outcome.into_contract()
}

/// What an author's function returns, and its form in the contract.
trait Outcome {
    type Contract;
    fn into_contract(self) -> Self::Contract;
}

impl Outcome for Result {
    type Contract = Result<(), String>;

    fn into_contract(self) -> Self::Contract {
        self.map_err(text)
    }
}

impl Outcome for bool {
    type Contract = bool;

    fn into_contract(self) -> bool {
        self
    }
}

impl Outcome for () {
    type Contract = ();

    fn into_contract(self) {}
}

/// The error and its causes. Some errors repeat their cause in their own text; it appears once all
/// the same.
pub(crate) fn text(error: Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.ends_with(&own) {
            text.push_str(": ");
            text.push_str(&own);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fmt;

    use super::*;
    use crate::testing::{Client, host};

    thread_local! {
        static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
        static FAIL: Cell<&'static str> = const { Cell::new("") };
    }

    #[derive(Default)]
    struct Recorder {
        calls: u32,
    }

    impl Recorder {
        fn call(&mut self, phase: &str) -> Result {
            self.calls += 1;
            LOG.with_borrow_mut(|log| log.push(format!("{phase} {}", self.calls)));
            if FAIL.get() == phase { Err(format!("{phase} failed"))? } else { Ok(()) }
        }
    }

    impl StreamHandler for Recorder {
        fn setup(&mut self, _: Connection) -> Result {
            self.call("setup")
        }
        fn handle(&mut self, _: Connection) -> Result {
            self.call("handle")
        }
        fn finish(&mut self, _: Connection) -> Result {
            self.call("finish")
        }
    }

    impl Drop for Recorder {
        fn drop(&mut self) {
            LOG.with_borrow_mut(|log| log.push("drop".into()));
        }
    }

    fn log() -> Vec<String> {
        LOG.take()
    }

    #[test]
    fn one_value_lives_over_the_three_calls_and_no_longer() {
        let session = Session::<Recorder, _>::new();
        for _ in 0..2 {
            let outcomes = (session.setup(Connection::current()), session.handle(), session.finish());
            assert_eq!(outcomes, (Ok(()), Ok(()), Ok(())));
            assert_eq!(log(), ["setup 1", "handle 2", "finish 3", "drop"]);
        }
    }

    #[test]
    fn finish_follows_a_failed_handle() {
        FAIL.set("handle");
        let session = Session::<Recorder, _>::new();
        session.setup(Connection::current()).unwrap();
        assert_eq!(session.handle(), Err("handle failed".into()));
        assert_eq!(session.finish(), Ok(()));
        assert_eq!(log(), ["setup 1", "handle 2", "finish 3", "drop"]);
    }

    #[test]
    fn a_failed_setup_leaves_no_handler() {
        FAIL.set("setup");
        let session = Session::<Recorder, _>::new();
        assert_eq!(session.setup(Connection::current()), Err("setup failed".into()));
        assert_eq!(log(), ["setup 1", "drop"]);
        assert!(session.handle().is_err() && session.finish().is_err());
    }

    #[test]
    fn a_request_that_never_finished_leaves_nothing_to_the_next() {
        let session = Session::<Recorder, _>::new();
        session.setup(Connection::current()).unwrap();
        session.setup(Connection::current()).unwrap();
        assert_eq!(log(), ["setup 1", "drop", "setup 1"]);
    }

    #[derive(Default)]
    struct Packets {
        seen: Vec<Vec<u8>>,
    }

    impl Packets {
        fn see(&mut self, datagram: &Datagram) {
            self.seen.push(datagram.packet().to_vec());
        }
    }

    impl DatagramHandler for Packets {
        fn setup(&mut self, datagram: Datagram) -> Result {
            self.see(&datagram);
            Ok(())
        }
        fn handle(&mut self, datagram: Datagram) -> Result {
            self.see(&datagram);
            Err("asked to fail")?
        }
        fn finish(&mut self, datagram: Datagram) -> Result {
            self.see(&datagram);
            datagram.reply(&self.seen.concat())?;
            Ok(())
        }
    }

    #[test]
    fn a_datagram_is_there_in_all_three_calls_and_gone_after() {
        let session = Session::<Packets, _>::new();
        for packet in ["one ", "two "] {
            let ((), served) = host::run(Client::new(), || {
                session.setup(Datagram::new(packet.into())).unwrap();
                assert!(session.handle().is_err());
                session.finish().unwrap();
            });
            assert_eq!(served.sent[0].0, packet.repeat(3).into_bytes());
            assert!(session.finish().is_err());
        }
    }

    #[derive(Debug)]
    struct Outer(std::io::Error, bool);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if self.1 { write!(f, "outer: {}", self.0) } else { f.write_str("outer") }
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_says_its_causes_once() {
        for repeats in [false, true] {
            let error = Outer(std::io::Error::other("inner"), repeats);
            assert_eq!(text(error.into()), "outer: inner");
        }
    }
}
