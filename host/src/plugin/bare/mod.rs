//! A handler that runs without its component.
//!
//! A component made of one module is that module with others around it, which pass values in and out. Each sandbox would be four
//! instances rather than one, and each message two calls through the component model. Where a component is no more than that,
//! [`bare`] makes one module of it that needs none of it; what it may do, what it is told and what it costs its operator to
//! write down stay the same. Whatever is more stays a component, and is `handler`'s.

mod exchange;
mod extract;
mod image;
mod imports;
mod modules;
mod packed;
mod renewal;
mod rewrite;
mod survey;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::{Engine, InstancePre, Linker, Memory, Module, Store, TypedFunc};

use self::renewal::Renewal;
use super::guest::{Guest, Origin, Peer, Request, Running};
use super::handler::{of_its_kind, peer_of};
use super::instance::{self, State};
use super::native::Native;
use super::recognise::Interface;
use super::warm::{Made, Warm};
use super::{Blueprint, Fault, Phase};
use crate::config::Settings;

pub use self::exchange::{Exchange, Progress};

/// The largest component that is looked through, in bytes. Those that could be put back are far smaller.
const LARGEST: usize = 16 << 20;

/// Makes the one module of a component that exports `interface` of this version of the contract. None if it is to stay a component.
/// With `own_adapter`, an adapter of WASI 0.1 in it is the one that this host put there.
pub(super) fn bare(component: &[u8], interface: Interface, version: &str, own_adapter: bool) -> Option<Vec<u8>> {
    if component.len() > LARGEST {
        return None;
    }
    let extracted = extract::extract(component, interface, version, own_adapter)?;
    rewrite::rewrite(&extracted, interface == Interface::Datagram)
}

/// One version of a handler.
pub(super) struct Bare {
    pre: InstancePre<State>,
    interface: Interface,
    blueprint: Blueprint,
    renewal: Option<Arc<Renewal>>,
    warm: Arc<Warm<Instance>>,
}

/// What is called in an instance.
pub(super) struct Instance {
    inner: wasmtime::Instance,
    memory: Memory,
    serve: TypedFunc<(), ()>,
    initialize: Option<TypedFunc<(), ()>>,
}

impl Bare {
    /// Everything that a module may import.
    ///
    /// # Panics
    /// If a name is defined twice, which every start of the program would show.
    pub(super) fn linker(engine: &Engine) -> Linker<State> {
        let mut linker = Linker::new(engine);
        imports::link(&mut linker).expect("each function is linked once");
        linker
    }

    /// # Errors
    /// In words for whoever wrote the plugin: an import that nothing here provides.
    pub(super) fn new(
        linker: &Linker<State>,
        module: &Module,
        interface: Interface,
        blueprint: Blueprint,
        warm: Warm<Instance>,
    ) -> Result<Self, String> {
        let pre = linker.instantiate_pre(module).map_err(|error| format!("it can't be linked: {error:#}"))?;
        Ok(Self { pre, interface, blueprint, renewal: Renewal::of(module).map(Arc::new), warm: Arc::new(warm) })
    }

    async fn instance(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        let inner = self.pre.instantiate_async(&mut *store).await?;
        let memory = inner.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::format_err!("it has no memory"))?;
        store.data_mut().exchange.serve(memory, self.renewal.clone());
        let serve = inner.get_typed_func(&mut *store, "serve")?;
        let initialize = match inner.get_func(&mut *store, "initialize") {
            Some(function) => Some(function.typed(&*store)?),
            None => None,
        };
        Ok(Instance { inner, memory, serve, initialize })
    }
}

#[async_trait]
impl Guest for Bare {
    async fn try_out(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        let mut store = instance::store(self.pre.module().engine(), origin, settings, None, None);
        let instance = self.instance(&mut store).await.map_err(Fault::from_call)?;
        if let Some(renewal) = &self.renewal {
            renewal.learn(&mut store, &instance);
        }
        initialize(&mut store, &instance).await
    }

