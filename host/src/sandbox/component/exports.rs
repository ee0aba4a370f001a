//! What is called in a component: its exports, and the proof that they are of the contract's types.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc,
};

use super::super::blueprint::Interface;
use super::super::contract::{Address, PACKAGE};
use super::super::fault::Fault;
use super::super::state::State;

/// A function that takes `P` and returns `R`, once its [`Exports`] were checked.
pub(super) struct Export<P, R> {
    index: ComponentExportIndex,
    of: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for Export<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for Export<P, R> {}

/// What every phase returns.
pub(super) type Returned = (Result<(), String>,);
pub(super) type PhaseFunction<P> = Export<P, Returned>;
/// A datagram's packet.
pub(super) type PacketArgument = (Arc<[u8]>,);

/// `setup`, `handle` and `finish`.
#[derive(Clone, Copy)]
pub(super) enum Phases {
    Stream(PhaseFunction<()>, PhaseFunction<()>, PhaseFunction<()>),
    Datagram(PhaseFunction<PacketArgument>, PhaseFunction<PacketArgument>, PhaseFunction<()>),
}

/// The exports of `server-hooks`, for the plugins that have them.
#[derive(Clone, Copy)]
pub(super) struct Hooks {
    pub(super) verify_request: Export<(Address,), (bool,)>,
    pub(super) handle_error: Export<(Address, String), ()>,
    pub(super) service_actions: Export<(), ()>,
}

/// The exports of one component.
pub(super) struct Exports {
    pub(super) phases: Phases,
    pub(super) hooks: Option<Hooks>,
    /// They were found to be of these types.
    are_checked: AtomicBool,
}

/// An instance of a component whose exports were checked.
pub(super) struct Checked(Instance);

impl Exports {
    /// Finds those of a component whose interfaces are of `version`.
    ///
    /// # Errors
    /// In words for the author of the plugin: an export is missing.
    pub(super) fn of(component: &Component, interface: Interface, version: &str) -> Result<Self, String> {
        let instance = |name: &str| component.get_export_index(None, &*format!("{PACKAGE}/{name}@{version}"));
        let name = interface.name();
        let handler = instance(name).ok_or_else(|| format!("it exports no {name}"))?;
        let find = |of, instance, name| Find { component, of, instance, name };
        let phases = match interface {
            Interface::Stream => Phases::Stream(
                find(name, &handler, "setup").export()?,
                find(name, &handler, "handle").export()?,
                find(name, &handler, "finish").export()?,
            ),
            Interface::Datagram => Phases::Datagram(
                find(name, &handler, "setup").export()?,
                find(name, &handler, "handle").export()?,
                find(name, &handler, "finish").export()?,
            ),
        };
        let hooks = match instance("server-hooks") {
            Some(hooks) => Some(Hooks {
                verify_request: find("server-hooks", &hooks, "verify-request").export()?,
                handle_error: find("server-hooks", &hooks, "handle-error").export()?,
                service_actions: find("server-hooks", &hooks, "service-actions").export()?,
            }),
            None => None,
        };
        Ok(Self { phases, hooks, are_checked: AtomicBool::new(false) })
    }

    /// Makes an instance of the component that they are of. The first one is looked at.
    ///
    /// # Errors
    /// Those of making it; and an export is of another type.
    pub(super) async fn instance(&self, pre: &InstancePre<State>, store: &mut Store<State>) -> Result<Checked, Fault> {
        let instance = pre.instantiate_async(&mut *store).await.map_err(Fault::from_call)?;
        if !self.are_checked.load(Ordering::Relaxed) {
            self.check(store, &instance)
                .map_err(|error| Fault::Handler(format!("an export is not of the contract's type: {error:#}")))?;
            self.are_checked.store(true, Ordering::Relaxed);
        }
        Ok(Checked(instance))
    }

    fn check(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
        match self.phases {
            Phases::Stream(setup, handle, finish) => {
                setup.check(store, instance)?;
                handle.check(store, instance)?;
                finish.check(store, instance)?;
            }
            Phases::Datagram(setup, handle, finish) => {
                setup.check(store, instance)?;
                handle.check(store, instance)?;
                finish.check(store, instance)?;
            }
        }
        let Some(hooks) = &self.hooks else { return Ok(()) };
        hooks.verify_request.check(store, instance)?;
        hooks.handle_error.check(store, instance)?;
        hooks.service_actions.check(store, instance)
    }
}

/// A function that is looked for.
struct Find<'a> {
    component: &'a Component,
    of: &'static str,
    instance: &'a ComponentExportIndex,
    name: &'static str,
}

impl Find<'_> {
    fn export<P, R>(self) -> Result<Export<P, R>, String> {
        let Self { component, of, instance, name } = self;
        let index = component.get_export_index(Some(instance), name);
        Ok(Export { index: index.ok_or_else(|| format!("its {of} lacks `{name}`"))?, of: PhantomData })
    }
}

impl<P, R> Export<P, R>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    fn check(self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
        instance.get_typed_func::<P, R>(store, self.index).map(drop)
    }

    /// Calls it.
    ///
    /// # Errors
    /// What ended the guest.
    pub(super) async fn call(self, store: &mut Store<State>, instance: &Checked, params: P) -> Result<R, Fault> {
        store.set_epoch_deadline(1);
        let function = instance.0.get_func(&mut *store, self.index);
        let function = function.ok_or_else(|| Fault::Host(wasmtime::format_err!("no export")))?;
        #[expect(unsafe_code, reason = "to check the types at each call would cost a session time each time")]
        // SAFETY: `Exports::instance` alone makes a checked instance, after it has found each of
        // its component's exports to be of the type that its `Export` has. In an instance of
        // another component, an index of this one is none.
        let function = unsafe { TypedFunc::<P, R>::new_unchecked(function) };
        let returned = function.call_async(&mut *store, params).await;
        returned.map_err(|error| Fault::from_call(error).with(|| store.data().last_words()))
    }
}
