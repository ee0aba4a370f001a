//! The kind of guest that is an ordinary program: a WASI command, served as inetd does, with the
//! connection as its stdin and stdout.

mod pipe;

use std::sync::Arc;

use wasmtime::component::{self, Component, ComponentExportIndex};
use wasmtime::{Engine, Module, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};

use self::pipe::Pipe;
use super::blueprint::Blueprint;
use super::fault::{Cause, Fault};
use super::native::Native;
use super::progress::{Progress, Served};
use super::request::{Origin, Peer, Request};
use super::state::{self, State};
use super::transport::DatagramSocket;
use super::wasi;
use crate::config::{Settings, SocketAddress, ip_text};
use crate::report::Phase;

/// The most that a program's answer to a datagram may hold: what UDP carries.
const REPLY: usize = 65_507;

/// One version of a program.
pub struct Program {
    code: Code,
    blueprint: Blueprint,
}

/// A program, ready to be made an instance of.
enum Code {
    Component(component::InstancePre<State>, ComponentExportIndex),
    Module(wasmtime::InstancePre<State>),
}

/// An instance of a program, ready to run.
enum Start {
    Component(component::TypedFunc<(), (Result<(), ()>,)>),
    Module(wasmtime::TypedFunc<(), ()>),
}

impl Program {
    /// A component that exports `export`, a version of `wasi:cli/run`.
    ///
    /// # Errors
    /// In words for its author: an import that nothing here provides, or an export that is
    /// missing.
    pub(crate) fn of_component(
        linker: &component::Linker<State>,
        component: &Component,
        export: &str,
        blueprint: Blueprint,
    ) -> Result<Self, String> {
        let run = component
            .get_export_index(None, export)
            .and_then(|interface| component.get_export_index(Some(&interface), "run"))
            .ok_or_else(|| format!("{export} lacks `run`"))?;
        let pre = linker.instantiate_pre(component).map_err(|error| format!("it can't be linked: {error:#}"))?;
        Ok(Self { code: Code::Component(pre, run), blueprint })
    }

    /// A core module that exports `_start`. It runs as it is: Go's programs fail behind the
    /// component adapter.
    ///
    /// # Errors
    /// An import that WASI 0.1 does not have.
    pub(crate) fn of_module(module: &Module, blueprint: Blueprint) -> Result<Self, String> {
        let mut linker = wasmtime::Linker::new(module.engine());
        wasi::link_0_1(&mut linker).map_err(|error| format!("{error:#}"))?;
        let pre = linker.instantiate_pre(module).map_err(|error| format!("it can't be linked: {error:#}"))?;
        Ok(Self { code: Code::Module(pre), blueprint })
    }

    fn is_module(&self) -> bool {
        matches!(self.code, Code::Module(_))
    }

    fn engine(&self) -> &Engine {
        match &self.code {
            Code::Component(pre, _) => pre.engine(),
            Code::Module(pre) => pre.module().engine(),
        }
    }

    fn store(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Store<State> {
        state::store(self.engine(), origin, settings, None, None)
    }

    async fn start(&self, store: &mut Store<State>) -> Result<Start, Fault> {
        let of_another_type = |export: &str, error: &wasmtime::Error| {
            Fault::Handler(format!("its export `{export}` is of another type: {error:#}"))
        };
        match &self.code {
            Code::Component(pre, run) => {
                let instance = pre.instantiate_async(&mut *store).await.map_err(Fault::from_call)?;
                let run = instance.get_typed_func(store, run).map_err(|error| of_another_type("run", &error))?;
                Ok(Start::Component(run))
            }
            Code::Module(pre) => {
                let instance = pre.instantiate_async(&mut *store).await.map_err(Fault::from_call)?;
                let start =
                    instance.get_typed_func(store, "_start").map_err(|error| of_another_type("_start", &error))?;
                Ok(Start::Module(start))
            }
        }
    }
}

impl Program {
    pub(super) async fn try_out(&self, origin: Arc<Origin>, settings: Arc<Settings>) -> Result<(), Fault> {
        let mut store = self.store(origin, settings);
        store.data_mut().use_as_program(self.is_module(), |_| {});
        self.start(&mut store).await.map(drop)
    }

    pub(super) async fn instantiate(&self, request: Request) -> Result<ProgramSession, (Fault, Peer)> {
        let Request { peer, origin, settings } = request;
        let environment = ucspi(&origin, &peer);
        let mut store = self.store(origin.clone(), settings.clone());
        let account = store.data_mut().cpu.account();
        let stdio = match peer {
            Peer::Connection(connection) => Stdio::Connection(Pipe::new(connection, settings.timeouts.idle, account)),
            Peer::Datagram(packet, socket) => {
                Stdio::Datagram(packet, MemoryOutputPipe::new(REPLY), socket, origin.clone())
            }
        };
        store.data_mut().use_as_program(self.is_module(), |wasi| {
            for (name, value) in &environment {
                wasi.env(name, value);
            }
            match &stdio {
                Stdio::Connection(pipe) => wasi.stdin(pipe.stdin()).stdout(pipe.stdout()),
                Stdio::Datagram(packet, reply, ..) => {
                    wasi.stdin(MemoryInputPipe::new(packet.to_vec())).stdout(reply.clone())
                }
            };
        });
        match self.start(&mut store).await {
            Ok(start) => Ok(ProgramSession { store, start, stdio }),
            Err(fault) => Err((fault, stdio.into_peer())),
        }
    }

