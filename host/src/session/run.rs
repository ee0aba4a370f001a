//! One request's way through its plugin: instance, verify-request, setup, handle, finish, close.
//! The one place that knows both sockets and guests.

use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Semaphore;

use super::deadline::{Deadline, Vigil};
use crate::config::{ListenAddress, Settings, SocketAddress};
use crate::listen::{ClientWatch, Datagrams, Incoming, Packet, Presence, Stream};
use crate::plugin::Generation;
use crate::report::{FaultKind, LogCategory, Phase, PluginStats};
use crate::sandbox::{
    Cause, Connection, DatagramSocket, Fault, FileWork, Origin, Peer, Request, Running, Served, within,
};

/// The most that is said of a fault, in bytes.
const CAUSE: usize = 4096;

/// What a session is made of, taken together when its request arrived: whatever is replaced later,
/// this session ends as it began.
#[derive(Clone)]
pub struct SessionContext {
    pub plugin: Arc<str>,
    pub stats: Arc<PluginStats>,
    pub generation: Arc<Generation>,
    pub settings: Arc<Settings>,
    /// Bounds the instances that are no session's own.
    pub spare: Arc<Semaphore>,
    /// Where the plugin's sessions do their file work.
    pub files: Arc<FileWork>,
}

/// A request that has come: its two ends, and what its guest is to deal with.
pub struct Opening {
    pub client: SocketAddress,
    pub server: SocketAddress,
    pub peer: Peer,
    /// Where it can be seen that the client is gone.
    pub watch: Option<ClientWatch>,
}

impl From<Incoming> for Opening {
    fn from(arrival: Incoming) -> Self {
        let (client, server) = arrival.ends();
        let (client, server) = (client.clone(), server.clone());
        let (peer, watch) = match arrival {
            Incoming::Connection(stream) => {
                let watch = stream.client_watch();
                (Peer::Connection(Box::new(stream)), Some(watch))
            }
            Incoming::Datagram(Packet { bytes, socket, .. }) => (Peer::Datagram(bytes, socket), None),
        };
        Self { client, server, peer, watch }
    }
}

/// Serves one request, from its arrival to its close, and keeps `kept` until then: what is counted
/// as long as the session goes on.
///
/// A client is waited for in here and in no function within, as far as that can be: each would be
/// returned through, and called again, at every message.
pub(crate) async fn serve<K: Send>(request: impl Into<Opening> + Send, context: Arc<SessionContext>, kept: K) {
    context.stats.begun();
    let Opening { client, server, peer, watch } = request.into();
    let origin = Arc::new(Origin {
        plugin: context.plugin.clone(),
        stats: context.stats.clone(),
        generation: context.generation.id.clone(),
        client,
        server,
    });
    let client = watch.map(|watch| Vigil::new(watch, context.settings.timeouts.gone));
    let announced = pin!(context.generation.deadline.announced());
    let deadline = Deadline::new(&context.generation.deadline, announced, client);
    let mut session = Session { context: &context, origin, deadline, phase: Phase::Setup, is_probe: false };
    let left = match session.instance(peer).await {
        Ok(mut running) => {
            let progress = running.progress();
            let ended = {
                let mut run = pin!(running.run());
                poll_fn(|cx| {
                    session.deadline.begin_poll();
                    match run.as_mut().poll(cx) {
                        Poll::Ready(ended) => Poll::Ready(ended),
                        Poll::Pending => session.poll_over(cx, progress.phase()).map(Err),
                    }
                })
                .await
            };
            if !matches!(ended, Ok(Served::Whole)) || running.has_complaints() {
                Box::pin(session.ended(&mut running, progress.phase(), &ended)).await;
            }
            let peer = running.into_peer();
            if matches!(ended, Ok(Served::Refused)) { turn_away(peer) } else { peer.into_connection() }
        }
        Err(left) => left,
    };
    session.end();
    if let Some(connection) = left {
        close(connection, &context).await;
    }
    drop(kept);
}

/// Says of a request that its session could not begin, for want of what the host has it run in.
pub(crate) fn not_begun(context: &SessionContext, client: &SocketAddress, phase: Phase, error: io::Error) {
    let SessionContext { plugin, stats, generation, .. } = context;
    stats.begun();
    note((plugin, stats, &generation.id, client), phase, (FaultKind::Host, &Fault::Host(error.into())));
}

/// Waits for a client's first byte, or its end, before anything is made for its session. It is left
/// to be read. None where neither came in time, and the connection is closed.
pub(crate) async fn first_byte(stream: Stream, context: &SessionContext) -> Option<Stream> {
    let limit = context.settings.timeouts.idle;
    let cause = tokio::select! {
        biased;
        has_ended = poll_fn(|cx| stream.poll_readable(cx)) => {
            if has_ended.is_ok_and(|ended| ended) && !stream.client_watch().has_spoken() {
                // Nobody is there to be served, and nothing came.
                context.stats.begun();
                context.stats.probed();
                return None;
            }
            // An error, too, is the guest's to hear of.
            return Some(stream);
        }
        () = context.generation.deadline.reached() => Cause::Drain,
        () = tokio::time::sleep(limit) => Cause::Timeout(limit),
    };
    let SessionContext { plugin, stats, generation, .. } = context;
    stats.begun();
    let fault = Fault::Ended(cause);
    note((plugin, stats, &generation.id, stream.client()), Phase::FirstByte, (fault.kind(), &fault));
    close(Box::new(stream), context).await;
    None
}

