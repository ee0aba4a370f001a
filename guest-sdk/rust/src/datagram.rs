//! The datagram that a handler serves.

use std::io;
use std::sync::Arc;

use crate::Address;
use crate::error_code::io_error;
use crate::host::datagram as host;

/// The datagram being served: UDP or a Unix datagram. It is a packet, and a socket to answer from.
///
/// UDP keeps its nature: a datagram that is sent may be lost, doubled or overtaken, without an
/// error. A packet longer than the manifest's `max-packet-size`, 8192 bytes by default, arrives cut
/// to that length. A clone is a second name for the same datagram and copies no bytes.
///
/// # Errors
///
/// All methods that return [`io::Result`] fail with these kinds:
///
/// | kind | cause |
/// | --- | --- |
/// | `TimedOut` | The time set by the operator ran out. |
/// | `ConnectionReset` | The receiver is gone. |
/// | `PermissionDenied` | The destination is not the client, and the operator has not granted it. |
/// | `InvalidInput` | The datagram is longer than the transport carries (65,507 bytes for UDP on IPv4), or no host can send to this address: a Unix path that is not UTF-8, an IPv6 address with a scope. |
/// | `Other` | Any other error of the operating system, as text; one case is an answer to a Unix client without a name. |
///
/// # Panics
///
/// Outside a plugin, all methods except [`packet`](Self::packet) panic unless
/// [`testing::serve_datagram`](crate::testing::serve_datagram) runs the handler.
#[derive(Clone, Debug)]
pub struct Datagram {
    packet: Arc<Vec<u8>>,
}

impl Datagram {
    pub(crate) fn new(packet: Vec<u8>) -> Self {
        Self { packet: Arc::new(packet) }
    }

    /// The bytes that the client sent. There may be none.
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Sends `data`, which may be empty, to `destination` as one datagram, from the address that
    /// the server listens on.
    pub fn send_to(&self, data: &[u8], destination: &Address) -> io::Result<()> {
        host::send_to(data, &destination.to_contract()?).map_err(io_error)
    }

    /// Sends `data`, which may be empty, to the client as one datagram.
    pub fn reply(&self, data: &[u8]) -> io::Result<()> {
        host::send_to(data, &host::client_address()).map_err(io_error)
    }

    /// The address that the client sent from.
    pub fn peer_addr(&self) -> Address {
        Address::from_contract(host::client_address())
    }

    /// The address that the datagram arrived at.
    pub fn local_addr(&self) -> Address {
        Address::from_contract(host::server_address())
    }
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        self.packet()
    }
}
