//! Keeps what is served equal to what stands in the folder: start the new, swap, retire the old.
//! Whatever fails leaves the old in place.

mod addresses;
mod loading;
mod replaced;
mod serving;
mod stop;
mod succession;
mod taking_over;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::capacity::outlive_file_size_limit;
use crate::config::{HostConfig, LOOK, ListenAddress, WRITING, places_of};
use crate::listen::RequestQuota;
use crate::plugin::{Fingerprint, Folder, Loaded, Loader, PluginFiles, PluginSource, Watch};
use crate::report::{Event, Notifier};
use crate::session::HostShared;
use crate::upgrade::{Executable, Predecessor, Upgrade};
use addresses::is_claimed;
use loading::{Claims, Load};
use replaced::Replaced;
use serving::Serving;
use stop::{Hangup, HangupMeaning, Stop};
use succession::upgraded;

/// How long a plugin's file must be gone before its plugin is: tools that replace a file may remove
/// it first.
const GONE: Duration = Duration::from_millis(250);
/// How often an address that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How soon a file is looked at again that was refused, but written so recently that its writer may
/// not be done.
const HALF_WRITTEN: Duration = Duration::from_millis(200);
/// How often the folder is looked at where no events come, or where it is away.
const POLL: Duration = Duration::from_secs(1);

/// What a host is to serve, and how.
pub struct Plan {
    pub source: PluginSource,
    /// Host-wide settings, which are read again with every scan; there need not be such a file.
    pub config_file: Option<PathBuf>,
    pub config: HostConfig,
    /// Addresses from the command line, instead of the manifest's.
    pub listen: Option<Vec<ListenAddress>>,
    /// How many requests to take before the host stops, and how long to wait for each.
    pub requests: Option<u32>,
    pub timeout: Option<Duration>,
    /// Whether the host ends if a plugin can't be served when it starts.
    pub strict: bool,
}

/// How a host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Told to stop; every session ended in its time.
    Stopped,
    /// What it was to serve can't be served.
    Failed,
    /// Told a second time.
    AtOnce,
}

/// The plugins of one host.
pub(crate) struct Supervisor {
    plan: Plan,
    loader: Arc<Loader>,
    shared: HostShared,
    folder: Folder,
    folder_is_there: bool,
    /// Counts the host-wide settings that there were, as plugins are loaded under them.
    revision: u64,
    /// What was said of the file of these, where it is wrong, and since when somebody has been
    /// writing it.
    config_error: Option<String>,
    config_early: Option<Instant>,
    watch: Watch,
    plugins: BTreeMap<String, PluginEntry>,
    loads: JoinSet<Load>,
    /// When to look at the folder though no event came.
    next_scan: Instant,
    /// When to try again for addresses; none while all are had.
    next_retry: Option<Instant>,
    /// Those that another has replaced, and that had sessions when they were last looked at.
    replaced: Vec<Replaced>,
    /// When the last of the generations has to be gone that have to end.
    last_deadline: Instant,
    /// What this host's successor is started from, and the upgrade under way. Until that ends,
    /// nothing is changed here.
    program: Executable,
    upgrade: Option<Upgrade>,
    manager: Notifier,
    /// What is told once no load is left to wait for.
    awaited: Option<Awaited>,
    /// Whether another host serves until this one takes over what it has loaded.
    is_successor: bool,
}

/// What loads belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Start,
    Reload,
}

/// One name in the folder.
#[derive(Default)]
struct PluginEntry {
    /// What was loaded or refused last; none if that is to be done again.
    tried: Option<Fingerprint>,
    /// What serves, and the revision of the host-wide settings that it serves under.
    served: Option<(Fingerprint, u64)>,
    /// What is being loaded now asks for.
    loading: Option<Claims>,
    /// Whether a scan found it since that load began.
    seen_while_loading: bool,
    /// Whether a refusal that this load comes to is to be tried again.
    forget: bool,
    refused: bool,
    /// The host-side failure that was last reported. The load is tried again, and the failure is
    /// not repeated.
    said: Option<String>,
    gone_since: Option<Instant>,
    serving: Option<Serving>,
}

impl Supervisor {
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn new(
        plan: Plan,
        loader: Arc<Loader>,
        shared: HostShared,
        program: Executable,
        manager: Notifier,
    ) -> Self {
        let now = Instant::now();
        Self {
            folder: Folder::new(plan.source.clone()),
            plan,
            loader,
            shared,
            folder_is_there: true,
            revision: 0,
            config_error: None,
            config_early: None,
            watch: Watch::start(),
            plugins: BTreeMap::new(),
            loads: JoinSet::new(),
            next_scan: now,
            next_retry: None,
            replaced: Vec::new(),
            last_deadline: now,
            program,
            upgrade: None,
            manager,
            awaited: Some(Awaited::Start),
            is_successor: false,
        }
    }

