//! One request, on its way into a guest and back.

use std::sync::Arc;

use super::blueprint::Interface;
use super::fault::Fault;
use super::transport::{Connection, DatagramSocket};
use crate::config::{Settings, SocketAddress};
use crate::report::PluginStats;

/// The names that a log line of a session has, and where the session is counted.
#[derive(Clone)]
pub struct Origin {
    pub plugin: Arc<str>,
    pub stats: Arc<PluginStats>,
    pub generation: Arc<str>,
    pub client: SocketAddress,
    pub server: SocketAddress,
}

impl Origin {
    /// For calls that no client is concerned in.
    pub fn without_client(plugin: Arc<str>, stats: Arc<PluginStats>, generation: Arc<str>) -> Self {
        Self { plugin, stats, generation, client: SocketAddress::Unix(None), server: SocketAddress::Unix(None) }
    }
}

/// One request, on its way into a guest.
pub struct Request {
    pub peer: Peer,
    pub origin: Arc<Origin>,
    pub settings: Arc<Settings>,
}

/// What a guest is to deal with.
pub enum Peer {
    Connection(Box<dyn Connection>),
    /// The packet, and the socket that it came on.
    Datagram(Arc<[u8]>, Arc<dyn DatagramSocket>),
}

impl Peer {
    /// The connection, where it is one: what is left to close when the guest has gone.
    pub fn into_connection(self) -> Option<Box<dyn Connection>> {
        match self {
            Self::Connection(connection) => Some(connection),
            Self::Datagram(..) => None,
        }
    }

    /// A listener that is about to close may still take a request, when the plugin has become one
    /// of the other kind. It has to end here: calls don't look at the exports' types again.
    pub(super) fn of_its_kind(self, interface: Interface) -> Result<Self, (Fault, Self)> {
        if matches!(self, Self::Connection(_)) != matches!(interface, Interface::Stream) {
            let error = wasmtime::format_err!("its plugin has become one of another kind: a {}", interface.name());
            return Err((Fault::Host(error), self));
        }
        Ok(self)
    }
}
