//! What a host shares among its servers.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::capacity::ListenerRoom;
use crate::config::Settings;
use crate::listen::{AddressBook, RequestQuota, SocketStore};
use crate::report::Counters;

/// How many instances there may be beside those of the sessions: for `handle-error`, and to try new
/// plugins out.
pub const SPARE_INSTANCES: u32 = 16;

/// What the whole host shares among its servers.
#[derive(Clone)]
pub struct HostShared {
    /// Sessions at once.
    pub cap: Arc<Semaphore>,
    /// Instances at once that are no session's own.
    pub spare: Arc<Semaphore>,
    /// The sessions that run, and that a stop waits for.
    pub sessions: TaskTracker,
    /// Those that it does not wait for.
    pub left_behind: TaskTracker,
    /// Those of them that are processes, and what ends these at once.
    pub children: TaskTracker,
    pub kill: CancellationToken,
    /// Cancelled when the host begins to stop, or another has taken its place.
    pub stopping: CancellationToken,
    /// How many requests are to be taken at all, where that is bounded.
    pub budget: Option<Arc<RequestQuota>>,
    pub ports: AddressBook,
    pub listener_room: ListenerRoom,
    pub counters: Arc<Counters>,
    /// Sockets that are there already.
    pub inherited: SocketStore,
}

impl HostShared {
    /// Those that a session of a plugin with these settings is one of.
    pub fn sessions_under(&self, settings: &Settings) -> &TaskTracker {
        if settings.joined { &self.sessions } else { &self.left_behind }
    }
}
