//! What has come of each plugin's requests: counted as it happens, and written to the log when
//! somebody asks, when the plugin goes, and when the host stops. And how much of the log a plugin
//! may fill.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::outcome::{FaultKind, Phase};
use super::rate_limit::{LogCategory, PERIOD, Throttle, Verdict};

/// The tallies of a host: those of plugins that serve, and of those that are gone but for a
/// session.
#[derive(Default)]
pub struct Counters(Mutex<Vec<Weak<PluginStats>>>);

impl Counters {
    /// Begins to count for a plugin.
    pub fn plugin(&self, name: &str) -> Arc<PluginStats> {
        let stats = Arc::new(PluginStats::new(name));
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.retain(|stats| stats.strong_count() > 0);
        tallies.push(Arc::downgrade(&stats));
        stats
    }

    /// Writes a line for each plugin for which anything was counted.
    pub fn log(&self) {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tallies.iter().filter_map(Weak::upgrade).for_each(|stats| stats.log());
    }
}

/// One plugin's counts, from when it began to serve, over all its generations.
///
/// Nothing of it is touched by a message: a session counts itself once, and each of its faults.
pub struct PluginStats {
    plugin: Arc<str>,
    sessions: AtomicU64,
    refused: AtomicU64,
    probes: AtomicU64,
    /// Datagrams that the kernel dropped before the host took them.
    dropped: AtomicU64,
    /// Threads that do file work, be it for a session that has ended meanwhile.
    file_work: AtomicI64,
    failed: [[AtomicU64; FaultKind::ALL.len()]; Phase::ALL.len()],
    throttles: [Throttle; LogCategory::ALL.len()],
    /// The sum of all, when it was last logged.
    logged: AtomicU64,
}

impl PluginStats {
    pub fn new(plugin: &str) -> Self {
        Self::with_share(plugin, 1.0)
    }

    /// The same for one session that is in a process of its own, and knows nothing of the others: a
    /// tenth of the log.
    pub fn of_one_session(plugin: &str) -> Self {
        Self::with_share(plugin, 0.1)
    }

    fn with_share(plugin: &str, share: f64) -> Self {
        Self {
            plugin: plugin.into(),
            sessions: AtomicU64::default(),
            refused: AtomicU64::default(),
            probes: AtomicU64::default(),
            dropped: AtomicU64::default(),
            file_work: AtomicI64::default(),
            failed: Default::default(),
            throttles: LogCategory::ALL.map(|topic| Throttle::new(topic, share)),
            logged: AtomicU64::default(),
        }
    }

    /// A request has come.
    pub fn begun(&self) {
        self.sessions.fetch_add(1, Relaxed);
    }

    /// Its client was turned away, by the operator's lists or the plugin's `verify-request`.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Its client left without having sent a byte.
    pub fn probed(&self) {
        self.probes.fetch_add(1, Relaxed);
    }

    /// The kernel dropped datagrams, as their queue was full.
    pub fn dropped(&self, count: u32) {
        self.dropped.fetch_add(count.into(), Relaxed);
    }

    /// So many threads more do file work, or less.
    pub fn file_work(&self, threads: i64) {
        self.file_work.fetch_add(threads, Relaxed);
    }

    /// Something failed, in this phase and for this kind of cause.
    pub fn failed(&self, phase: Phase, kind: FaultKind) {
        self.failed[phase as usize][kind as usize].fetch_add(1, Relaxed);
    }

    /// What failed so far, and how often.
    pub fn failures(&self) -> Vec<(Phase, FaultKind, u64)> {
        let phases = Phase::ALL.iter().zip(&self.failed);
        let all =
            phases.flat_map(|(phase, kinds)| FaultKind::ALL.iter().zip(kinds).map(move |(kind, n)| (*phase, *kind, n)));
        all.map(|(phase, kind, count)| (phase, kind, count.load(Relaxed))).filter(|(.., count)| *count > 0).collect()
    }

    /// Whether a line of so many bytes may be logged. What may not is counted, and a second later a
    /// line says how much it was.
    pub fn may_log(self: &Arc<Self>, topic: LogCategory, bytes: usize) -> bool {
        let verdict = self.throttles[topic as usize].ask(bytes, Instant::now());
        self.told(topic, verdict)
    }

