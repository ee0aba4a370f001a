//! The kinds of guest that export `wharf:handler/stream-handler` or `…/datagram-handler`: one life, told of a connection
//! or of a packet.

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower, TypedFunc,
};

use super::contract::{Address, PACKAGE};
use super::guest::{Guest, Origin, Peer, Phases, Request, Running};
use super::instance::{self, State};
use super::recognise::Interface;
use super::warm::{Made, Warm};
use super::{Blueprint, Fault, calls, connection, datagram, files};
use crate::config::Settings;

/// One version of a handler.
pub(super) struct Handler {
    pre: InstancePre<State>,
    interface: Interface,
    blueprint: Blueprint,
    /// `setup`, `handle` and `finish`.
    phases: [ComponentExportIndex; 3],
    hooks: Option<Hooks>,
    warm: Arc<Warm<Instance>>,
}

/// The exports of `server-hooks`, for the plugins that have them.
#[derive(Clone, Copy)]
struct Hooks {
    verify_request: ComponentExportIndex,
    handle_error: ComponentExportIndex,
    service_actions: ComponentExportIndex,
}

/// What every phase returns.
type Phase = (Result<(), String>,);

impl Handler {
    /// Everything that a component may import.
    ///
    /// # Panics
    /// If a name is defined twice, which every start of the program would show.
    pub(super) fn linker(engine: &wasmtime::Engine) -> Linker<State> {
        let mut linker = Linker::new(engine);
        calls::link_0_2(&mut linker)
            .and_then(|()| files::link_0_2(&mut linker))
            .and_then(|()| connection::link(&mut linker))
            .and_then(|()| datagram::link(&mut linker))
            .expect("each interface is linked once");
        linker
    }

    /// Finds the exports of a component whose interfaces are of `version`.
    ///
    /// # Errors
    /// In words for whoever wrote the plugin: an import that nothing here provides, or an export that is missing.
    pub(super) fn new(
        linker: &Linker<State>,
        component: &Component,
        (interface, version): (Interface, &str),
        blueprint: Blueprint,
        warm: Warm<Instance>,
    ) -> Result<Self, String> {
        let exported = |name: &str| component.get_export_index(None, &*format!("{PACKAGE}/{name}@{version}"));
        let export = |of: &str, interface: &ComponentExportIndex, name: &str| {
            component.get_export_index(Some(interface), name).ok_or_else(|| format!("its {of} lacks `{name}`"))
        };
        let handler = exported(interface.name()).ok_or_else(|| format!("it exports no {}", interface.name()))?;
        let hooks = match exported("server-hooks") {
            Some(hooks) => Some(Hooks {
                verify_request: export("server-hooks", &hooks, "verify-request")?,
                handle_error: export("server-hooks", &hooks, "handle-error")?,
                service_actions: export("server-hooks", &hooks, "service-actions")?,
            }),
            None => None,
        };
        let pre = linker.instantiate_pre(component).map_err(|error| format!("it can't be linked: {error:#}"))?;
        let phases = [
            export(interface.name(), &handler, "setup")?,
            export(interface.name(), &handler, "handle")?,
            export(interface.name(), &handler, "finish")?,
        ];
        Ok(Self { pre, interface, blueprint, phases, hooks, warm: Arc::new(warm) })
    }

    /// An instance that serves no request.
    async fn spare(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(Store<State>, Instance), Fault> {
        let mut store = instance::store(self.pre.engine(), origin, settings, None, None);
        let instance = self.pre.instantiate_async(&mut store).await.map_err(Fault::from_call)?;
        Ok((store, instance))
    }
}

#[async_trait]
impl Guest for Handler {
    async fn try_out(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        let (mut store, instance) = self.spare(origin, settings).await?;
        let [setup, handle, finish] = &self.phases;
        let checked = [setup, handle]
            .into_iter()
            .try_for_each(|phase| match self.interface {
                Interface::Stream => instance.get_typed_func::<(), Phase>(&mut store, phase).map(drop),
                Interface::Datagram => instance.get_typed_func::<(Arc<[u8]>,), Phase>(&mut store, phase).map(drop),
            })
            .and_then(|()| instance.get_typed_func::<(), Phase>(&mut store, finish).map(drop))
            .and_then(|()| {
                let Some(hooks) = &self.hooks else { return Ok(()) };
                instance.get_typed_func::<(Address,), (bool,)>(&mut store, hooks.verify_request)?;
                instance.get_typed_func::<(Address, String), ()>(&mut store, hooks.handle_error)?;
                instance.get_typed_func::<(), ()>(&mut store, hooks.service_actions)?;
                Ok(())
            });
        checked.map_err(|error| Fault::Handler(format!("an export is not of the contract's type: {error:#}")))
    }

    async fn instantiate(&self, request: Request) -> Result<Running, (Fault, Peer)> {
        let Request { peer, origin, settings } = request;
        let peer = of_its_kind(peer, self.interface)?;
        let (connection, packet, socket) = match peer {
            Peer::Connection(connection) => (Some(connection), None, None),
            Peer::Datagram(packet, socket) => (None, Some(packet), Some(socket)),
        };
        let session = |made| Session {
            made,
            origin: origin.clone(),
            packet: packet.clone(),
            phases: self.phases,
            verify_request: self.hooks.map(|hooks| hooks.verify_request),
            warm: self.warm.clone(),
            in_call: false,
        };
        if let Some(mut made) = self.warm.take(&settings) {
            made.store.data_mut().serve(origin.clone(), connection, socket);
            return Ok(Running::Phases(Phases::Handler(session(made))));
        }
        let mut store = instance::store(self.pre.engine(), origin.clone(), settings, connection, socket);
        match self.pre.instantiate_async(&mut store).await {
            Ok(instance) => Ok(Running::Phases(Phases::Handler(session(Made::new(store, instance))))),
            Err(error) => Err((Fault::from_call(error), peer_of(store.data_mut(), packet))),
        }
    }

