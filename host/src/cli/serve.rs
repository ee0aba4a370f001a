//! `wharf serve` and `wharf run`: puts a host together, and runs it to its end.

use std::future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::level_filters::LevelFilter;

use crate::capacity::{Capacity, ListenerRoom};
use crate::listen::{AddressBook, PassedSocket, RequestQuota, SocketStore};
use crate::plugin::{Cache, Loader, TRIALS, WARM_INSTANCES};
use crate::report::{LogStyle, Notifier, log};
use crate::sandbox::Engines;
use crate::session::{HostShared, SPARE_INSTANCES};
use crate::supervisor::{End, Plan, Supervisor};
use crate::upgrade::{Executable, Predecessor};

/// What the command line asked for.
pub struct ServeOptions {
    pub plan: Plan,
    pub cache: Option<PathBuf>,
    pub log: LevelFilter,
    pub log_style: LogStyle,
}

/// Serves until told to stop, on `sockets` where plugins ask for their addresses.
///
/// # Errors
/// The machine does not give what serving takes, or a host that is to be replaced does not give its
/// sockets.
pub fn serve(host: ServeOptions, sockets: Vec<PassedSocket>) -> anyhow::Result<ExitCode> {
    serve_beside(host, sockets, |_| future::ready(()))
}

/// Serves as [`serve`] does, with `work` beside it. That has to end when its token is cancelled,
/// which is when the host begins to stop.
///
/// # Errors
/// As [`serve`].
pub fn serve_beside<W: Future<Output = ()> + Send + 'static>(
    host: ServeOptions,
    mut sockets: Vec<PassedSocket>,
    work: impl FnOnce(CancellationToken) -> W,
) -> anyhow::Result<ExitCode> {
    let program = Executable::of_this_process().context("the path of this program is not known")?;
    log::to_stderr(host.log, host.log_style);
    let capacity = Capacity::of_this_machine(host.plan.config.max_connections);
    let loader = loader(capacity.sessions, host.cache, true)?;
    tracing::info!(
        max_connections = capacity.sessions,
        descriptors = capacity.descriptors,
        mappings = capacity.mappings,
        "wharf {}",
        env!("CARGO_PKG_VERSION")
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(Engines::prepare_thread)
        .build()
        .context("no async runtime")?;
    let end = runtime.block_on(async {
        let predecessor = Predecessor::meet().await?.map(|(predecessor, left)| {
            sockets.extend(left);
            predecessor
        });
        let cap = Arc::new(Semaphore::new(capacity.sessions as usize));
        let listener_room = ListenerRoom::new(capacity, cap.clone());
        let shared = HostShared {
            cap: cap.clone(),
            spare: Arc::new(Semaphore::new(SPARE_INSTANCES as usize)),
            sessions: TaskTracker::new(),
            left_behind: TaskTracker::new(),
            children: TaskTracker::new(),
            kill: CancellationToken::new(),
            stopping: CancellationToken::new(),
            budget: host.plan.requests.map(|requests| Arc::new(RequestQuota::new(requests))),
            ports: AddressBook::default(),
            inherited: SocketStore::new(sockets, &listener_room),
            listener_room,
            counters: Arc::default(),
        };
        let stopping = shared.stopping.clone();
        let work = tokio::spawn(work(stopping.clone()));
        let supervisor = Supervisor::new(host.plan, Arc::new(loader), shared, program, Notifier::of_this_process());
        let end = supervisor.run(predecessor).await.context("signals can't be listened for");
        stopping.cancel();
        work.await.context("the work beside serving panicked")?;
        end
    });
    // Sessions that a stop does not wait for go on until the process is gone. A runtime that shuts
    // down would tell them of errors that never were.
    std::mem::forget(runtime);
    Ok(match end? {
        End::Stopped => ExitCode::SUCCESS,
        End::Failed | End::AtOnce => ExitCode::FAILURE,
    })
}

/// A loader with room for so many sessions, which gives way to them if it is `behind`.
///
/// # Errors
/// The machine does not give the address space, or the mappings.
pub fn loader(sessions: u32, cache: Option<PathBuf>, behind: bool) -> anyhow::Result<Loader> {
    // Every plugin that is loaded is tried out in an instance.
    let engines = Engines::new(sessions.saturating_add(SPARE_INSTANCES + WARM_INSTANCES + TRIALS))
        .map_err(anyhow::Error::from)
        .with_context(|| {
            format!(
                "no room for {sessions} sandboxes, each of which takes 4 GiB of addresses (not of memory); lift the limit of them \
                 (ulimit -v, LimitAS=), or set max-connections lower in wharf.toml"
            )
        })?;
    let cache = cache.and_then(|folder| match Cache::open(&folder) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(%error, "compiled code is not kept between runs");
            None
        }
    });
    Ok(Loader::new(engines, cache, behind))
}
