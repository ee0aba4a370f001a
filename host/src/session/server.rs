//! Servers: one listener each, its plugin and its settings.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::admit::{Refused, Verifier};
use super::run::{self, SessionContext};
use super::shared::HostShared;
use super::spawn::Spawner;
use crate::capacity::ListenerPlace;
use crate::config::{Concurrency, ListenAddress, Settings};
use crate::listen::{Claim, ConnectionLimits, Incoming, Listener, Packet, PassedSocket, Permit, Stream, accept_until};
use crate::plugin::Generation;
use crate::sandbox::FileWork;

/// What all servers of one plugin share: what new sessions begin with.
pub struct Service {
    context: RwLock<Arc<SessionContext>>,
    /// Those that were replaced, for as long as a session has them.
    before: Mutex<Vec<Weak<SessionContext>>>,
    swapped: Notify,
    shared: HostShared,
}

impl Service {
    pub fn new(plugin: &str, generation: Arc<Generation>, settings: Arc<Settings>, shared: HostShared) -> Self {
        let (stats, spare) = (shared.counters.plugin(plugin), shared.spare.clone());
        let files = Arc::new(FileWork::new(stats.clone()));
        let context = SessionContext { plugin: plugin.into(), stats, generation, settings, spare, files };
        begin_file_work(&context);
        Self { context: RwLock::new(Arc::new(context)), before: Mutex::default(), swapped: Notify::new(), shared }
    }