    async fn instantiate(&self, request: Request) -> Result<Running, (Fault, Peer)> {
        let Request { peer, origin, settings } = request;
        let (connection, packet, socket) = match of_its_kind(peer, self.interface)? {
            Peer::Connection(connection) => (Some(connection), None, None),
            Peer::Datagram(packet, socket) => (None, Some(packet), Some(socket)),
        };
        let session = |made| Session { made, packet: packet.clone(), warm: self.warm.clone(), in_call: false };
        let is_reused = settings.reuse.is_some();
        let (mut made, is_new) = match self.warm.take(&settings) {
            Some(mut made) => {
                made.store.data_mut().serve(origin, connection, socket);
                (made, !is_reused)
            }
            None => {
                let engine = self.pre.module().engine();
                let mut store = instance::store(engine, origin, settings, connection, socket);
                match self.instance(&mut store).await {
                    Ok(instance) => (Made::new(store, instance), true),
                    Err(error) => return Err((Fault::from_call(error), peer_of(store.data_mut(), packet))),
                }
            }
        };
        if is_new && let Err(fault) = initialize(&mut made.store, &made.instance).await {
            return Err((fault, peer_of(made.store.data_mut(), packet)));
        }
        Ok(Running::Whole(session(made)))
    }

    fn is_put_back(&self) -> bool {
        self.renewal.as_ref().is_some_and(|renewal| renewal.memory().is_some())
    }

    fn blueprint(&self) -> Blueprint {
        self.blueprint.clone()
    }

    fn code(&self) -> wasmtime::Result<Vec<u8>> {
        Native::Module(self.pre.module().clone()).serialize()
    }
}

async fn initialize(store: &mut Store<State>, instance: &Instance) -> Result<(), Fault> {
    let Some(initialize) = &instance.initialize else { return Ok(()) };
    store.set_epoch_deadline(1);
    initialize.call_async(store, ()).await.map_err(Fault::from_call)
}

/// One request in its instance.
pub struct Session {
    made: Box<Made<Instance>>,
    /// None where the request is a connection.
    packet: Option<Arc<[u8]>>,
    warm: Arc<Warm<Instance>>,
    /// A call was begun that has not ended, or ended fatally: the instance is not to be called again.
    in_call: bool,
}

impl Session {
    /// To be called before [`call`](Self::call). Tells where it is meanwhile.
    pub fn begin(&mut self) -> Arc<Progress> {
        self.in_call = true;
        let exchange = &mut self.made.store.data_mut().exchange;
        exchange.prepare(self.packet.clone());
        exchange.progress()
    }

    /// Calls `setup`, and then `handle` and `finish`, unless it failed.
    ///
    /// # Errors
    /// What ended the guest in the phase that it has come to. What the phases returned are [`complaints`](Self::complaints).
    pub fn call(&mut self) -> impl Future<Output = Result<(), Fault>> + Send {
        let Made { store, instance, .. } = &mut *self.made;
        let call = instance.serve.call_async(store, ());
        async { call.await.map_err(Fault::from_call) }
    }

    /// The call has come to its end, and no fault was the last.
    pub fn end(&mut self) {
        self.in_call = false;
    }

    pub fn has_complaints(&self) -> bool {
        self.made.store.data().exchange.has_complaints()
    }

    /// The errors that phases returned, in their order.
    pub fn complaints(&mut self) -> Vec<(Phase, String)> {
        self.made.store.data_mut().exchange.take_complaints()
    }

    /// Ends the sandbox, or puts it back, and gives the peer back.
    pub fn into_peer(self) -> Peer {
        let Self { mut made, packet, warm, in_call } = self;
        let peer = peer_of(made.store.data_mut(), packet);
        if in_call {
            return peer;
        }
        let is_reused = made.store.data().settings.reuse.is_some();
        let renewal = made.store.data().exchange.renewal();
        if is_reused || renewal.is_some_and(|renewal| renewal.renew(&mut made.store, &made.instance)) {
            warm.keep(made);
        }
        peer
    }
}
