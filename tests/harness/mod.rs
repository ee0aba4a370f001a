//! What the tests stand on: the real binary as a child, a plugin folder, plugins to put into it,
//! clients.
//!
//! Tests wait for events (a line on the child's stdout, a line of its log, bytes on a socket), each
//! with a deadline.

pub mod binary;
pub mod client;
pub mod clock;
pub mod datagram_client;
pub mod family;
pub mod folder;
pub mod guests;
pub mod hostile;
pub mod languages;
pub mod limits;
mod lines;
pub mod modes;
pub mod observe;
pub mod scene;
pub mod walk;
pub mod wharf;

use std::time::Duration;

pub use client::{Client, ask, ask_url};
pub use datagram_client::DatagramClient;
pub use family::{CONCURRENCIES, Family};
pub use folder::Folder;
pub use guests::{answer, answers, fixture};
pub(crate) use modes::in_every_mode;
pub use scene::Scene;
pub use wharf::{Launch, Successor, Wharf};

/// How long anything may take that is expected to happen. It bounds failing tests, not passing
/// ones.
pub const DEADLINE: Duration = Duration::from_secs(45);
