//! Listeners, and the connections and datagrams that arrive on them. Nothing here knows of wasm.

mod accept;
pub mod activation;
mod address_book;
mod bind;
mod bound;
mod datagram;
mod listener;
mod message;
mod options;
mod quota;
mod readiness;
mod shared_socket;
mod socket_file;
mod socket_store;
mod sources;
mod stream;

pub use accept::{ConnectionLimits, Permit, accept_until};
pub use address_book::{AddressBook, Claim, overlap};
pub use datagram::{Datagrams, Packet};
pub use listener::{Incoming, Listener};
pub use quota::RequestQuota;
pub use shared_socket::{ClientWatch, Presence};
pub use socket_store::{PassedSocket, SocketStore};
pub use sources::{SourcePlace, Sources};
pub use stream::Stream;
