//! What a plugin is to a session, whatever kind of guest is inside it. Another kind is another implementation.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Connection, Fault};
use crate::config::Settings;
use crate::endpoint::Endpoint;

/// Who is to be named when something is said of a session.
#[derive(Clone, Debug)]
pub struct Origin {
    pub plugin: Arc<str>,
    pub generation: Arc<str>,
    pub client: Endpoint,
    pub server: Endpoint,
}

/// One connection, on its way into a guest.
pub struct Request {
    pub connection: Box<dyn Connection>,
    pub origin: Arc<Origin>,
    pub settings: Arc<Settings>,
}

/// One version of a plugin, ready to serve. Made by the loader; called by sessions, any number of them at once.
#[async_trait]
pub trait Guest: Send + Sync {
    /// Makes the sandbox for one request.
    ///
    /// # Errors
    /// With the connection, which is not the sandbox's to lose.
    async fn instantiate(&self, request: Request) -> Result<Box<dyn Running>, (Fault, Box<dyn Connection>)>;

    /// Tells the plugin, in an instance of its own, of a request that failed.
    ///
    /// # Errors
    /// As any call into a guest. None where the plugin does not want to be told.
    async fn handle_error(&self, origin: Arc<Origin>, settings: Arc<Settings>, error: &str) -> Result<(), Fault>;
}

/// One request in its sandbox. A session calls these in the order of their names here, and nothing more after a fault
/// that is [fatal](Fault::is_fatal). Dropping a call's future stops the guest there, which is fatal too.
#[async_trait]
pub trait Running: Send {
    /// Whether the plugin takes this client; true where it has no say in it.
    async fn verify_request(&mut self) -> Result<bool, Fault>;
    async fn setup(&mut self) -> Result<(), Fault>;
    async fn handle(&mut self) -> Result<(), Fault>;
    async fn finish(&mut self) -> Result<(), Fault>;
    /// Ends the sandbox and gives the connection back.
    fn into_connection(self: Box<Self>) -> Box<dyn Connection>;
}

impl fmt::Debug for dyn Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guest")
    }
}
