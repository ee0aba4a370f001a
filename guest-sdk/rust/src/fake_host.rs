//! The host, for unit tests: what handlers import, with a client that says what the test gave it and remembers what it heard.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use crate::bindings::stream::wharf::handler::types::{Address, ErrorCode, InetAddress};

/// The other end. Each test's thread has its own.
#[derive(Default)]
struct Client {
    says: VecDeque<Vec<u8>>,
    hears: Vec<Vec<u8>>,
    gone: bool,
    timeout: Option<Duration>,
}

thread_local! {
    static CLIENT: RefCell<Client> = RefCell::default();
}

/// The client says these, one `recv` after the other, and then ends its stream.
pub fn say<const N: usize>(pieces: [&str; N]) {
    CLIENT.with_borrow_mut(|client| client.says = pieces.map(|piece| piece.into()).into());
}

/// The client closes: whatever is sent from now on fails.
pub fn leave() {
    CLIENT.with_borrow_mut(|client| client.gone = true);
}

/// What the client has heard since this was last asked, one by one as it was sent.
pub fn heard() -> Vec<Vec<u8>> {
    CLIENT.with_borrow_mut(|client| mem::take(&mut client.hears))
}

/// What the handler set last.
pub fn timeout() -> Option<Duration> {
    CLIENT.with_borrow(|client| client.timeout)
}

fn inet(port: u16) -> Address {
    Address::Inet(InetAddress { ip: "127.0.0.1".into(), port })
}

pub mod connection {
    use super::*;
    pub use crate::bindings::stream::wharf::handler::connection::{Direction, shutdown, start_tls};

    pub fn recv(max: u32) -> Result<Vec<u8>, ErrorCode> {
        CLIENT.with_borrow_mut(|client| {
            let Some(mut piece) = client.says.pop_front() else { return Ok(Vec::new()) };
            if piece.len() > max as usize {
                client.says.push_front(piece.split_off(max as usize));
            }
            Ok(piece)
        })
    }

    pub fn send(data: &[u8]) -> Result<(), ErrorCode> {
        CLIENT.with_borrow_mut(|client| {
            if client.gone {
                return Err(ErrorCode::BrokenPipe);
            }
            client.hears.push(data.to_vec());
            Ok(())
        })
    }

    pub fn set_timeout(nanoseconds: Option<u64>) {
        CLIENT.with_borrow_mut(|client| client.timeout = nanoseconds.map(Duration::from_nanos));
    }

    pub fn client_address() -> Address {
        inet(1)
    }

    pub fn server_address() -> Address {
        inet(2)
    }
}

pub mod datagram {
    pub use super::connection::{client_address, server_address};
    use super::*;

    /// Whatever the destination, it arrives at the one client.
    pub fn send_to(data: &[u8], _: &Address) -> Result<(), ErrorCode> {
        connection::send(data)
    }
}
