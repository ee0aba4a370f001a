//! What belongs to one instance: its state in the store, and its view of WASI.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::connection::Client;
use super::cpu::{self, CpuMeter};
use super::limits::MemoryCap;
use super::output::Output;
use super::{Connection, DatagramSocket, Origin};
use crate::config::{Access, Settings};

/// The data of one store.
pub(super) struct State {
    pub(super) client: Client,
    pub(super) datagram_socket: Option<Arc<dyn DatagramSocket>>,
    pub(super) cpu: CpuMeter,
    pub(super) origin: Arc<Origin>,
    pub(super) settings: Arc<Settings>,
    memory: MemoryCap,
    /// Made when the guest first asks for something of it: many handlers never do.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
}

/// A store for one instance, under all its limits. Without a connection or a socket it is for a call that serves no
/// request.
pub(super) fn store(
    engine: &Engine,
    origin: Arc<Origin>,
    settings: Arc<Settings>,
    connection: Option<Box<dyn Connection>>,
    datagram_socket: Option<Arc<dyn DatagramSocket>>,
) -> Store<State> {
    let state = State {
        client: Client::new(connection, settings.timeouts.idle),
        datagram_socket,
        cpu: CpuMeter::new(settings.limits.cpu),
        memory: MemoryCap::new(settings.limits.memory),
        origin,
        settings,
        wasi: None,
        table: ResourceTable::new(),
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    cpu::watch(&mut store);
    store
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { wasi, origin, settings, table, .. } = self;
        let ctx = wasi.get_or_insert_with(|| granted(origin, settings));
        WasiCtxView { ctx, table }
    }
}

/// WASI with what the operator granted, and nothing else.
fn granted(origin: &Arc<Origin>, settings: &Settings) -> WasiCtx {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_tcp(false).allow_udp(false);
    wasi.stdout(Output::new(origin.clone(), "stdout")).stderr(Output::new(origin.clone(), "stderr"));
    wasi.arg(&origin.plugin).args(&settings.args);
    for (name, value) in &settings.grants.env {
        wasi.env(name, value);
    }
    for grant in &settings.grants.dirs {
        let access = match grant.access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        if let Err(error) = wasi.preopened_dir(&grant.host, &grant.guest, access) {
            // Gone since the manifest was read. The handler finds nothing there, as any program would.
            tracing::error!(plugin = %origin.plugin, folder = %grant.host.display(), %error, "a granted folder can't be opened");
        }
    }
    wasi.build()
}