    fn has_hooks(&self) -> bool {
        self.hooks.is_some()
    }

    async fn handle_error(&self, origin: Arc<Origin>, settings: Arc<Settings>, error: &str) -> Result<(), Fault> {
        let Some(hooks) = &self.hooks else { return Ok(()) };
        let client = Address::from(&origin.client);
        let (mut store, instance) = self.spare(origin, settings).await?;
        call(&mut store, &instance, &hooks.handle_error, (client, error.to_owned())).await
    }

    async fn service_actions(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        let Some(hooks) = &self.hooks else { return Ok(()) };
        let (mut store, instance) = self.spare(origin, settings).await?;
        call(&mut store, &instance, &hooks.service_actions, ()).await
    }

    fn blueprint(&self) -> Blueprint {
        self.blueprint.clone()
    }

    fn code(&self) -> wasmtime::Result<Vec<u8>> {
        self.pre.component().serialize()
    }
}

/// One request in its instance.
pub struct Session {
    made: Box<Made<Instance>>,
    origin: Arc<Origin>,
    /// None where the request is a connection.
    packet: Option<Arc<[u8]>>,
    phases: [ComponentExportIndex; 3],
    verify_request: Option<ComponentExportIndex>,
    warm: Arc<Warm<Instance>>,
    /// A call was begun that has not ended, or ended fatally: the instance is not to be called again.
    in_call: bool,
}

impl Session {
    async fn call<P, R>(&mut self, export: &ComponentExportIndex, params: P) -> Result<R, Fault>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        self.in_call = true;
        let returned = call(&mut self.made.store, &self.made.instance, export, params).await?;
        self.in_call = false;
        Ok(returned)
    }

    /// `setup` or `handle`, which are given the packet, where there is one.
    async fn told(&mut self, phase: ComponentExportIndex) -> Result<(), Fault> {
        let (result,): Phase = match self.packet.clone() {
            None => self.call(&phase, ()).await?,
            Some(packet) => self.call(&phase, (packet,)).await?,
        };
        result.map_err(Fault::Handler)
    }

    pub(super) async fn verify_request(&mut self) -> Result<bool, Fault> {
        let Some(verify_request) = self.verify_request else { return Ok(true) };
        let client = Address::from(&self.origin.client);
        let (taken,): (bool,) = self.call(&verify_request, (client,)).await?;
        Ok(taken)
    }

    pub(super) async fn setup(&mut self) -> Result<(), Fault> {
        self.told(self.phases[0]).await
    }

    pub(super) async fn handle(&mut self) -> Result<(), Fault> {
        self.told(self.phases[1]).await
    }

    pub(super) async fn finish(&mut self) -> Result<(), Fault> {
        let finish = self.phases[2];
        let (result,): Phase = self.call(&finish, ()).await?;
        result.map_err(Fault::Handler)
    }

    pub(super) fn into_peer(self) -> Peer {
        let Self { mut made, packet, warm, in_call, .. } = self;
        let peer = peer_of(made.store.data_mut(), packet);
        if !in_call && made.store.data().settings.reuse.is_some() {
            warm.keep(made);
        }
        peer
    }
}

/// A listener that is about to close may still take a request, when the plugin has become one of the other kind. It has to
/// end here: calls don't look at the exports' types again.
pub(super) fn of_its_kind(peer: Peer, interface: Interface) -> Result<Peer, (Fault, Peer)> {
    if matches!(peer, Peer::Connection(_)) != matches!(interface, Interface::Stream) {
        let error = wasmtime::format_err!("its plugin has become one of another kind: a {}", interface.name());
        return Err((Fault::Host(error), peer));
    }
    Ok(peer)
}

pub(super) fn peer_of(state: &mut State, packet: Option<Arc<[u8]>>) -> Peer {
    match (state.client.take(), packet, state.datagram_socket.take()) {
        (Some(connection), _, _) => Peer::Connection(connection),
        (None, Some(packet), Some(socket)) => Peer::Datagram(packet, socket),
        _ => unreachable!("a session's store is given one of them, which only this takes"),
    }
}

async fn call<P, R>(
    store: &mut Store<State>,
    instance: &Instance,
    export: &ComponentExportIndex,
    params: P,
) -> Result<R, Fault>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    store.set_epoch_deadline(1);
    let function =
        instance.get_func(&mut *store, export).ok_or_else(|| Fault::Host(wasmtime::format_err!("no export")))?;
    // SAFETY: every generation's exports were found to be of these types when it was tried out, in this process or in the one
    // that this one has the code from; each call site names the export whose type that is, and `instantiate` takes no packet
    // for a handler of connections nor the reverse. To check them at each call would cost a session time each time.
    #[expect(unsafe_code, reason = "the types were checked once, when the generation was tried out")]
    let function = unsafe { TypedFunc::<P, R>::new_unchecked(function) };
    function.call_async(&mut *store, params).await.map_err(Fault::from_call)
}
