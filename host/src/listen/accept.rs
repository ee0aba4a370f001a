//! The accept loop: a client is there, a permit is there, accept.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::listener::{Incoming, Listener};
use super::quota::RequestQuota;
use super::sources::SourcePlace;

/// How many sessions there may be at once: over the whole host, and on one server. At a cap nothing
/// is accepted, and clients wait in the kernel's backlog: back-pressure, not errors.
#[derive(Clone)]
pub struct ConnectionLimits {
    pub host: Arc<Semaphore>,
    pub server: Arc<Semaphore>,
    /// How many there may be at all, where that is bounded.
    pub budget: Option<Arc<RequestQuota>>,
}

/// The right to one session, given back when it is dropped.
pub struct Permit {
    _server: OwnedSemaphorePermit,
    _host: OwnedSemaphorePermit,
    budget: Option<(Arc<RequestQuota>, OwnedSemaphorePermit)>,
    /// The request's place among those of its source.
    place: Option<SourcePlace>,
}

impl ConnectionLimits {
    /// The server's first, so that a server at its own cap keeps nothing from the others while it
    /// waits.
    async fn permit(&self) -> Permit {
        const OPEN: &str = "the semaphores are never closed";
        if let Some(permit) = self.permit_at_once() {
            return permit;
        }
        let budget = match &self.budget {
            Some(budget) => Some((budget.clone(), budget.reserve().await)),
            None => None,
        };
        let server = self.server.clone().acquire_owned().await.expect(OPEN);
        let host = self.host.clone().acquire_owned().await.expect(OPEN);
        Permit { _server: server, _host: host, budget, place: None }
    }

    /// None where one would have to be waited for.
    fn permit_at_once(&self) -> Option<Permit> {
        let budget = match &self.budget {
            Some(budget) => Some((budget.clone(), budget.try_reserve()?)),
            None => None,
        };
        let server = self.server.clone().try_acquire_owned().ok()?;
        let host = self.host.clone().try_acquire_owned().ok()?;
        Some(Permit { _server: server, _host: host, budget, place: None })
    }
}

impl Permit {
    /// Keeps a place for as long as the permit is kept.
    pub fn hold(&mut self, place: Option<SourcePlace>) {
        self.place = place;
    }

    /// Hands over a request that was taken with it. The quota is charged last, so that its end
    /// finds the session started. It comes back if the session is over by then, and there is no
    /// budget.
    fn hand_over(mut self, arrival: Incoming, arrived: impl FnOnce(Incoming, Self) -> Option<Self>) -> Option<Self> {
        let budget = self.budget.take();
        let back = arrived(arrival, self);
        match budget {
            None => back.map(|permit| Self { place: None, ..permit }),
            Some((budget, reserved)) => {
                budget.spend(reserved);
                None
            }
        }
    }
}

/// How many requests are taken one after the other before others on this thread have their turn.
const IN_A_ROW: usize = 32;

/// Accepts and hands over requests until `stop`; then once more what the kernel had accepted
/// already, because those clients were told that they are connected.
///
/// `arrived` must not wait: whatever is slow belongs into the session's own task. It is told how
/// many were taken before this one since the loop last waited, and gives the permit back if the
/// session is over already.
pub async fn accept_until(
    listener: &Listener,
    caps: &ConnectionLimits,
    stop: &CancellationToken,
    mut arrived: impl FnMut(Incoming, Permit, usize) -> Option<Permit>,
) {
    let mut trouble = Trouble::default();
    loop {
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            permit = async { listener.ready().await.ok()?; Some(caps.permit().await) } => permit,
        };
        let Some(permit) = permit else { return }; // The runtime is going.
        let (mut permit, mut pause) = (Some(permit), None);
        // To ask each time whether to stop, and whether somebody is there, would be locks and a
        // system call more a request.
        for before in 0..IN_A_ROW {
            let Some(taken) = permit.take().or_else(|| caps.permit_at_once()) else { break };
            match listener.try_take() {
                Ok(Some(arrival)) => {
                    trouble.passed();
                    permit = taken.hand_over(arrival, |arrival, permit| arrived(arrival, permit, before));
                }
                Ok(None) => break,
                Err(error) => {
                    pause = trouble.after(&error, listener);
                    break;
                }
            }
        }
        if let Some(pause) = pause {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    while let Some(permit) = caps.permit_at_once() {
        match listener.try_take() {
            Ok(Some(arrival)) => drop(permit.hand_over(arrival, |arrival, permit| arrived(arrival, permit, IN_A_ROW))),
            Ok(None) | Err(_) => return,
        }
    }
}

/// What failed accepts in a row ask for. None of them ends a listener.
#[derive(Default)]
struct Trouble {
    pause: Option<Duration>,
}

impl Trouble {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

    fn passed(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("accepting again");
        }
    }

    /// How long to wait before the next accept; none for an error that was that one connection's
    /// own, which accept(2) says to treat like "try again".
    fn after(&mut self, error: &std::io::Error, listener: &Listener) -> Option<Duration> {
        let address = listener.address();
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            None
            | Some(
                Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH,
            ) => {
                tracing::debug!(%address, %error, "a connection was gone before it was accepted");
                None
            }
            Some(_) => {
                // Out of descriptors or memory: once a streak is enough, the log has the same
                // limits.
                if self.pause.is_none() {
                    tracing::error!(%address, %error, "can't accept; trying again until it works");
                }
                let pause = self.pause.map_or(Self::FIRST, |pause| (pause * 2).min(Self::LONGEST_BACKOFF));
                self.pause = Some(pause);
                Some(pause)
            }
        }
    }
}
