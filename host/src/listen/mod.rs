//! Listeners, and the connections and datagrams that arrive on them. Nothing here knows of wasm.

mod accept;
mod bind;
mod datagram;
mod inherited;
mod line;
mod listener;
mod message;
mod options;
mod socket_file;
mod stream;

pub use accept::{Caps, Permit, accept_until};
pub use datagram::{Datagrams, Packet};
pub use inherited::{Handed, Inherited};
pub use line::{ClientWatch, Presence};
pub use listener::{Arrival, Listener};
pub use stream::Stream;
