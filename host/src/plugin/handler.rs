//! The kind of guest that exports `wharf:handler/stream-handler`.

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower,
};

use super::contract::{Address, PACKAGE};
use super::guest::{Guest, Origin, Request, Running};
use super::instance::{self, State};
use super::{Connection, Fault, connection};
use crate::config::Settings;

/// One version of a stream handler.
pub(super) struct StreamHandler {
    pre: InstancePre<State>,
    setup: ComponentExportIndex,
    handle: ComponentExportIndex,
    finish: ComponentExportIndex,
    hooks: Option<Hooks>,
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

impl StreamHandler {
    pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        connection::link(&mut linker)?;
        Ok(linker)
    }

    /// Finds the exports of a component whose interfaces are of `version`.
    ///
    /// # Errors
    /// In words for whoever wrote the plugin: an import that nothing here provides, or an export that is missing.
    pub(super) fn new(linker: &Linker<State>, component: &Component, version: &str) -> Result<Self, String> {
        let interface = |name: &str| component.get_export_index(None, &*format!("{PACKAGE}/{name}@{version}"));
        let stream = interface("stream-handler").ok_or("it exports no stream-handler")?;
        let export = |interface: &ComponentExportIndex, name: &str| {
            component.get_export_index(Some(interface), name).ok_or_else(|| format!("its interface lacks `{name}`"))
        };
        let hooks = match interface("server-hooks") {
            Some(hooks) => Some(Hooks {
                verify_request: export(&hooks, "verify-request")?,
                handle_error: export(&hooks, "handle-error")?,
                service_actions: export(&hooks, "service-actions")?,
            }),
            None => None,
        };
        let pre = linker.instantiate_pre(component).map_err(|error| format!("{error:#}"))?;
        Ok(Self {
            pre,
            setup: export(&stream, "setup")?,
            handle: export(&stream, "handle")?,
            finish: export(&stream, "finish")?,
            hooks,
        })
    }

    /// Makes an instance that serves nobody, to see that it can be made and that its exports are of the right types.
    ///
    /// # Errors
    /// As a session would have met them.
    pub(super) async fn try_out(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        let mut store = instance::store(self.pre.engine(), origin, settings, None);
        let instance = self.pre.instantiate_async(&mut store).await.map_err(Fault::from_call)?;
        let checked = [self.setup, self.handle, self.finish]
            .iter()
            .try_for_each(|phase| instance.get_typed_func::<(), Phase>(&mut store, phase).map(drop))
            .and_then(|()| {
                let Some(hooks) = &self.hooks else { return Ok(()) };
                instance.get_typed_func::<(Address,), (bool,)>(&mut store, hooks.verify_request)?;
                instance.get_typed_func::<(Address, String), ()>(&mut store, hooks.handle_error)?;
                instance.get_typed_func::<(), ()>(&mut store, hooks.service_actions)?;
                Ok(())
            });
        checked.map_err(|error| Fault::Handler(format!("an export is not of the contract's type: {error:#}")))
    }
}

#[async_trait]
impl Guest for StreamHandler {
    async fn instantiate(&self, request: Request) -> Result<Box<dyn Running>, (Fault, Box<dyn Connection>)> {
        let Request { connection, origin, settings } = request;
        let mut store = instance::store(self.pre.engine(), origin.clone(), settings, Some(connection));
        match self.pre.instantiate_async(&mut store).await {
            Ok(instance) => Ok(Box::new(Session {
                store,
                instance,
                origin,
                phases: [self.setup, self.handle, self.finish],
                verify_request: self.hooks.map(|hooks| hooks.verify_request),
            })),
            Err(error) => Err((Fault::from_call(error), connection_of(store))),
        }
    }

    async fn handle_error(&self, origin: Arc<Origin>, settings: Arc<Settings>, error: &str) -> Result<(), Fault> {
        let Some(hooks) = &self.hooks else { return Ok(()) };
        let client = Address::from(&origin.client);
        let mut store = instance::store(self.pre.engine(), origin, settings, None);
        let instance = self.pre.instantiate_async(&mut store).await.map_err(Fault::from_call)?;
        call(&mut store, &instance, &hooks.handle_error, (client, error.to_owned())).await
    }
}

/// One connection in its own instance.
struct Session {
    store: Store<State>,
    instance: Instance,
    origin: Arc<Origin>,
    phases: [ComponentExportIndex; 3],
    verify_request: Option<ComponentExportIndex>,
}

impl Session {
    async fn phase(&mut self, phase: usize) -> Result<(), Fault> {
        let (result,): Phase = call(&mut self.store, &self.instance, &self.phases[phase], ()).await?;
        result.map_err(Fault::Handler)
    }
}

#[async_trait]
impl Running for Session {
    async fn verify_request(&mut self) -> Result<bool, Fault> {
        let Some(verify_request) = &self.verify_request else { return Ok(true) };
        let client = Address::from(&self.origin.client);
        let (taken,): (bool,) = call(&mut self.store, &self.instance, verify_request, (client,)).await?;
        Ok(taken)
    }

    async fn setup(&mut self) -> Result<(), Fault> {
        self.phase(0).await
    }

    async fn handle(&mut self) -> Result<(), Fault> {
        self.phase(1).await
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.phase(2).await
    }

    fn into_connection(self: Box<Self>) -> Box<dyn Connection> {
        connection_of(self.store)
    }
}

fn connection_of(store: Store<State>) -> Box<dyn Connection> {
    store.into_data().client.take().expect("a session's store is made with a connection, which only this takes")
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
    let function = instance.get_typed_func::<P, R>(&mut *store, export).map_err(Fault::Host)?;
    function.call_async(&mut *store, params).await.map_err(Fault::from_call)
}
