//! How a request's session runs beside the others: socketserver's mix-ins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::child;
use super::run::{self, SessionContext};
use super::shared::HostShared;
use crate::capacity::room_for_a_thread;
use crate::config::Concurrency;
use crate::listen::{Incoming, Permit};
use crate::report::Phase;
use crate::sandbox::within;

/// Begins the sessions of one listener, each as its manifest says.
pub(super) struct Spawner {
    shared: HostShared,
    /// Whether other threads might take some of what this one has to do.
    has_others: bool,
    /// How many datagrams are still to have tasks of their own, as the last without one took long.
    apart: u32,
    /// When the last one that was served where it was taken in was over.
    last: Instant,
}

/// What a session may take of the thread that takes datagrams in. One that takes more has the next
/// [`APART`] begin in tasks.
const LONG_DATAGRAM: Duration = Duration::from_micros(200);
const APART: u32 = 32;
/// How many datagrams are served in a row where they were taken in, while other threads might take
/// some of them.
const ALONE: usize = 8;

impl Spawner {
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new(shared: HostShared) -> Self {
        Self { shared, has_others: Handle::current().metrics().num_workers() > 1, apart: 0, last: Instant::now() }
    }

    /// Begins the session of a request that has just arrived, after `before` others in a row. Does
    /// not wait for anything. Gives the permit back if the session is over by then.
    pub(super) fn begin(
        &mut self,
        arrival: Incoming,
        permit: Permit,
        context: Arc<SessionContext>,
        before: usize,
    ) -> Option<Permit> {
        let shared = &self.shared;
        let sessions = shared.sessions_under(&context.settings);
        match context.settings.concurrency {
            Concurrency::Task | Concurrency::Serial => {
                let has_files = !context.settings.grants.dirs.is_empty();
                if has_files {
                    match context.files.handle() {
                        Ok(files) => {
                            tokio::spawn(within(files, run::serve(arrival, context, (permit, sessions.token()))));
                        }
                        Err(error) => run::not_begun(&context, arrival.ends().0, Phase::Instance, error),
                    }
                    return None;
                }
                let is_datagram = matches!(arrival, Incoming::Datagram(_));
                if is_datagram && (before < ALONE || !self.has_others) {
                    return self.begin_here(arrival, permit, context, before);
                }
                tokio::spawn(run::serve(arrival, context, (permit, sessions.token())));
            }
            Concurrency::Thread => {
                let (runtime, counted) = (Handle::current(), sessions.token());
                let (told, client) = (context.clone(), arrival.ends().0.clone());
                let files = (!context.settings.grants.dirs.is_empty()).then(|| context.files.handle()).transpose();
                let begun = room_for_a_thread().and(files).and_then(|files| {
                    // Only what the guest does happens on the thread; waiting for sockets is the
                    // runtime's as everywhere.
                    let session = move || {
                        let session = run::serve(arrival, context, (permit, counted));
                        match files {
                            Some(files) => runtime.block_on(within(files, session)),
                            None => runtime.block_on(session),
                        }
                    };
                    thread::Builder::new().name(told.plugin.to_string()).spawn(session)
                });
                if let Err(error) = begun {
                    run::not_begun(&told, &client, Phase::Thread, error);
                }
            }
            Concurrency::Process => {
                let (counted, kill) = (shared.children.token(), shared.kill.clone());
                sessions.spawn(async move {
                    child::serve(arrival, context, kill).await;
                    drop((permit, counted));
                });
            }
        }
        None
    }

    /// Serves a datagram at once if that needs no wait, as most do not: a task for each would cost
    /// as much as its guest. What has to wait goes on in a task.
    fn begin_here(
        &mut self,
        arrival: Incoming,
        permit: Permit,
        context: Arc<SessionContext>,
        before: usize,
    ) -> Option<Permit> {
        let sessions = self.shared.sessions_under(&context.settings);
        let mut session = Box::pin(run::serve(arrival, context, ()));
        let goes_on = |session: Pin<Box<_>>, permit| {
            sessions.spawn(async move {
                session.await;
                drop(permit);
            });
            None
        };
        if self.apart > 0 {
            self.apart -= 1;
            return goes_on(session, permit);
        }
        if before == 0 {
            self.last = Instant::now();
        }
        // Nobody is to be woken: the task that it may become is polled when it begins. And a panic,
        // which would be a fault of ours, costs one session and not the listener, as in a task.
        let polled = catch_unwind(AssertUnwindSafe(|| session.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
        // To take the next one in is little beside it, and no reason to look at the clock twice.
        let now = Instant::now();
        if now - self.last > LONG_DATAGRAM {
            self.apart = APART;
        }
        self.last = now;
        match polled {
            Ok(Poll::Pending) => goes_on(session, permit),
            _ => Some(permit),
        }
    }
}
