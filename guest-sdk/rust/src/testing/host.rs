//! The functions that a host gives, for a client that follows a script.

use std::cell::RefCell;
use std::time::Duration;

use super::{Client, Step};
use crate::Address;
use crate::bindings::stream::wharf::handler::types::{self, ErrorCode};

/// A session under way.
pub struct Session {
    client: Client,
    /// What the handler sent, piece by piece, and where to.
    pub sent: Vec<(Vec<u8>, Address)>,
    pub timeout: Option<Duration>,
    reading_is_shut: bool,
    writing_is_shut: bool,
}

thread_local! {
    /// The session of this thread; each test has a thread of its own.
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Runs `body` in a session with `client`.
pub fn run<T>(client: Client, body: impl FnOnce() -> T) -> (T, Session) {
    /// Ends the session after a panic too.
    struct End;

    impl Drop for End {
        fn drop(&mut self) {
            SESSION.set(None);
        }
    }

    let is_nested = SESSION.with_borrow(Option::is_some);
    assert!(!is_nested, "a handler can't serve a client while it is served itself");
    let (sent, timeout, reading_is_shut, writing_is_shut) = Default::default();
    SESSION.set(Some(Session { client, sent, timeout, reading_is_shut, writing_is_shut }));
    let _end = End;
    let outcome = body();
    (outcome, SESSION.take().expect("`End` alone takes it away"))
}

fn with<T>(call: impl FnOnce(&mut Session) -> T) -> T {
    SESSION.with_borrow_mut(|session| match session {
        Some(session) => call(session),
        None => panic!("there is no client here: a handler runs in a plugin, or by `wharf_guest::testing`"),
    })
}

fn contract(address: &Address) -> types::Address {
    address.to_contract().expect("the test gave the client an address that the contract can express")
}

pub mod connection {
    use super::*;
    pub use crate::bindings::stream::wharf::handler::connection::Direction;

    pub fn recv(max: u32) -> Result<Vec<u8>, ErrorCode> {
        with(|session| {
            if session.reading_is_shut || max == 0 {
                return Ok(Vec::new());
            }
            match session.client.script.pop_front() {
                Some(Step::Send(mut piece)) => {
                    if piece.len() > max as usize {
                        let rest = piece.split_off(max as usize);
                        session.client.script.push_front(Step::Send(rest));
                    }
                    Ok(piece)
                }
                Some(Step::Pause) => Err(ErrorCode::TimedOut),
                Some(Step::Reset) => {
                    session.client.script.push_front(Step::Reset);
                    Err(ErrorCode::ConnectionReset)
                }
                None => Ok(Vec::new()),
            }
        })
    }

    pub fn send(data: &[u8]) -> Result<(), ErrorCode> {
        with(|session| {
            let peer = session.client.peer.clone();
            if matches!(session.client.script.front(), Some(Step::Reset)) {
                return Err(ErrorCode::ConnectionReset);
            }
            match session.client.reads.checked_sub(data.len()) {
                Some(left) if !session.writing_is_shut => session.client.reads = left,
                _ => {
                    session.client.reads = 0;
                    return Err(ErrorCode::BrokenPipe);
                }
            }
            session.sent.push((data.to_vec(), peer));
            Ok(())
        })
    }

    pub fn shutdown(direction: Direction) -> Result<(), ErrorCode> {
        with(|session| {
            session.reading_is_shut |= matches!(direction, Direction::Read | Direction::Both);
            session.writing_is_shut |= matches!(direction, Direction::Write | Direction::Both);
        });
        Ok(())
    }

    pub fn set_timeout(nanoseconds: Option<u64>) {
        with(|session| session.timeout = nanoseconds.map(Duration::from_nanos));
    }

    pub fn client_address() -> types::Address {
        with(|session| contract(&session.client.peer))
    }

    pub fn server_address() -> types::Address {
        with(|session| contract(&session.client.local))
    }

    pub fn start_tls() -> Result<(), ErrorCode> {
        Err(ErrorCode::NotPermitted)
    }
}

pub mod datagram {
    pub use super::connection::{client_address, server_address};
    use super::*;

    pub fn send_to(data: &[u8], destination: &types::Address) -> Result<(), ErrorCode> {
        let destination = Address::from_contract(destination.clone());
        with(|session| {
            let client = &session.client;
            let is_client = destination == client.peer;
            if !is_client && !client.granted.contains(&destination) {
                return Err(ErrorCode::NotPermitted);
            }
            if is_client && matches!(client.script.front(), Some(Step::Reset)) {
                return Err(ErrorCode::ConnectionReset);
            }
            session.sent.push((data.to_vec(), destination));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "there is no client here")]
    fn without_a_client_there_is_no_connection() {
        let _ = connection::recv(1);
    }
}
