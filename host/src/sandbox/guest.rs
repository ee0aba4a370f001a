//! What a plugin is to a session, whatever kind of guest is inside it.

use std::fmt;
use std::sync::Arc;

use super::blueprint::Blueprint;
use super::component::{self, Component};
use super::fault::Fault;
use super::module::{self, CoreModule};
use super::program::{self, Program};
use super::progress::{Progress, Served};
use super::request::{Origin, Peer, Request};
use crate::config::Settings;
use crate::report::Phase;

/// One version of a plugin, ready to serve. Made by the loader; called by sessions, any number of
/// them at once.
pub enum Guest {
    /// A handler that is a component.
    Component(Component),
    /// A handler whose component was made into one module.
    Module(CoreModule),
    /// An ordinary program.
    Program(Program),
}

impl Guest {
    /// Makes an instance that serves nobody, to see that it can be made and that its exports are of
    /// the right types.
    ///
    /// # Errors
    /// As a session would have met them.
    pub(crate) async fn try_out(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        match self {
            Self::Component(guest) => guest.try_out(origin, settings).await,
            Self::Module(guest) => guest.try_out(origin, settings).await,
            Self::Program(guest) => guest.try_out(origin, settings).await,
        }
    }

    /// Makes the sandbox for one request.
    ///
    /// # Errors
    /// With the peer, which is not the sandbox's to lose.
    pub async fn instantiate(&self, request: Request) -> Result<Running, (Fault, Peer)> {
        match self {
            Self::Module(guest) => guest.instantiate(request).await.map(Running::Module),
            // Their futures are far larger, and would make each session's so.
            Self::Component(guest) => Box::pin(guest.instantiate(request)).await.map(Running::Component),
            Self::Program(guest) => Box::pin(guest.instantiate(request)).await.map(Running::Program),
        }
    }

    /// Whether a fresh sandbox may be one that was put back into its first state, rather than one
    /// made anew.
    pub(crate) fn is_put_back(&self) -> bool {
        matches!(self, Self::Module(guest) if guest.is_put_back())
    }

    /// Whether the plugin exports `server-hooks`, so that the two calls below do something.
    pub(crate) fn has_hooks(&self) -> bool {
        matches!(self, Self::Component(guest) if guest.has_hooks())
    }

    /// Tells the plugin, in an instance of its own, of a request that failed.
    ///
    /// # Errors
    /// As any call into a guest. None where the plugin does not want to be told.
    pub(crate) async fn handle_error(
        &self,
        origin: Arc<Origin>,
        settings: Arc<Settings>,
        error: &str,
    ) -> Result<(), Fault> {
        match self {
            Self::Component(guest) => guest.handle_error(origin, settings, error).await,
            Self::Module(_) | Self::Program(_) => Ok(()),
        }
    }

    /// Lets the plugin do its own upkeep, in an instance of its own.
    ///
    /// # Errors
    /// As any call into a guest.
    pub(crate) async fn service_actions(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        match self {
            Self::Component(guest) => guest.service_actions(origin, settings).await,
            Self::Module(_) | Self::Program(_) => Ok(()),
        }
    }

    /// What [`revive`](crate::plugin::revive) has to know to make the same of its code.
    pub(crate) fn blueprint(&self) -> Blueprint {
        match self {
            Self::Component(guest) => guest.blueprint(),
            Self::Module(guest) => guest.blueprint(),
            Self::Program(guest) => guest.blueprint(),
        }
    }

    /// Its native code, for another process of this same program to run.
    ///
    /// # Errors
    /// wasmtime can't give it.
    pub(crate) fn code(&self) -> wasmtime::Result<Vec<u8>> {
        match self {
            Self::Component(guest) => guest.code(),
            Self::Module(guest) => guest.code(),
            Self::Program(guest) => guest.code(),
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guest")
    }
}

/// One request in its sandbox.
pub enum Running {
    Component(component::ComponentSession),
    Module(module::ModuleSession),
    Program(program::ProgramSession),
}

impl Running {
    /// Where [`run`](Self::run) is. It can be read meanwhile.
    pub fn progress(&self) -> Arc<Progress> {
        match self {
            Self::Component(session) => session.progress(),
            Self::Module(session) => session.progress(),
            Self::Program(session) => session.progress(),
        }
    }

    /// Calls its phases in their order: `verify-request`, `setup`, and, where these went well,
    /// `handle` and `finish`. To be called once. Dropping its future stops the guest where it is.
    ///
    /// # Errors
    /// What ended the guest in the phase that it has come to.
    pub async fn run(&mut self) -> Result<Served, Fault> {
        match self {
            Self::Module(session) => session.run().await,
            Self::Component(session) => Box::pin(session.run()).await,
            Self::Program(session) => Box::pin(session.run()).await,
        }
    }

    /// Whether phases returned errors.
    pub fn has_complaints(&self) -> bool {
        match self {
            Self::Component(session) => session.has_complaints(),
            Self::Module(session) => session.has_complaints(),
            Self::Program(_) => false,
        }
    }

    /// The errors that phases returned, in their order.
    pub fn complaints(&mut self) -> Vec<(Phase, String)> {
        match self {
            Self::Component(session) => session.complaints(),
            Self::Module(session) => session.complaints(),
            Self::Program(_) => Vec::new(),
        }
    }

    /// Ends the sandbox, or keeps it for another request, and gives the peer back.
    pub fn into_peer(self) -> Peer {
        match self {
            Self::Component(session) => session.into_peer(),
            Self::Module(session) => session.into_peer(),
            Self::Program(session) => session.into_peer(),
        }
    }
}
