//! The functions that a host gives: the contract's in a plugin, those of
//! [`testing`](crate::testing) elsewhere.

#[cfg(target_family = "wasm")]
pub use crate::bindings::{datagram::wharf::handler::datagram, stream::wharf::handler::connection};
#[cfg(not(target_family = "wasm"))]
pub use crate::testing::host::{connection, datagram};
