//! Listeners, and the connections and datagrams that arrive on them. Nothing here knows of wasm.

mod accept;
pub mod activation;
mod bind;
mod bound;
mod budget;
mod datagram;
mod inherited;
mod line;
mod listener;
mod message;
mod options;
mod ports;
mod readiness;
mod socket_file;
mod sources;
mod stream;

pub use accept::{Caps, Permit, accept_until};
pub use budget::Budget;
pub use datagram::{Datagrams, Packet};
pub use inherited::{Handed, Inherited};
pub use line::{ClientWatch, Presence};
pub use listener::{Arrival, Listener};
pub use ports::{Claim, Ports, overlap};
pub use sources::{Place, Sources};
pub use stream::Stream;