    /// What the next session begins with.
    pub fn context(&self) -> Arc<SessionContext> {
        self.context.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets new sessions begin with this generation and these settings.
    pub fn swap(&self, generation: Arc<Generation>, settings: Arc<Settings>) {
        let mut context = self.context.write().unwrap_or_else(PoisonError::into_inner);
        let new = Arc::new(SessionContext { generation, settings, ..SessionContext::clone(&context) });
        begin_file_work(&new);
        let old = std::mem::replace(&mut *context, new);
        drop(context);
        let mut before = self.before();
        before.retain(|context| context.strong_count() > 0);
        before.push(Arc::downgrade(&old));
        drop(before);
        self.swapped.notify_waiters();
    }

    /// What sessions of this generation have, which is no longer current.
    pub fn contexts_of(&self, generation: &Arc<Generation>) -> Vec<Weak<SessionContext>> {
        let is_of_it = |context: &&Weak<SessionContext>| {
            context.upgrade().is_some_and(|context| Arc::ptr_eq(&context.generation, generation))
        };
        self.before().iter().filter(is_of_it).cloned().collect()
    }

    fn before(&self) -> MutexGuard<'_, Vec<Weak<SessionContext>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what a plugin's file work needs before its clients take it. Where the machine has none
/// now, the next session asks again.
fn begin_file_work(context: &SessionContext) {
    if !context.settings.grants.dirs.is_empty() {
        let _ = context.files.handle();
    }
}

/// One listener and its accept loop.
pub struct Server {
    /// As the manifest has it: with port 0 where the kernel chooses.
    asked: ListenAddress,
    listener: Arc<Listener>,
    _claim: Claim,
    _room: ListenerPlace,
    caps: ConnectionLimits,
    cap: u32,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Opens the listener and begins to accept.
    ///
    /// # Errors
    /// As [`Listener::open`]; an address that another plugin has, which is named; no descriptors
    /// for another listener.
    pub fn start(asked: &ListenAddress, service: &Arc<Service>) -> io::Result<Self> {
        let context = service.context();
        let SessionContext { plugin, settings, .. } = &*context;
        let shared = &service.shared;
        let mut claim = shared.ports.claim(asked, plugin)?;
        let room = match shared.inherited.room(plugin, asked) {
            Some(room) => room,
            None => shared.listener_room.take(asked)?,
        };
        let listener = Listener::open(asked, plugin, &settings.socket, &shared.inherited);
        let listener = Arc::new(listener.map_err(|error| shared.ports.explain(asked, &claim, error))?);
        claim.bound(listener.address(), plugin);
        Ok(Self::over(listener, asked.clone(), service, (claim, room)))
    }

    /// Begins to accept for another plugin. What the kernel holds is that one's; sessions go on.
    pub async fn pass_on(self, service: &Arc<Service>) -> Self {
        // It is ended where it waits, so never with a request in its hands.
        self.accepting.abort();
        let _ = self.accepting.await;
        self.stop.cancel();
        let Self { listener, _claim: mut claim, _room: room, .. } = self;
        let address = listener.address().clone();
        claim.bound(&address, &service.context().plugin);
        let mut server = Self::over(listener, address, service, (claim, room));
        let settings = service.context().settings.clone();
        server.adjust(&settings);
        server
    }

    fn over(
        listener: Arc<Listener>,
        asked: ListenAddress,
        service: &Arc<Service>,
        (claim, room): (Claim, ListenerPlace),
    ) -> Self {
        let context = service.context();
        let settings = &context.settings;
        let shared = &service.shared;
        let cap = cap(settings);
        let caps = ConnectionLimits {
            host: shared.cap.clone(),
            server: Arc::new(Semaphore::new(cap as usize)),
            budget: shared.budget.clone(),
        };
        if let Some(budget) = &shared.budget {
            budget.touch();
        }
        let stop = CancellationToken::new();
        let accepting = tokio::spawn({
            let (listener, caps, stop, service) = (listener.clone(), caps.clone(), stop.clone(), service.clone());
            async move {
                let verifier = Verifier::default();
                let mut starter = Spawner::new(service.shared.clone());
                let begin = |arrival, mut permit: Permit, before| {
                    let context = service.context();
                    if let Incoming::Datagram(Packet { dropped: count @ 1.., .. }) = &arrival {
                        context.stats.dropped(*count);
                    }
                    match verifier.admit(&arrival, &context) {
                        Ok(place) => permit.hold(place),
                        Err(Refused) => return Some(permit),
                    }
                    match arrival {
                        Incoming::Connection(stream) if context.settings.instance_on_first_byte => {
                            begin_later(stream, permit, context, service.clone());
                            None
                        }
                        arrival => starter.begin(arrival, permit, context, before),
                    }
                };
                accept_until(&listener, &caps, &stop, begin).await;
            }
        });
        tokio::spawn(upkeep(service.clone(), listener.address().clone(), stop.clone()));
        Self { asked, listener, _claim: claim, _room: room, caps, cap, stop, accepting }
    }

    /// The address as the manifest has it.
    pub fn asked(&self) -> &ListenAddress {
        &self.asked
    }

    /// Whether a manifest means it by this address.
    pub fn is_at(&self, address: &ListenAddress) -> bool {
        address == self.asked() || address == self.address()
    }

    /// The address with its real port.
    pub fn address(&self) -> &ListenAddress {
        self.listener.address()
    }

    /// Whether nobody can reach it any more, as the file that stands for its socket was removed.
    pub fn is_gone(&self) -> bool {
        self.listener.is_gone()
    }

    /// Takes new settings over without closing anything.
    pub fn adjust(&mut self, settings: &Settings) {
        if let Err(error) = self.listener.adjust(&settings.socket) {
            tracing::error!(address = %self.address(), %error, "the listener stays as it was");
        }
        let cap = cap(settings);
        let permits = &self.caps.server;
        if cap > self.cap {
            permits.add_permits((cap - self.cap) as usize);
        } else if cap < self.cap {
            // Those in use are taken away as they come back; until then nobody new comes in.
            let (permits, surplus) = (permits.clone(), self.cap - cap);
            tokio::spawn(async move {
                if let Ok(surplus) = permits.acquire_many(surplus).await {
                    surplus.forget();
                }
            });
        }
        self.cap = cap;
    }

    /// Stops accepting and closes the listener. Sessions go on.
    pub async fn close(self) {
        self.stop.cancel();
        // Ends at once: it accepts what the kernel had accepted, and waits for nothing.
        let _ = self.accepting.await;
    }

    /// The listener's socket, for the host that is to come.
    ///
    /// # Errors
    /// The machine has no descriptor left.
    pub fn hand(&self, plugin: &str) -> io::Result<PassedSocket> {
        self.listener.hand(plugin.into(), self.asked.clone())
    }

    /// Stops accepting where another process accepts on the same socket: what the kernel holds is
    /// that one's now. Sessions go on.
    pub async fn leave(self) {
        // It is ended where it waits, so never with a request in its hands.
        self.accepting.abort();
        let _ = self.accepting.await;
        self.stop.cancel();
        // The loop that had the other one is gone.
        Arc::into_inner(self.listener).into_iter().for_each(Listener::leave);
    }
}

/// Begins a connection's session when its client's first byte has come. Until then it has a task of
/// its own, which is far smaller than a session's, and neither thread nor process.
fn begin_later(stream: Stream, permit: Permit, context: Arc<SessionContext>, service: Arc<Service>) {
    let sessions = service.shared.sessions_under(&context.settings).clone();
    sessions.spawn(async move {
        if let Some(stream) = run::first_byte(stream, &context).await {
            Spawner::new(service.shared.clone()).begin(Incoming::Connection(stream), permit, context, 0);
        }
    });
}

fn cap(settings: &Settings) -> u32 {
    match settings.concurrency {
        Concurrency::Task | Concurrency::Thread => settings.max_connections,
        Concurrency::Serial => 1,
        Concurrency::Process => settings.max_connections.min(settings.max_children),
    }
}

/// Calls the plugin's `service-actions` once every interval, for as long as the server accepts.
/// Where the plugin has no hooks, nothing wakes it but another generation.
async fn upkeep(service: Arc<Service>, address: ListenAddress, stop: CancellationToken) {
    loop {
        // Asked for before the terms are read: a swap in between is not missed.
        let swapped = service.swapped.notified();
        let interval = {
            let context = service.context();
            context.generation.guest.has_hooks().then_some(context.settings.service_interval)
        };
        let due = async {
            match interval {
                Some(interval) => tokio::time::sleep(interval).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = swapped => {}
            () = due => run::service_actions(&service.context(), &address).await,
        }
    }
}
