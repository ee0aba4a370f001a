//! The kinds of guest that export `wharf:handler/stream-handler` or `…/datagram-handler`: one life,
//! told of a connection or of a packet.

mod exports;
mod imports;

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Linker, Lower};

use self::exports::{Checked, Export, Exports, Phases, Returned};
use super::blueprint::{Blueprint, Interface};
use super::contract::Address;
use super::fault::Fault;
use super::pool::{InstancePool, Pooled};
use super::progress::{Progress, Served};
use super::request::{Origin, Peer, Request};
use super::state::{self, State};
use super::wasi;
use crate::config::Settings;
use crate::report::Phase;

/// One version of a handler.
pub struct Component {
    pre: InstancePre<State>,
    interface: Interface,
    blueprint: Blueprint,
    exports: Arc<Exports>,
    warm: Arc<InstancePool<Checked>>,
}

impl Component {
    /// Everything that a component may import.
    ///
    /// # Panics
    /// If a name is defined twice, which every start of the program would show.
    pub(crate) fn linker(engine: &wasmtime::Engine) -> Linker<State> {
        let mut linker = Linker::new(engine);
        wasi::link_0_2(&mut linker)
            .and_then(|()| imports::link_connection(&mut linker))
            .and_then(|()| imports::link_datagram(&mut linker))
            .expect("each interface is linked once");
        linker
    }

    /// Finds the exports of a component whose interfaces are of `version`.
    ///
    /// # Errors
    /// In words for the author of the plugin: an import that nothing here provides, or an export
    /// that is missing.
    pub(crate) fn new(
        linker: &Linker<State>,
        component: &wasmtime::component::Component,
        (interface, version): (Interface, &str),
        blueprint: Blueprint,
        room: Arc<Semaphore>,
    ) -> Result<Self, String> {
        let exports = Exports::of(component, interface, version)?.into();
        let pre = linker.instantiate_pre(component).map_err(|error| format!("it can't be linked: {error:#}"))?;
        Ok(Self { pre, interface, blueprint, exports, warm: Arc::new(InstancePool::new(room)) })
    }

    /// An instance that serves no request.
    async fn spare(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(Store<State>, Checked), Fault> {
        let mut store = state::store(self.pre.engine(), origin, settings, None, None);
        let instance = self.exports.instance(&self.pre, &mut store).await?;
        Ok((store, instance))
    }

    pub(super) async fn try_out(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        self.spare(origin, settings).await.map(drop)
    }

    pub(super) async fn instantiate(&self, request: Request) -> Result<ComponentSession, (Fault, Peer)> {
        let Request { peer, origin, settings } = request;
        let (connection, packet, socket) = match peer.of_its_kind(self.interface)? {
            Peer::Connection(connection) => (Some(connection), None, None),
            Peer::Datagram(packet, socket) => (None, Some(packet), Some(socket)),
        };
        let made = if let Some(mut made) = self.warm.take(&settings) {
            made.store.data_mut().serve(origin.clone(), connection, socket);
            made
        } else {
            let mut store = state::store(self.pre.engine(), origin.clone(), settings, connection, socket);
            match self.exports.instance(&self.pre, &mut store).await {
                Ok(instance) => Pooled::new(store, instance),
                Err(fault) => return Err((fault, store.data_mut().take_peer(packet))),
            }
        };
        Ok(ComponentSession {
            made,
            origin,
            packet,
            exports: self.exports.clone(),
            warm: self.warm.clone(),
            in_call: false,
            progress: Arc::new(Progress::new(Phase::VerifyRequest)),
            complaints: Vec::new(),
        })
    }

    pub(super) fn has_hooks(&self) -> bool {
        self.exports.hooks.is_some()
    }

    pub(super) async fn handle_error(
        &self,
        origin: Arc<Origin>,
        settings: Arc<Settings>,
        error: &str,
    ) -> Result<(), Fault> {
        let Some(hooks) = &self.exports.hooks else { return Ok(()) };
        let client = Address::from(&origin.client);
        let (mut store, instance) = self.spare(origin, settings).await?;
        hooks.handle_error.call(&mut store, &instance, (client, error.to_owned())).await
    }

    pub(super) async fn service_actions(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        let Some(hooks) = &self.exports.hooks else { return Ok(()) };
        let (mut store, instance) = self.spare(origin, settings).await?;
        hooks.service_actions.call(&mut store, &instance, ()).await
    }

    pub(super) fn blueprint(&self) -> Blueprint {
        self.blueprint.clone()
    }

    pub(super) fn code(&self) -> wasmtime::Result<Vec<u8>> {
        self.pre.component().serialize()
    }
}

/// One request in its instance.
pub struct ComponentSession {
    made: Box<Pooled<Checked>>,
    origin: Arc<Origin>,
    /// None where the request is a connection.
    packet: Option<Arc<[u8]>>,
    exports: Arc<Exports>,
    warm: Arc<InstancePool<Checked>>,
    /// A call was begun that has not ended, or ended fatally: the instance is not to be called
    /// again.
    in_call: bool,
    progress: Arc<Progress>,
    complaints: Vec<(Phase, String)>,
}

impl ComponentSession {
    async fn call<P, R>(&mut self, export: Export<P, R>, params: P) -> Result<R, Fault>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        self.in_call = true;
        let returned = export.call(&mut self.made.store, &self.made.instance, params).await?;
        self.in_call = false;
        Ok(returned)
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    pub(super) fn has_complaints(&self) -> bool {
        !self.complaints.is_empty()
    }

    pub(super) fn complaints(&mut self) -> Vec<(Phase, String)> {
        std::mem::take(&mut self.complaints)
    }

    pub(super) async fn run(&mut self) -> Result<Served, Fault> {
        let exports = self.exports.clone();
        if let Some(hooks) = &exports.hooks {
            let client = Address::from(&self.origin.client);
            let (taken,) = self.call(hooks.verify_request, (client,)).await?;
            if !taken {
                return Ok(Served::Refused);
            }
        }
        match (exports.phases, self.packet.clone()) {
            (Phases::Datagram(setup, handle, finish), Some(packet)) => {
                if self.phase(Phase::Setup, setup, (packet.clone(),)).await? {
                    self.phase(Phase::Handle, handle, (packet,)).await?;
                    self.phase(Phase::Finish, finish, ()).await?;
                }
            }
            (Phases::Stream(setup, handle, finish), _) => {
                if self.phase(Phase::Setup, setup, ()).await? {
                    self.phase(Phase::Handle, handle, ()).await?;
                    self.phase(Phase::Finish, finish, ()).await?;
                }
            }
            (Phases::Datagram(..), None) => unreachable!("`instantiate` takes no connection for it"),
        }
        Ok(Served::Whole)
    }

    /// Whether it returned no error.
    async fn phase<P>(&mut self, phase: Phase, export: Export<P, Returned>, params: P) -> Result<bool, Fault>
    where
        P: ComponentNamedList + Lower + Send + Sync,
    {
        self.progress.set(phase);
        let (result,) = self.call(export, params).await?;
        let complaint = result.err().map(|error| (phase, error));
        let went_well = complaint.is_none();
        self.complaints.extend(complaint);
        Ok(went_well)
    }

    pub(super) fn into_peer(self) -> Peer {
        let Self { mut made, packet, warm, in_call, .. } = self;
        let peer = made.store.data_mut().take_peer(packet);
        if !in_call && made.store.data().settings.reuse.is_some() {
            warm.keep(made);
        }
        peer
    }
}