    /// Counts lines that are not logged because one that came with them was not.
    pub fn suppress(self: &Arc<Self>, topic: LogCategory, lines: u64) {
        self.told(topic, self.throttles[topic as usize].suppress(lines));
    }

    /// Has it said what was suppressed, the first time; whether the line is admitted.
    fn told(self: &Arc<Self>, topic: LogCategory, verdict: Verdict) -> bool {
        // Where there is no runtime any more, the count is all that is said of it.
        if verdict == Verdict::FirstSuppressed
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let stats = self.clone();
            runtime.spawn(async move {
                tokio::time::sleep(PERIOD).await;
                stats.say_suppressed(topic);
            });
        }
        verdict == Verdict::Admitted
    }

    fn say_suppressed(&self, topic: LogCategory) {
        let lines = self.throttles[topic as usize].take_unsaid();
        if lines > 0 {
            let (plugin, what) = (&self.plugin, topic.name());
            tracing::warn!(%plugin, lines, %what, "suppressed: more than the log takes of one plugin");
        }
    }

    /// Writes the counts, if there are any.
    pub fn log(&self) {
        let mut line = String::new();
        let mut sum = 0;
        let mut add = |name: std::fmt::Arguments<'_>, count: u64| {
            if count > 0 {
                sum += count;
                let _ = write!(line, " {name}={count}");
            }
        };
        add(format_args!("sessions"), self.sessions.load(Relaxed));
        add(format_args!("refused"), self.refused.load(Relaxed));
        add(format_args!("probes"), self.probes.load(Relaxed));
        add(format_args!("dropped"), self.dropped.load(Relaxed));
        for (phase, kinds) in Phase::ALL.iter().zip(&self.failed) {
            for (kind, count) in FaultKind::ALL.iter().zip(kinds) {
                add(format_args!("{phase}.{kind}"), count.load(Relaxed));
            }
        }
        for (topic, throttle) in LogCategory::ALL.iter().zip(&self.throttles) {
            add(format_args!("suppressed.{}", topic.name()), throttle.suppressed());
        }
        if sum > 0 {
            self.logged.store(sum, Relaxed);
            // Not a sum of anything: how many there are now.
            let file_work = self.file_work.load(Relaxed);
            if file_work > 0 {
                let _ = write!(line, " file-work={file_work}");
            }
            let plugin = &self.plugin;
            tracing::info!(%plugin, "counted{line}");
        }
    }

    fn sum(&self) -> u64 {
        let failed = self.failed.iter().flatten().chain([&self.sessions, &self.refused, &self.probes, &self.dropped]);
        let suppressed = self.throttles.iter().map(Throttle::suppressed);
        failed.map(|count| count.load(Relaxed)).chain(suppressed).sum()
    }

    /// What another process is to be told, which has counted the session itself.
    pub fn report(&self) -> Report {
        for topic in LogCategory::ALL {
            self.say_suppressed(topic);
        }
        self.logged.store(self.sum(), Relaxed);
        Report {
            refused: self.refused.load(Relaxed),
            probes: self.probes.load(Relaxed),
            failed: self.failed.each_ref().map(|kinds| kinds.each_ref().map(|count| count.load(Relaxed))),
            suppressed: self.throttles.each_ref().map(Throttle::suppressed),
        }
    }

    /// Adds what another process has counted.
    pub fn add(&self, report: &Report) {
        self.refused.fetch_add(report.refused, Relaxed);
        self.probes.fetch_add(report.probes, Relaxed);
        for (count, more) in self.failed.iter().flatten().zip(report.failed.iter().flatten()) {
            count.fetch_add(*more, Relaxed);
        }
        for (throttle, more) in self.throttles.iter().zip(report.suppressed) {
            throttle.add_suppressed(more);
        }
    }
}

/// What was counted since it was last said: sessions may outlast the moment when their plugin was
/// unloaded.
impl Drop for PluginStats {
    fn drop(&mut self) {
        if self.sum() > self.logged.load(Relaxed) {
            self.log();
        }
    }
}

/// What one process tells another of a [`PluginStats`].
#[derive(Serialize, Deserialize)]
pub struct Report {
    refused: u64,
    probes: u64,
    failed: [[u64; FaultKind::ALL.len()]; Phase::ALL.len()],
    suppressed: [u64; LogCategory::ALL.len()],
}
