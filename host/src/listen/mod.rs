//! Listeners and the connections they accept. Nothing here knows of wasm.

mod accept;
mod listener;
mod stream;

pub use accept::{Caps, Permit, accept_until};
pub use listener::Listener;
pub use stream::Stream;
