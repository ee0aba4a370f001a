//! A new host process in the place of the running one: what the one does before it serves, and the
//! other before it goes.

use std::io;

use tokio_util::task::TaskTracker;

use super::serving::Serving;
use super::stop::Stop;
use super::{End, Supervisor};
use crate::report::Event;
use crate::upgrade::{Handover, Predecessor, SUCCESSOR_TIMEOUT, Upgrade};

impl Supervisor {
    /// Loads everything, and serves once the predecessor gives way: until then nobody was served
    /// here, so that nothing is lost if this host may not.
    ///
    /// # Errors
    /// How this host ends instead.
    pub(super) async fn succeed(&mut self, predecessor: Predecessor, stop: &mut Stop) -> Result<(), End> {
        let gone = |error: io::Error| {
            tracing::error!(%error, "the running host did not give way");
            End::Failed
        };
        let mut loaded = Vec::new();
        while !self.loads.is_empty() {
            tokio::select! {
                () = stop.asked() => return Err(End::Stopped),
                answer = predecessor.gives_way() => {
                    return Err(gone(answer.err().unwrap_or_else(|| io::ErrorKind::InvalidData.into())));
                }
                Some(load) = self.loads.join_next() => match load {
                    Ok(load) => {
                        match &load.outcome {
                            Ok(_) => predecessor.hears_that_loaded(&load.name).await,
                            Err(refusal) => predecessor.hears_that_refused(&load.name, &refusal.to_string()).await,
                        }
                        loaded.push(load);
                    }
                    Err(error) => tracing::error!(cause = error.to_string(), "host fault"),
                },
            }
        }
        predecessor.hears_that_ready().await;
        tokio::select! {
            () = stop.asked() => return Err(End::Stopped),
            answer = predecessor.gives_way() => answer.map_err(gone)?,
        }
        // An address that can't be had is tried for again, as the predecessor does.
        self.plan.strict = false;
        self.is_successor = true;
        for load in loaded {
            self.loaded(load).await?;
        }
        self.is_successor = false;
        predecessor.hears_that_serving(self.shared.inherited.taken()).await;
        // A service manager knows that the service is ready, and would not believe this process
        // before it is told of it.
        self.awaited = None;
        self.settle_sockets();
        Ok(())
    }

    /// Starts a successor, which takes over if it can serve what is served here.
    pub(super) fn begin_upgrade(&mut self) {
        if self.upgrade.is_some() {
            return tracing::warn!("an upgrade is under way already");
        }
        let failed = |cause: String| tracing::error!(cause, "upgrade failed: this host serves on");
        if self.shared.budget.is_some() {
            return failed("a host that ends by itself, after --requests, is not replaced".to_owned());
        }
        let serving = || self.plugins.values().filter_map(|entry| entry.serving.as_ref());
        let handed = serving().flat_map(Serving::hand).collect::<io::Result<Vec<_>>>();
        let sockets = handed.and_then(|mut handed| {
            handed.extend(self.shared.inherited.idle()?);
            Ok(handed)
        });
        match sockets {
            Ok(sockets) => {
                let plugins = serving().map(|serving| serving.name().to_owned()).collect();
                self.upgrade = Some(Upgrade::begin(self.program.clone(), sockets, plugins, SUCCESSOR_TIMEOUT));
            }
            Err(error) => failed(error.to_string()),
        }
    }

    /// Leaves what the successor took, closes the rest, and gives what runs its time. stdout is the
    /// successor's.
    pub(super) async fn hand_over(mut self, handover: Handover, mut stop: Stop) -> End {
        self.shared.stopping.cancel();
        self.loads.abort_all();
        self.manager.succeeded_by(handover.pid);
        self.close_all_but(&handover.taken).await;
        Event::Upgraded(handover.pid).emit();
        let sessions = [&self.shared.sessions, &self.shared.left_behind];
        tracing::info!(pid = handover.pid, sessions = sessions.map(TaskTracker::len).iter().sum::<usize>(), "upgraded");
        // Nobody waits for this process to end, so those sessions have their time, too, that a stop
        // leaves behind.
        self.last_sessions(&mut stop, &sessions).await
    }
}

/// Waits for the end of the upgrade that is under way; forever while none is.
pub(super) async fn upgraded(upgrade: &mut Option<Upgrade>) -> Result<Handover, String> {
    match upgrade {
        Some(upgrade) => upgrade.outcome().await,
        None => std::future::pending().await,
    }
}
