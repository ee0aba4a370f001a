//! What a plugin is to a session, whatever kind of guest is inside it. Another kind is another implementation.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Blueprint, Connection, DatagramSocket, Fault, bare, command, handler};
use crate::config::Settings;
use crate::counters::Tally;
use crate::endpoint::Endpoint;

/// Who is to be named when something is said of a session, and where that is counted.
#[derive(Clone)]
pub struct Origin {
    pub plugin: Arc<str>,
    pub tally: Arc<Tally>,
    pub generation: Arc<str>,
    pub client: Endpoint,
    pub server: Endpoint,
}

impl Origin {
    /// For calls that no client is concerned in.
    pub fn without_client(plugin: Arc<str>, tally: Arc<Tally>, generation: Arc<str>) -> Self {
        Self { plugin, tally, generation, client: Endpoint::Unix(None), server: Endpoint::Unix(None) }
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
}

/// One version of a plugin, ready to serve. Made by the loader; called by sessions, any number of them at once.
#[async_trait]
pub trait Guest: Send + Sync {
    /// Makes an instance that serves nobody, to see that it can be made and that its exports are of the right types.
    ///
    /// # Errors
    /// As a session would have met them.
    async fn try_out(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault>;

    /// Makes the sandbox for one request.
    ///
    /// # Errors
    /// With the peer, which is not the sandbox's to lose.
    async fn instantiate(&self, request: Request) -> Result<Running, (Fault, Peer)>;

    /// Whether a fresh sandbox may be one that was put back into its first state, rather than one made anew.
    fn is_put_back(&self) -> bool {
        false
    }

    /// Whether the plugin exports `server-hooks`, so that the two calls below do something.
    fn has_hooks(&self) -> bool {
        false
    }

    /// Tells the plugin, in an instance of its own, of a request that failed.
    ///
    /// # Errors
    /// As any call into a guest. None where the plugin does not want to be told.
    async fn handle_error(&self, _origin: Arc<Origin>, _settings: Arc<Settings>, _error: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// Lets the plugin do its own upkeep, in an instance of its own.
    ///
    /// # Errors
    /// As any call into a guest.
    async fn service_actions(&self, _origin: Arc<Origin>, _settings: Arc<Settings>) -> Result<(), Fault> {
        Ok(())
    }

    /// What [`revive`](super::revive) has to know to make the same of its code.
    fn blueprint(&self) -> Blueprint;

    /// Its native code, for another process of this same program to run.
    ///
    /// # Errors
    /// wasmtime can't give it.
    fn code(&self) -> wasmtime::Result<Vec<u8>>;
}

/// One request in its sandbox. Dropping a call's future stops the guest there, which is fatal.
///
/// The kinds are listed, and not boxed behind a trait, because each phase of each session would be a box of its own.
pub enum Running {
    /// All phases are one call.
    Whole(bare::Session),
    /// Each phase is a call.
    Phases(Phases),
}

/// One request, whose phases a session calls in the order of their names here, and nothing more after a fault that is
/// [fatal](Fault::is_fatal).
pub enum Phases {
    Handler(handler::Session),
    Command(command::Session),
}

impl Running {
    /// Ends the sandbox and gives the peer back.
    pub fn into_peer(self) -> Peer {
        match self {
            Self::Whole(session) => session.into_peer(),
            Self::Phases(phases) => phases.into_peer(),
        }
    }
}

impl Phases {
    /// Whether the plugin takes this client; true where it has no say in it.
    pub async fn verify_request(&mut self) -> Result<bool, Fault> {
        match self {
            Self::Handler(session) => session.verify_request().await,
            Self::Command(_) => Ok(true),
        }
    }

    pub async fn setup(&mut self) -> Result<(), Fault> {
        match self {
            Self::Handler(session) => session.setup().await,
            Self::Command(_) => Ok(()),
        }
    }

    pub async fn handle(&mut self) -> Result<(), Fault> {
        match self {
            Self::Handler(session) => session.handle().await,
            Self::Command(session) => session.handle().await,
        }
    }

    pub async fn finish(&mut self) -> Result<(), Fault> {
        match self {
            Self::Handler(session) => session.finish().await,
            Self::Command(_) => Ok(()),
        }
    }

    /// Ends the sandbox and gives the peer back.
    pub fn into_peer(self) -> Peer {
        match self {
            Self::Handler(session) => session.into_peer(),
            Self::Command(session) => session.into_peer(),
        }
    }
}

impl fmt::Debug for dyn Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guest")
    }
}
