//! A new binary without a lost connection: the running host starts its successor, which loads its
//! plugins, takes the listening sockets over, and only then serves.
//!
//! | the running host | its successor |
//! | --- | --- |
//! | starts the program at its own path, with a socket as stdin | |
//! | sends its listening sockets, and what they are | |
//! | | loads every plugin, and tells of each |
//! | | says that it is ready: so far nobody was served, nothing was printed |
//! | tells it to go, if every plugin served here is served there | |
//! | | serves, and says which sockets it took |
//! | leaves these, closes the others, drains | |
//!
//! Whatever goes wrong before the last step ends the successor, and nothing else.

mod predecessor;
mod program;
mod successor;
mod wire;

pub(crate) use predecessor::Predecessor;
pub(crate) use program::Executable;
pub(crate) use successor::{Handover, Upgrade};

use std::time::Duration;

/// Tells a process that it is started as a successor: the id of the one that starts it, so that no
/// other process that sees the variable takes it for its own. Not for children.
pub(crate) const VARIABLE: &str = "WHARF_UPGRADE";

/// How long a successor may be silent. It tells of every plugin that it has loaded; on a slow
/// machine, compiling a large one may well take a minute, and the running host loses nothing by
/// waiting.
pub(crate) const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(300);
