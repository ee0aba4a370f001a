//! The datagram that a handler serves.

use std::io;
use std::mem;

use crate::Address;
#[cfg(not(test))]
use crate::bindings::datagram::wharf::handler::datagram as host;
use crate::error_code::io_error;
#[cfg(test)]
use crate::fake_host::datagram as host;

/// The datagram being served, and the socket that it arrived on. socketserver's `self.request`, which there is a tuple of the two.
///
/// Nothing of UDP is hidden: a datagram that is sent may be lost, doubled or overtaken, and nobody is told. Those that
/// arrive longer than the manifest's `max-packet-size`, 8192 bytes unless it says otherwise, come cut to it.
///
/// # Errors
///
/// All methods that return [`io::Result`] fail with these kinds:
///
/// | kind | what happened |
/// | --- | --- |
/// | `TimedOut` | the time set by the operator ran out |
/// | `ConnectionReset` | the receiver isn't there any more |
/// | `PermissionDenied` | the destination isn't the client, and the operator hasn't granted it |
/// | `InvalidInput` | the datagram is longer than the transport carries: 65,507 bytes for UDP on IPv4 |
/// | `Other` | anything else, in words; an answer to a Unix client without a name, for one |
///
/// # Panics
///
/// A test that runs outside a plugin has no datagram. Keep what you want to test in functions over `&[u8]`.
#[derive(Debug)]
pub struct Datagram {
    packet: Vec<u8>,
}

impl Datagram {
    pub(crate) fn new(packet: Vec<u8>) -> Self {
        Self { packet }
    }

    /// Moves it out of a borrowed one, whose packet is empty afterwards.
    pub(crate) fn take(&mut self) -> Self {
        Self::new(mem::take(&mut self.packet))
    }

    /// What the client sent. It may be empty.
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Sends `data`, which may be empty, to `destination` as one datagram, from the address that the server listens on.
    /// socketserver's `sendto`.
    pub fn send_to(&self, data: &[u8], destination: &Address) -> io::Result<()> {
        host::send_to(data, &destination.to_contract()?).map_err(io_error)
    }

    /// Sends `data` to the client as one datagram.
    pub fn reply(&self, data: &[u8]) -> io::Result<()> {
        host::send_to(data, &host::client_address()).map_err(io_error)
    }

    /// Where the client sent it from.
    pub fn client_address(&self) -> Address {
        Address::from_contract(host::client_address())
    }

    /// Where the server received it.
    pub fn server_address(&self) -> Address {
        Address::from_contract(host::server_address())
    }
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        self.packet()
    }
}