    /// Serves until told to stop, or replaced by a successor; in the place of `predecessor`, if
    /// there is one.
    ///
    /// # Errors
    /// Signals can't be listened for.
    pub(crate) async fn run(mut self, predecessor: Option<Predecessor>) -> io::Result<End> {
        outlive_file_size_limit()?;
        let mut stop = Stop::new()?;
        let mut hangup = Hangup::new()?;
        let mut ask = signal(SignalKind::user_defined1())?;
        let mut upgrade = signal(SignalKind::user_defined2())?;
        self.rescan().await;
        if let Some(predecessor) = predecessor
            && let Err(end) = self.succeed(predecessor, &mut stop).await
        {
            return Ok(end);
        }
        loop {
            if self.loads.is_empty() && self.config_early.is_none_or(|since| since.elapsed() >= WRITING) {
                self.settled();
            }
            let free = self.upgrade.is_none();
            let retry = async {
                match self.next_retry {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let enough = enough(self.shared.budget.as_deref(), self.plan.timeout);
            tokio::select! {
                () = stop.asked() => break,
                () = enough => break,
                // Once all that was there before is told of, so that nobody is left to tell of it.
                _ = upgrade.recv(), if self.awaited.is_none() => self.begin_upgrade(),
                outcome = upgraded(&mut self.upgrade) => {
                    self.upgrade = None;
                    match outcome {
                        Ok(handover) => return Ok(self.hand_over(handover, stop).await),
                        Err(cause) => tracing::error!(cause, "upgrade failed: this host serves on"),
                    }
                }
                asked = hangup.received(), if free => match asked {
                    HangupMeaning::Stop => {
                        tracing::info!("the terminal was closed: this host stops");
                        break;
                    }
                    HangupMeaning::Reload => {
                        self.manager.reloading();
                        self.awaited.get_or_insert(Awaited::Reload);
                        self.forget_refusals();
                        self.rescan().await;
                    }
                },
                _ = ask.recv() => {
                    self.shared.counters.log();
                    self.log_replaced();
                }
                () = self.watch.changed(), if free => self.rescan().await,
                () = sleep_until(self.next_scan), if free => self.rescan().await,
                () = retry, if free => self.retry().await,
                Some(load) = self.loads.join_next(), if free => match load {
                    Ok(load) => {
                        if self.loaded(load).await.is_err() {
                            return Ok(End::Failed);
                        }
                    }
                    Err(error) => tracing::error!(cause = error.to_string(), "host fault"),
                },
            }
        }
        if let Some(upgrade) = self.upgrade.take() {
            upgrade.end().await;
        }
        Ok(self.drain(stop).await)
    }

    /// Tells of what was awaited.
    fn settled(&mut self) {
        let Some(awaited) = self.awaited.take() else { return };
        if awaited == Awaited::Start {
            self.settle_sockets();
        }
        let serving: Vec<&Serving> = self.plugins.values().filter_map(|entry| entry.serving.as_ref()).collect();
        let addresses: usize = serving.iter().map(|serving| serving.servers().len()).sum();
        self.manager.ready(&format!("Plugins: {}, addresses: {addresses}", serving.len()));
    }

    /// Names the sockets that nobody asked for, now that everybody was asked.
    fn settle_sockets(&self) {
        let idle: Vec<String> = self.shared.inherited.settle().iter().map(ListenAddress::to_string).collect();
        if !idle.is_empty() {
            tracing::warn!(sockets = idle.join(" "), "no plugin listens there: these sockets of systemd's are kept");
        }
    }

    /// Looks at the folder, and begins what follows from it.
    async fn rescan(&mut self) {
        self.restore_sockets().await;
        if !self.read_config() {
            // It belongs to what is in the folder: half of it is not to be served with the rest.
            self.next_scan = Instant::now() + LOOK;
            return;
        }
        let scanned = self.folder.scan();
        self.cover();
        self.next_scan = Instant::now() + if self.watch.works() { self.plan.config.rescan } else { POLL };
        match scanned {
            Ok(found) => {
                self.folder_is_there = true;
                self.unload_what_is_gone(&found).await;
                // Perhaps not for the file's sake, but for want of descriptors: nothing tells when
                // there are some again.
                if found.values().any(|found| found.fingerprint.is_unreadable()) {
                    self.scan_within(POLL);
                }
                for (name, found) in found {
                    self.load(name, found);
                }
                self.move_listeners().await;
            }
            Err(error) => {
                // A folder that is away, be it for a moment, says nothing about what should be
                // served.
                if std::mem::replace(&mut self.folder_is_there, false) {
                    let folder = self.plan.source.folder().display();
                    tracing::warn!(%folder, %error, "the folder can't be read; waiting for it");
                }
                self.scan_within(POLL);
            }
        }
    }

    /// Lets what was refused be tried again though its files are the same: what they need may be
    /// there now. So is what serves, where a folder that it was granted is another by now.
    fn forget_refusals(&mut self) {
        let has_moved = |entry: &PluginEntry| {
            let settings = entry.serving.as_ref().map(|serving| &serving.loaded().settings);
            let folders = settings.into_iter().flat_map(|settings| &settings.grants.dirs);
            folders.filter_map(|grant| grant.folder.as_ref()).any(|folder| folder.has_moved())
        };
        for entry in self.plugins.values_mut() {
            entry.forget |= entry.loading.is_some();
            if entry.refused || has_moved(entry) {
                entry.tried = None;
            }
        }
    }

    fn scan_within(&mut self, wait: Duration) {
        self.next_scan = self.next_scan.min(Instant::now() + wait);
    }

    /// Reads host-wide settings again. Wrong ones leave the old in place. Whether they are settled:
    /// not while somebody is writing them, for which there is a limit.
    fn read_config(&mut self) -> bool {
        let Some(file) = &self.plan.config_file else { return true };
        let config = match HostConfig::read(file) {
            Ok(config) => config.unwrap_or_default(),
            Err(error) => {
                if error.is_early() {
                    if self.config_early.get_or_insert_with(Instant::now).elapsed() < WRITING {
                        self.scan_within(LOOK);
                        return false;
                    }
                    self.scan_within(POLL);
                }
                let error = error.to_string();
                // Said once, unless the reason is a new one.
                if self.config_error.as_ref() != Some(&error) {
                    tracing::error!(error, "host-wide settings stay as they were");
                }
                self.config_error = Some(error);
                return true;
            }
        };
        (self.config_error, self.config_early) = (None, None);
        if config.defaults != self.plan.config.defaults {
            // They lie under every manifest.
            self.revision += 1;
            self.plugins.values_mut().for_each(|entry| entry.tried = None);
        }
        self.plan.config = config;
        true
    }

    /// Watches the plugin folder; its parent, for when it is made, or replaced as a whole; the
    /// places of links that lead to it or lie in it; and the place of the host-wide settings.
    fn cover(&mut self) {
        let folder = self.plan.source.folder();
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let config = self.plan.config_file.as_ref().and_then(|file| std::path::absolute(file).ok());
        let parents = [Some(folder.as_path()), config.as_deref()].map(|path| Some(path?.parent()?.to_owned()));
        let links = [Some(folder.as_path()), config.as_deref()].into_iter().flatten().flat_map(places_of);
        let folders = parents.into_iter().flatten().chain(links).chain(self.folder.places());
        self.watch.cover(folders.chain([folder.clone()]).collect::<Vec<_>>());
    }

    async fn unload_what_is_gone(&mut self, found: &BTreeMap<String, PluginFiles>) {
        let mut gone = Vec::new();
        for (name, entry) in &mut self.plugins {
            if found.contains_key(name) {
                entry.gone_since = None;
            } else if entry.gone_since.get_or_insert_with(Instant::now).elapsed() >= GONE && entry.loading.is_none() {
                gone.push(name.clone());
            } else {
                self.next_scan = self.next_scan.min(Instant::now() + GONE);
            }
        }
        let claims = self.claims();
        for name in gone {
            // A plugin that is being loaded may want its address.
            let serving = self.plugins.get(&name).and_then(|entry| entry.serving.as_ref());
            let mut servers = serving.into_iter().flat_map(Serving::servers);
            if servers.any(|server| is_claimed(&claims, &name, server.address())) {
                self.next_scan = self.next_scan.min(Instant::now() + LOOK);
                continue;
            }
            if let Some(PluginEntry { serving: Some(mut serving), .. }) = self.plugins.remove(&name) {
                for other in self.plugins.values_mut().filter_map(|entry| entry.serving.as_mut()) {
                    for address in other.missing().cloned().collect::<Vec<_>>() {
                        if let Some(server) = serving.give(&address, true) {
                            other.take(server).await;
                        }
                    }
                }
                serving.close().await;
                let Loaded { generation, settings, .. } = serving.loaded();
                self.retire(generation, settings);
                self.end_replaced(Some(&name));
                serving.log_counts();
                Event::Unloaded(&name).emit();
            }
        }
    }

    /// Has Unix sockets back whose files were removed.
    async fn restore_sockets(&mut self) {
        for serving in self.plugins.values_mut().filter_map(|entry| entry.serving.as_mut()) {
            serving.restore().await;
        }
        self.schedule_retry();
    }
}

/// Waits until the requests that were asked for have been taken, or none has come for so long.
async fn enough(budget: Option<&RequestQuota>, timeout: Option<Duration>) {
    let Some(budget) = budget else { return std::future::pending().await };
    let Some(timeout) = timeout else { return budget.spent().await };
    tokio::select! {
        () = budget.spent() => {}
        () = budget.unused_for(timeout) => {
            tracing::info!("no request for {}", humantime::format_duration(timeout));
        }
    }
}
