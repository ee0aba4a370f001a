//! How a host ends: the signals that ask for it, and what its sessions still get.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep_until;
use tokio_util::task::TaskTracker;

use super::{End, Supervisor};
use crate::config::ListenAddress;
use crate::plugin::Loaded;
use crate::report::Event;

/// How long sessions may take to end once the last drain deadline has come, before the host goes
/// without them.
const LAST_SESSIONS: Duration = Duration::from_secs(5);
/// How long the killed children of a host that exits at once may take to be gone.
const AT_ONCE: Duration = Duration::from_millis(500);

/// SIGTERM and SIGINT, which mean the same.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From here on neither ends the process by itself.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one of either. Cancel-safe.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP, which has two meanings: look again, and, from a terminal that was closed, stop.
pub(super) struct Hangup {
    signal: Signal,
    /// Whether the end of a terminal is the end of this process.
    has_terminal: bool,
}

/// What a SIGHUP asks for.
pub(super) enum HangupMeaning {
    Reload,
    Stop,
}

impl Hangup {
    /// From here on it does not end the process by itself.
    pub(super) fn new() -> io::Result<Self> {
        // nohup(1) begins a program with the signal ignored, and means it.
        let has_terminal = terminal_is_there() && !is_ignored();
        Ok(Self { signal: signal(SignalKind::hangup())?, has_terminal })
    }

    /// Waits for the next one. Cancel-safe.
    pub(super) async fn received(&mut self) -> HangupMeaning {
        self.signal.recv().await;
        // The kernel takes the terminal from every process of its session before it tells them.
        if self.has_terminal && !terminal_is_there() { HangupMeaning::Stop } else { HangupMeaning::Reload }
    }
}

/// Whether this process has a controlling terminal (tty(4)).
fn terminal_is_there() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether SIGHUP, the first of all signals, is ignored (proc_pid_status(5)).
fn is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

impl Supervisor {
    /// Stops accepting, and gives what runs its time.
    pub(super) async fn drain(mut self, mut stop: Stop) -> End {
        self.shared.stopping.cancel();
        self.loads.abort_all();
        let sessions = self.shared.sessions.len();
        self.manager.stopping(sessions);
        Event::Draining(sessions).emit();
        self.close_all_but(&HashSet::new()).await;
        let end = self.last_sessions(&mut stop, &[&self.shared.sessions]).await;
        if end == End::Stopped {
            Event::Stopped.emit();
        }
        end
    }

    /// Ends all servers but those that another process has now.
    pub(super) async fn close_all_but(&mut self, taken: &HashSet<(Arc<str>, ListenAddress)>) {
        for entry in std::mem::take(&mut self.plugins).into_values() {
            if let Some(mut serving) = entry.serving {
                let name: Arc<str> = serving.name().into();
                serving.leave(|address| taken.contains(&(name.clone(), address.clone()))).await;
                serving.close().await;
                let Loaded { generation, settings, .. } = serving.loaded();
                self.retire(generation, settings);
            }
        }
        self.end_replaced(None);
    }

    /// Waits for the end of these sessions, for as long as their deadlines allow.
    pub(super) async fn last_sessions(&self, stop: &mut Stop, trackers: &[&TaskTracker]) -> End {
        let ended = async {
            for sessions in trackers {
                sessions.close();
                sessions.wait().await;
            }
        };
        tokio::select! {
            biased; // Where no session is left, it does not matter that the last deadline was long ago.
            () = ended => {}
            () = stop.asked() => {
                // What is in this process ends with it; children have to be told.
                self.shared.kill.cancel();
                self.shared.children.close();
                let _ = tokio::time::timeout(AT_ONCE, self.shared.children.wait()).await;
                return End::AtOnce;
            }
            () = sleep_until(self.last_deadline + LAST_SESSIONS) => {
                let sessions: usize = trackers.iter().map(|sessions| sessions.len()).sum();
                tracing::error!(sessions, "sessions that did not end at the drain deadline are left");
            }
        }
        self.shared.counters.log();
        End::Stopped
    }
}
