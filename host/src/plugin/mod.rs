//! Plugins: from a file to something that serves requests. Nothing here knows of sockets.

mod blueprint;
pub(crate) mod cache;
mod command;
mod connection;
mod contract;
mod cpu;
mod datagram;
mod engine;
mod fault;
mod folder;
mod generation;
mod guest;
mod handler;
mod instance;
mod lanes;
mod limits;
mod load;
mod native;
mod output;
mod patience;
mod pipe;
mod recognise;
mod warm;
mod watch;

pub use blueprint::Blueprint;
pub use cache::Cache;
pub use connection::Connection;
pub use datagram::DatagramSocket;
pub use engine::Engines;
pub use fault::{Cause, Fault};
pub use folder::{Files, Fingerprint, Folder, Found, Source};
pub use generation::{DrainDeadline, Generation};
pub use guest::{Guest, Origin, Peer, Request, Running};
pub use load::{Facts, Loaded, Loader, Refusal, TRIALS, WARM_INSTANCES, revive};
pub use recognise::identify;
pub use watch::Watch;