async fn close(connection: Box<dyn Connection>, context: &SessionContext) {
    tokio::select! {
        () = connection.close() => {}
        () = context.generation.deadline.reached() => {}
    }
}

/// Says which of the rules kept a client out.
pub(crate) fn refused(plugin: &str, stats: &Arc<PluginStats>, client: &SocketAddress, by: &str) {
    stats.refused();
    if stats.may_log(LogCategory::Refusals, 0) {
        tracing::info!(%plugin, %client, %by, "client refused");
    }
}

/// Lets the plugin do its upkeep. No client is concerned: one that fails is logged, and tried again
/// in its time.
pub(crate) async fn service_actions(context: &SessionContext, address: &ListenAddress) {
    let SessionContext { plugin, stats, generation, settings, spare, .. } = context;
    let origin = Origin::without_client(plugin.clone(), stats.clone(), generation.id.clone());
    let limit = settings.timeouts.finish;
    let upkeep = async {
        // Never closed, and everybody in the queue has a time limit.
        let _turn = spare.acquire().await;
        generation.guest.service_actions(Arc::new(origin), settings.clone()).await
    };
    let upkeep = tokio::time::timeout(limit, upkeep);
    let done = if settings.grants.dirs.is_empty() {
        upkeep.await
    } else {
        match context.files.handle() {
            Ok(files) => within(files, upkeep).await,
            Err(error) => Ok(Err(Fault::Host(error.into()))),
        }
    };
    if let Err(fault) = done.unwrap_or(Err(Fault::Ended(Cause::Timeout(limit)))) {
        let (generation, phase, cause) = (&generation.id, Phase::ServiceActions, cause_of(&fault));
        stats.failed(phase, fault.kind());
        if stats.may_log(LogCategory::Failures, cause.len()) {
            tracing::warn!(%plugin, %generation, server = %address, %phase, cause, "upkeep failed");
        }
    }
}

/// Counts a fault, and says so in the log, with the names of plugin, generation and client; its
/// cause in words.
fn note(
    (plugin, stats, generation, client): (&str, &Arc<PluginStats>, &str, &SocketAddress),
    phase: Phase,
    (kind, fault): (FaultKind, &Fault),
) -> String {
    let cause = cause_of(fault);
    stats.failed(phase, kind);
    if stats.may_log(LogCategory::Failures, cause.len()) {
        match fault {
            _ if kind == FaultKind::Left => tracing::info!(%plugin, %generation, %client, %phase, cause, "client left"),
            Fault::Host(_) => tracing::error!(%plugin, %generation, %client, %phase, cause, "host fault"),
            Fault::Handler(_) | Fault::Ended(_) => {
                tracing::warn!(%plugin, %generation, %client, %phase, cause, "session failed");
            }
        }
    }
    cause
}

/// A fault in words, cut off where a handler has too many of them.
fn cause_of(fault: &Fault) -> String {
    let mut cause = fault.to_string();
    if cause.len() > CAUSE {
        cause.truncate(cause.floor_char_boundary(CAUSE));
        cause.push('…');
    }
    cause
}

/// Whether a handler returned the error that it got when its client left, as each language spells
/// it.
fn tells_of_a_client_that_left(fault: &Fault) -> bool {
    let Fault::Handler(error) = fault else { return false };
    let letters = |c: &char| c.is_ascii_alphabetic();
    let error: String = error.chars().filter(letters).map(|c| c.to_ascii_lowercase()).take(CAUSE).collect();
    error.contains("connectionreset") || error.contains("brokenpipe")
}

/// Whether a client has left without ever having sent a byte, as a balancer's health check or a
/// scan of ports does.
fn is_probe(client: &ClientWatch) -> bool {
    !client.has_spoken() && client.presence() != Presence::Here
}

/// As socketserver's `shutdown_request`; the close follows as the connection is dropped.
fn turn_away(peer: Peer) -> Option<Box<dyn Connection>> {
    if let Some(connection) = peer.into_connection() {
        let _ = connection.shutdown(Shutdown::Both);
    }
    None
}

struct Session<'p, 't> {
    context: &'t SessionContext,
    origin: Arc<Origin>,
    deadline: Deadline<'p, 't>,
    /// What the deadline is set for, where all phases are one call.
    phase: Phase,
    /// It was counted as a probe.
    is_probe: bool,
}

