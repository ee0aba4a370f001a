//! What belongs to one instance: its state in the store, and its view of WASI.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::client::Client;
use super::cpu::CpuMeter;
use super::limits::{COPIED, MemoryCap, RESOURCES};
use super::output::Output;
use super::request::{Origin, Peer};
use super::transfer::Transfer;
use super::transport::{Connection, DatagramSocket};
use crate::config::{Access, Settings};
use crate::report::LogCategory;

/// The data of one store.
pub(crate) struct State {
    pub(super) client: Client,
    pub(super) datagram_socket: Option<Arc<dyn DatagramSocket>>,
    pub(super) cpu: CpuMeter,
    pub(super) origin: Arc<Origin>,
    pub(super) settings: Arc<Settings>,
    /// Of a handler that runs without its component.
    pub(super) exchange: Transfer,
    memory: MemoryCap,
    /// Made when the guest first asks for something of it: many handlers never do.
    wasi: Option<Box<WasiCtx>>,
    /// WASI 0.1, for a program that is a core module.
    wasi_0_1: Option<Box<WasiP1Ctx>>,
    table: ResourceTable,
    /// stdout and stderr, once there is a WASI that writes to them.
    outputs: Vec<Output>,
}

/// A store for one instance, under all its limits. Without a connection or a socket it is for a
/// call that serves no request.
pub(super) fn store(
    engine: &Engine,
    origin: Arc<Origin>,
    settings: Arc<Settings>,
    connection: Option<Box<dyn Connection>>,
    datagram_socket: Option<Arc<dyn DatagramSocket>>,
) -> Store<State> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(RESOURCES);
    let state = State {
        client: Client::new(connection, settings.timeouts.idle),
        datagram_socket,
        cpu: CpuMeter::new(settings.limits.cpu),
        memory: MemoryCap::new(settings.limits.memory),
        origin,
        settings,
        exchange: Transfer::default(),
        wasi: None,
        wasi_0_1: None,
        table,
        outputs: Vec::new(),
    };
    let mut store = Store::new(engine, state);
    store.set_hostcall_fuel(COPIED);
    store.limiter(|state| &mut state.memory);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store: StoreContextMut<'_, State>| store.data_mut().cpu.caught());
    store
}

impl State {
    /// Makes it the state of another request, in the same instance.
    pub(super) fn serve(
        &mut self,
        origin: Arc<Origin>,
        connection: Option<Box<dyn Connection>>,
        datagram_socket: Option<Arc<dyn DatagramSocket>>,
    ) {
        self.client = Client::new(connection, self.settings.timeouts.idle);
        self.datagram_socket = datagram_socket;
        self.cpu.begin_anew(self.settings.limits.cpu);
        self.outputs.iter().chain(self.exchange.printed()).for_each(|output| output.belongs_to(origin.clone()));
        self.origin = origin;
    }

    /// Takes the request's peer back.
    ///
    /// # Panics
    /// It has none, or none any more.
    pub(super) fn take_peer(&mut self, packet: Option<Arc<[u8]>>) -> Peer {
        match (self.client.take(), packet, self.datagram_socket.take()) {
            (Some(connection), _, _) => Peer::Connection(connection),
            (None, Some(packet), Some(socket)) => Peer::Datagram(packet, socket),
            _ => unreachable!("a session's store is given one of them, which only this takes"),
        }
    }

    /// What its guest wrote to stderr last.
    pub(super) fn last_words(&self) -> Option<String> {
        self.outputs.iter().chain(self.exchange.printed()).find_map(Output::last_words)
    }

    /// Makes the WASI of a program: what the operator granted, and what `with` adds. A core
    /// module's is 0.1.
    pub(super) fn use_as_program(&mut self, is_module: bool, with: impl FnOnce(&mut WasiCtxBuilder)) {
        let (mut wasi, writes_to) = granted(&self.origin, &self.settings, &mut self.cpu);
        self.outputs.extend(writes_to);
        with(&mut wasi);
        if is_module {
            let mut wasi = wasi.build_p1();
            wasi.ctx().table.set_max_capacity(RESOURCES);
            self.wasi_0_1 = Some(Box::new(wasi));
        } else {
            self.wasi = Some(Box::new(wasi.build()));
        }
    }

    /// The resources of WASI that it has open.
    pub(super) fn resources(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// A program is made with it; a handler has it when it first asks for something of it.
    pub(super) fn wasi_0_1(&mut self) -> &mut WasiP1Ctx {
        let Self { wasi_0_1, origin, settings, outputs, cpu, .. } = self;
        wasi_0_1.get_or_insert_with(|| {
            let (mut wasi, writes_to) = granted(origin, settings, cpu);
            outputs.extend(writes_to);
            let mut wasi = wasi.build_p1();
            wasi.ctx().table.set_max_capacity(RESOURCES);
            Box::new(wasi)
        })
    }

    /// Whether it has ever asked for WASI, and so may have left something there.
    pub(super) fn has_wasi(&self) -> bool {
        self.wasi.is_some() || self.wasi_0_1.is_some()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { wasi, origin, settings, table, outputs, cpu, .. } = self;
        let ctx = wasi.get_or_insert_with(|| {
            let (mut wasi, writes_to) = granted(origin, settings, cpu);
            outputs.extend(writes_to);
            Box::new(wasi.build())
        });
        WasiCtxView { ctx, table }
    }
}

/// WASI with what the operator granted, and nothing else; and what its stdout and stderr are.
fn granted(origin: &Arc<Origin>, settings: &Settings, cpu: &mut CpuMeter) -> (WasiCtxBuilder, [Output; 2]) {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_tcp(false).allow_udp(false);
    let outputs = ["stdout", "stderr"].map(|stream| Output::new(origin.clone(), stream, cpu.account()));
    wasi.stdout(outputs[0].clone()).stderr(outputs[1].clone());
    wasi.arg(&origin.plugin).args(&settings.args);
    for (name, value) in &settings.grants.env {
        wasi.env(name, value);
    }
    for grant in &settings.grants.dirs {
        let access = match grant.access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        let path = grant.folder.as_ref().map_or_else(|| grant.host.clone(), |folder| folder.path());
        if let Err(error) = wasi.preopened_dir(path, &grant.guest, access) {
            // The host has no descriptor left, or may not read it any more. The handler finds
            // nothing there, as any program would.
            if origin.stats.may_log(LogCategory::Failures, 0) {
                let (plugin, client, folder) = (&origin.plugin, &origin.client, grant.host.display());
                tracing::error!(%plugin, %client, %folder, %error, "a granted folder can't be opened");
            }
        }
    }
    (wasi, outputs)
}