    pub(super) fn blueprint(&self) -> Blueprint {
        self.blueprint.clone()
    }

    pub(super) fn code(&self) -> wasmtime::Result<Vec<u8>> {
        match &self.code {
            Code::Component(pre, _) => Native::Component(pre.component().clone()).serialize(),
            Code::Module(pre) => Native::Module(pre.module().clone()).serialize(),
        }
    }
}

/// What stdin and stdout are.
enum Stdio {
    Connection(Pipe),
    /// The packet is stdin; what was written when the program ends is the answer.
    Datagram(Arc<[u8]>, MemoryOutputPipe, Arc<dyn DatagramSocket>, Arc<Origin>),
}

impl Stdio {
    fn into_peer(self) -> Peer {
        match self {
            Self::Connection(pipe) => {
                Peer::Connection(pipe.take().expect("a pipe is made with a connection, which only this takes"))
            }
            Self::Datagram(packet, _, socket, _) => Peer::Datagram(packet, socket),
        }
    }

    /// Sees to it that what the program wrote is sent.
    async fn flush(&self) -> Result<(), Fault> {
        match self {
            Self::Connection(pipe) => {
                pipe.drained().await;
                Ok(())
            }
            Self::Datagram(_, reply, socket, origin) => {
                let reply = reply.contents();
                // A program that wrote nothing has nothing to answer.
                if reply.is_empty() {
                    return Ok(());
                }
                let sent = std::future::poll_fn(|cx| {
                    loop {
                        match socket.try_send_to(&reply, &origin.client, Some(&origin.server)) {
                            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                                std::task::ready!(socket.poll_sendable(cx))?;
                            }
                            sent => return std::task::Poll::Ready(sent),
                        }
                    }
                });
                sent.await.map_err(|error| Fault::Handler(format!("its answer could not be sent: {error}")))
            }
        }
    }
}

/// One run of a program.
pub struct ProgramSession {
    store: Store<State>,
    start: Start,
    stdio: Stdio,
}

impl ProgramSession {
    async fn call(&mut self) -> Result<(), Fault> {
        self.store.set_epoch_deadline(1);
        let ended = match &self.start {
            Start::Component(run) => {
                run.call_async(&mut self.store, ()).await.map(|(status,)| status.map_or(1, |()| 0))
            }
            Start::Module(start) => start.call_async(&mut self.store, ()).await.map(|()| 0),
        };
        let status = match ended {
            Ok(status) => status,
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => exit.0,
                None => return Err(Fault::from_call(error)),
            },
        };
        if status == 0 { Ok(()) } else { Err(Fault::Ended(Cause::Exit(status, None))) }
    }

    /// All that a program does is `handle`.
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::new(Progress::new(Phase::Handle))
    }

    pub(super) async fn run(&mut self) -> Result<Served, Fault> {
        let ended = self.call().await.map_err(|fault| fault.with(|| self.store.data().last_words()));
        // However it ended, what it wrote before that is the client's.
        let flushed = self.stdio.flush().await;
        ended.and(flushed)?;
        Ok(Served::Whole)
    }

    pub(super) fn into_peer(self) -> Peer {
        let Self { store, stdio, .. } = self;
        drop(store);
        stdio.into_peer()
    }
}

/// The variables by which UCSPI servers tell programs of their client.
fn ucspi(origin: &Origin, peer: &Peer) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    match (&origin.client, &origin.server) {
        (SocketAddress::Inet(client), SocketAddress::Inet(server)) => {
            let proto = if matches!(peer, Peer::Connection(_)) { "TCP" } else { "UDP" };
            variables.push(("PROTO".to_owned(), proto.to_owned()));
            for (end, addr) in [("REMOTE", client), ("LOCAL", server)] {
                variables.push((format!("{proto}{end}IP"), ip_text(addr)));
                variables.push((format!("{proto}{end}PORT"), addr.port().to_string()));
            }
        }
        (client, server) => {
            variables.push(("PROTO".to_owned(), "UNIX".to_owned()));
            for (end, endpoint) in [("REMOTE", client), ("LOCAL", server)] {
                if let SocketAddress::Unix(Some(name)) = endpoint {
                    variables.push((format!("UNIX{end}PATH"), name.to_string()));
                }
            }
        }
    }
    variables
}
