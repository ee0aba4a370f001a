//! A handler that runs without its component.
//!
//! A component made of one module is that module with others around it, which pass values in and
//! out. Each sandbox would be four instances rather than one, and each message two calls through
//! the component model. Where a component is no more than that, [`flatten`](crate::plugin::flatten)
//! makes one module of it that needs none of it; what it may do, what it is told and what it costs
//! its operator to write down stay the same. Whatever is more stays a component, and is
//! `component`'s.

pub(crate) mod abi;
mod hibernated;
mod imports;
mod reset;

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::{Engine, InstancePre, Linker, Memory, Module, Store, TypedFunc};

use self::reset::Reset;
use super::blueprint::{Blueprint, Interface};
use super::fault::Fault;
use super::native::Native;
use super::pool::{InstancePool, Pooled};
use super::progress::{Progress, Served};
use super::request::{Origin, Peer, Request};
use super::state::{self, State};
use crate::config::Settings;
use crate::report::{FaultKind, Phase};

/// One version of a handler.
pub struct CoreModule {
    pre: InstancePre<State>,
    interface: Interface,
    blueprint: Blueprint,
    renewal: Option<Arc<Reset>>,
    warm: Arc<InstancePool<Instance>>,
}

/// What is called in an instance.
pub(super) struct Instance {
    inner: wasmtime::Instance,
    memory: Memory,
    serve: TypedFunc<(), ()>,
    initialize: Option<TypedFunc<(), ()>>,
}

impl CoreModule {
    /// Everything that a module may import.
    ///
    /// # Panics
    /// If a name is defined twice, which every start of the program would show.
    pub(crate) fn linker(engine: &Engine) -> Linker<State> {
        let mut linker = Linker::new(engine);
        imports::link(&mut linker).expect("each function is linked once");
        linker
    }

    /// # Errors
    /// In words for the author of the plugin: an import that nothing here provides.
    pub(crate) fn new(
        linker: &Linker<State>,
        module: &Module,
        interface: Interface,
        blueprint: Blueprint,
        room: Arc<Semaphore>,
    ) -> Result<Self, String> {
        let pre = linker.instantiate_pre(module).map_err(|error| format!("it can't be linked: {error:#}"))?;
        Ok(Self {
            pre,
            interface,
            blueprint,
            renewal: Reset::of(module).map(Arc::new),
            warm: Arc::new(InstancePool::new(room)),
        })
    }

    async fn instance(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        let inner = self.pre.instantiate_async(&mut *store).await?;
        let memory = inner.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::format_err!("it has no memory"))?;
        let first = self.renewal.as_ref().map(|renewal| renewal.first().clone());
        store.data_mut().exchange.serve(memory, first);
        let serve = inner.get_typed_func(&mut *store, "serve")?;
        let initialize = match inner.get_func(&mut *store, "initialize") {
            Some(function) => Some(function.typed(&*store)?),
            None => None,
        };
        Ok(Instance { inner, memory, serve, initialize })
    }
}

impl CoreModule {
    pub(super) async fn try_out(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        let mut store = state::store(self.pre.module().engine(), origin, settings, None, None);
        let instance = self.instance(&mut store).await.map_err(Fault::from_call)?;
        if let Some(renewal) = &self.renewal {
            renewal.learn(&mut store, instance.inner, instance.memory);
        }
        initialize(&mut store, &instance).await
    }

    pub(super) async fn instantiate(&self, request: Request) -> Result<ModuleSession, (Fault, Peer)> {
        let Request { peer, origin, settings } = request;
        let (connection, packet, socket) = match peer.of_its_kind(self.interface)? {
            Peer::Connection(connection) => (Some(connection), None, None),
            Peer::Datagram(packet, socket) => (None, Some(packet), Some(socket)),
        };
        let session = |made| ModuleSession {
            made,
            packet: packet.clone(),
            renewal: self.renewal.clone(),
            warm: self.warm.clone(),
            in_call: false,
        };
        let is_reused = settings.reuse.is_some();
        let (mut made, is_new) = match self.warm.take(&settings) {
            Some(mut made) => {
                made.store.data_mut().serve(origin, connection, socket);
                (made, !is_reused)
            }
            None => {
                let engine = self.pre.module().engine();
                let mut store = state::store(engine, origin, settings, connection, socket);
                match self.instance(&mut store).await {
                    Ok(instance) => (Pooled::new(store, instance), true),
                    Err(error) => return Err((Fault::from_call(error), store.data_mut().take_peer(packet))),
                }
            }
        };
        if is_new && let Err(fault) = initialize(&mut made.store, &made.instance).await {
            return Err((fault, made.store.data_mut().take_peer(packet)));
        }
        Ok(session(made))
    }

    pub(super) fn is_put_back(&self) -> bool {
        self.renewal.as_ref().is_some_and(|renewal| renewal.first().get().is_some())
    }

    pub(super) fn blueprint(&self) -> Blueprint {
        self.blueprint.clone()
    }

    pub(super) fn code(&self) -> wasmtime::Result<Vec<u8>> {
        Native::Module(self.pre.module().clone()).serialize()
    }
}

async fn initialize(store: &mut Store<State>, instance: &Instance) -> Result<(), Fault> {
    let Some(initialize) = &instance.initialize else { return Ok(()) };
    store.set_epoch_deadline(1);
    initialize.call_async(store, ()).await.map_err(Fault::from_call)
}

/// One request in its instance.
pub struct ModuleSession {
    made: Box<Pooled<Instance>>,
    /// None where the request is a connection.
    packet: Option<Arc<[u8]>>,
    renewal: Option<Arc<Reset>>,
    warm: Arc<InstancePool<Instance>>,
    /// A call was begun that has not ended, or ended fatally: the instance is not to be called
    /// again.
    in_call: bool,
}

impl ModuleSession {
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.made.store.data().exchange.progress()
    }

    pub(super) async fn run(&mut self) -> Result<Served, Fault> {
        self.in_call = true;
        let Pooled { store, instance, .. } = &mut *self.made;
        store.data_mut().exchange.prepare(self.packet.clone());
        if let Err(error) = instance.serve.call_async(&mut *store, ()).await {
            let fault = Fault::from_call(error);
            let size = if fault.kind() == FaultKind::OutOfBounds { self.exhausted_stack() } else { None };
            let fault = match size {
                Some(size) => fault.beyond_its_stack(size),
                None => fault,
            };
            return Err(fault.with(|| self.made.store.data().last_words()));
        }
        self.in_call = false;
        Ok(Served::Whole)
    }

    /// How large its stack in its memory was, where that is what has run out.
    fn exhausted_stack(&mut self) -> Option<u64> {
        let Pooled { store, instance, .. } = &mut *self.made;
        self.renewal.as_ref()?.exhausted_stack(store, instance.inner)
    }

    pub(super) fn has_complaints(&self) -> bool {
        self.made.store.data().exchange.has_complaints()
    }

    pub(super) fn complaints(&mut self) -> Vec<(Phase, String)> {
        self.made.store.data_mut().exchange.take_complaints()
    }

    /// Ends the sandbox, or puts it back, and gives the peer back.
    pub(super) fn into_peer(self) -> Peer {
        let Self { mut made, packet, renewal, warm, in_call } = self;
        let peer = made.store.data_mut().take_peer(packet);
        if in_call {
            return peer;
        }
        let is_reused = made.store.data().settings.reuse.is_some();
        let Instance { inner, memory, .. } = made.instance;
        if is_reused || renewal.is_some_and(|renewal| renewal.renew(&mut made.store, inner, memory)) {
            warm.keep(made);
        }
        peer
    }
}
