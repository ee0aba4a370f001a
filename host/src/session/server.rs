//! Servers: one listener each, its plugin and its settings.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::commons::Commons;
use super::concurrency::Starter;
use super::run::{self, Terms};
use super::verify::{Refused, Verifier};
use crate::capacity::ListenerPlace;
use crate::config::{Address, Concurrency, Settings};
use crate::listen::{Arrival, Caps, Claim, Handed, Listener, Packet, Permit, Stream, accept_until};
use crate::plugin::Generation;
use crate::sandbox::FileWork;

/// What all servers of one plugin share: what new sessions begin with.
pub struct Service {
    terms: RwLock<Arc<Terms>>,
    /// Those that were replaced, for as long as a session has them.
    before: Mutex<Vec<Weak<Terms>>>,
    swapped: Notify,
    commons: Commons,
}

impl Service {
    pub fn new(plugin: &str, generation: Arc<Generation>, settings: Arc<Settings>, commons: Commons) -> Self {
        let (tally, spare) = (commons.counters.plugin(plugin), commons.spare.clone());
        let files = Arc::new(FileWork::new(tally.clone()));
        let terms = Terms { plugin: plugin.into(), tally, generation, settings, spare, files };
        begin_file_work(&terms);
        Self { terms: RwLock::new(Arc::new(terms)), before: Mutex::default(), swapped: Notify::new(), commons }
    }

    /// What the next session begins with.
    pub fn terms(&self) -> Arc<Terms> {
        self.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets new sessions begin with this generation and these settings.
    pub fn swap(&self, generation: Arc<Generation>, settings: Arc<Settings>) {
        let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        let new = Arc::new(Terms { generation, settings, ..Terms::clone(&terms) });
        begin_file_work(&new);
        let old = std::mem::replace(&mut *terms, new);
        drop(terms);
        let mut before = self.before();
        before.retain(|terms| terms.strong_count() > 0);
        before.push(Arc::downgrade(&old));
        drop(before);
        self.swapped.notify_waiters();
    }

    /// What sessions of this generation have, which is no longer current.
    pub fn terms_of(&self, generation: &Arc<Generation>) -> Vec<Weak<Terms>> {
        let is_of_it =
            |terms: &&Weak<Terms>| terms.upgrade().is_some_and(|terms| Arc::ptr_eq(&terms.generation, generation));
        self.before().iter().filter(is_of_it).cloned().collect()
    }

    fn before(&self) -> MutexGuard<'_, Vec<Weak<Terms>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what a plugin's file work needs before its clients take it. Where the machine has none now, the next session asks again.
fn begin_file_work(terms: &Terms) {
    if !terms.settings.grants.dirs.is_empty() {
        let _ = terms.files.handle();
    }
}

/// One listener and its accept loop.
pub struct Server {
    /// As the manifest has it: with port 0 where the kernel chooses.
    asked: Address,
    listener: Arc<Listener>,
    _claim: Claim,
    _room: ListenerPlace,
    caps: Caps,
    cap: u32,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Opens the listener and begins to accept.
    ///
    /// # Errors
    /// As [`Listener::open`]; an address that another plugin has, which is named; no descriptors for another listener.
    pub fn start(asked: &Address, service: &Arc<Service>) -> io::Result<Self> {
        let terms = service.terms();
        let Terms { plugin, settings, .. } = &*terms;
        let commons = &service.commons;
        let mut claim = commons.ports.claim(asked, plugin)?;
        let room = match commons.inherited.room(plugin, asked) {
            Some(room) => room,
            None => commons.listener_room.take(asked)?,
        };
        let listener = Listener::open(asked, plugin, &settings.socket, &commons.inherited);
        let listener = Arc::new(listener.map_err(|error| commons.ports.explain(asked, &claim, error))?);
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
        claim.bound(&address, &service.terms().plugin);
        let mut server = Self::over(listener, address, service, (claim, room));
        let settings = service.terms().settings.clone();
        server.adjust(&settings);
        server
    }

    fn over(
        listener: Arc<Listener>,
        asked: Address,
        service: &Arc<Service>,
        (claim, room): (Claim, ListenerPlace),
    ) -> Self {
        let terms = service.terms();
        let settings = &terms.settings;
        let commons = &service.commons;
        let cap = cap(settings);
        let caps = Caps {
            host: commons.cap.clone(),
            server: Arc::new(Semaphore::new(cap as usize)),
            budget: commons.budget.clone(),
        };
        if let Some(budget) = &commons.budget {
            budget.touch();
        }
        let stop = CancellationToken::new();
        let accepting = tokio::spawn({
            let (listener, caps, stop, service) = (listener.clone(), caps.clone(), stop.clone(), service.clone());
            async move {
                let verifier = Verifier::default();
                let mut starter = Starter::new(service.commons.clone());
                let begin = |arrival, mut permit: Permit, before| {
                    let terms = service.terms();
                    if let Arrival::Datagram(Packet { dropped: count @ 1.., .. }) = &arrival {
                        terms.tally.dropped(*count);
                    }
                    match verifier.admit(&arrival, &terms) {
                        Ok(place) => permit.hold(place),
                        Err(Refused) => return Some(permit),
                    }
                    match arrival {
                        Arrival::Connection(stream) if terms.settings.instance_on_first_byte => {
                            begin_later(stream, permit, terms, service.clone());
                            None
                        }
                        arrival => starter.begin(arrival, permit, terms, before),
                    }
                };
                accept_until(&listener, &caps, &stop, begin).await;
            }
        });
        tokio::spawn(upkeep(service.clone(), listener.address().clone(), stop.clone()));
        Self { asked, listener, _claim: claim, _room: room, caps, cap, stop, accepting }
    }

    /// The address as the manifest has it.
    pub fn asked(&self) -> &Address {
        &self.asked
    }

    /// Whether a manifest means it by this address.
    pub fn is_at(&self, address: &Address) -> bool {
        address == self.asked() || address == self.address()
    }

    /// The address with its real port.
    pub fn address(&self) -> &Address {
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
    pub fn hand(&self, plugin: &str) -> io::Result<Handed> {
        self.listener.hand(plugin.into(), self.asked.clone())
    }

    /// Stops accepting where another process accepts on the same socket: what the kernel holds is that one's now.
    /// Sessions go on.
    pub async fn leave(self) {
        // It is ended where it waits, so never with a request in its hands.
        self.accepting.abort();
        let _ = self.accepting.await;
        self.stop.cancel();
        // The loop that had the other one is gone.
        Arc::into_inner(self.listener).into_iter().for_each(Listener::leave);
    }
}

/// Begins a connection's session when its client's first byte has come. Until then it has a task of its own, which is far smaller than
/// a session's, and neither thread nor process.
fn begin_later(stream: Stream, permit: Permit, terms: Arc<Terms>, service: Arc<Service>) {
    let sessions = service.commons.sessions_under(&terms.settings).clone();
    sessions.spawn(async move {
        if let Some(stream) = run::first_byte(stream, &terms).await {
            Starter::new(service.commons.clone()).begin(Arrival::Connection(stream), permit, terms, 0);
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

/// Calls the plugin's `service-actions` once every interval, for as long as the server accepts. Where the plugin has no
/// hooks, nothing wakes it but another generation.
async fn upkeep(service: Arc<Service>, address: Address, stop: CancellationToken) {
    loop {
        // Asked for before the terms are read: a swap in between is not missed.
        let swapped = service.swapped.notified();
        let interval = {
            let terms = service.terms();
            terms.generation.guest.has_hooks().then_some(terms.settings.service_interval)
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
            () = due => run::service_actions(&service.terms(), &address).await,
        }
    }
}