impl Session<'_, '_> {
    /// Makes the sandbox.
    ///
    /// # Errors
    /// There is none, which has been said: the connection that is left to be closed with care, if
    /// there is one.
    async fn instance(&mut self, peer: Peer) -> Result<Running, Option<Box<dyn Connection>>> {
        self.deadline.set(self.context.settings.timeouts.setup);
        let request = Request { peer, origin: self.origin.clone(), settings: self.context.settings.clone() };
        let instance = async { Ok(self.context.generation.guest.instantiate(request).await) };
        match self.deadline.bound(instance).await {
            Ok(Ok(running)) => Ok(running),
            Ok(Err((fault, peer))) => {
                self.failed(Phase::Instance, &fault).await;
                Err(peer.into_connection())
            }
            // The connection went with the instance that never came to be.
            Err(fault) => {
                self.failed(Phase::Instance, &fault).await;
                Err(None)
            }
        }
    }

    /// What ends a call that is in this phase, and waits.
    fn poll_over(&mut self, cx: &mut Context<'_>, phase: Phase) -> Poll<Fault> {
        let Settings { timeouts, .. } = &*self.context.settings;
        let (phase, limit) = match phase {
            Phase::Handle => (phase, timeouts.handle),
            Phase::Finish => (phase, timeouts.finish),
            _ => (Phase::Setup, timeouts.setup),
        };
        if self.phase != phase {
            self.phase = phase;
            self.deadline.set(limit);
        }
        self.deadline.poll_over(cx).map(Fault::Ended)
    }

    /// Says what became of a request that did not go well, whose last phase this was.
    async fn ended(&mut self, running: &mut Running, phase: Phase, ended: &Result<Served, Fault>) {
        for (complained, error) in running.complaints() {
            // What ended the phase after its error was read, in its post-return function, is what
            // the phase came to.
            if complained != phase || ended.is_ok() {
                self.failed(complained, &Fault::Handler(error)).await;
            }
        }
        match ended {
            Ok(Served::Whole) => {}
            Ok(Served::Refused) => {
                refused(&self.origin.plugin, &self.origin.stats, &self.origin.client, "verify-request");
            }
            Err(fault) => self.failed(phase, fault).await,
        }
    }

    /// Counts a client that has left without a word from either side. To be called when the guest
    /// is gone; the connection is closed once nothing else has it.
    fn end(self) {
        if let Some(client) = self.deadline.client()
            && !self.is_probe
            && !client.was_told()
            && is_probe(client)
        {
            self.origin.stats.probed();
        }
    }

    /// Whether what failed is only that its client has left without ever having sent a byte:
    /// nothing that anybody has to hear of.
    fn is_only_a_probe(&mut self, phase: Phase, fault: &Fault) -> bool {
        let of_its_own_accord = match fault {
            Fault::Handler(_) | Fault::Ended(Cause::Exit(..) | Cause::Trap(FaultKind::Unreachable, _)) => true,
            Fault::Ended(_) | Fault::Host(_) => false,
        };
        // What it did without having been told that its client had left is its own.
        let is_only_that = of_its_own_accord
            && self.deadline.client().is_some_and(|client| client.end_was_noticed() && is_probe(client));
        if !is_only_that {
            return false;
        }
        let Origin { plugin, stats, generation, client, .. } = &*self.origin;
        if !std::mem::replace(&mut self.is_probe, true) {
            stats.probed();
        }
        let cause = cause_of(fault);
        tracing::debug!(%plugin, %generation, %client, %phase, cause, "a client left without a byte");
        true
    }

    /// Says that a phase failed, to the log and to the plugin.
    async fn failed(&mut self, phase: Phase, fault: &Fault) {
        if self.is_only_a_probe(phase, fault) {
            return;
        }
        let Origin { plugin, stats, generation, client, .. } = &*self.origin;
        let has_left = self.deadline.client().is_some_and(ClientWatch::has_left);
        let kind = if has_left && tells_of_a_client_that_left(fault) { FaultKind::Left } else { fault.kind() };
        let cause = note((plugin, stats, generation, client), phase, (kind, fault));
        if matches!(fault, Fault::Host(_) | Fault::Ended(Cause::Drain)) || phase == Phase::Instance {
            return;
        }
        let limit = self.context.settings.timeouts.finish;
        let hook = async {
            // Never closed, and bounded, as everybody in the queue holds a session's permit.
            let _turn = self.context.spare.acquire().await;
            let settings = self.context.settings.clone();
            self.context.generation.guest.handle_error(self.origin.clone(), settings, &cause).await
        };
        // Few sessions come to this, and all would have room for it.
        let told = Box::pin(tokio::time::timeout(limit, hook)).await;
        if let Err(fault) = told.unwrap_or(Err(Fault::Ended(Cause::Timeout(limit)))) {
            note((plugin, stats, generation, client), Phase::HandleError, (fault.kind(), &fault));
        }
    }
}

impl Connection for Stream {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>> {
        Self::poll_recv(self, cx, buffer, max)
    }

    fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        Self::try_send(self, data)
    }

    fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_sendable(self, cx)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Self::shutdown(self, how)
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Self::close(*self))
    }
}

impl DatagramSocket for Datagrams {
    fn try_send_to(&self, data: &[u8], destination: &SocketAddress, from: Option<&SocketAddress>) -> io::Result<()> {
        Self::try_send_to(self, data, destination, from)
    }

    fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_sendable(self, cx)
    }
}
