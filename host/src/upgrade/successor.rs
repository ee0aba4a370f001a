//! The running host's side: the process that is to take its place.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::VARIABLE;
use super::program::Executable;
use super::wire::{self, GO, Inventory, News};
use crate::config::ListenAddress;
use crate::listen::{PassedSocket, activation};

/// How long an ended process may take to be seen as such.
const SUCCESSOR_SHUTDOWN: Duration = Duration::from_secs(5);

/// An upgrade under way.
pub(crate) struct Upgrade {
    task: JoinHandle<Result<Handover, String>>,
}

/// An upgrade that is done.
pub(crate) struct Handover {
    /// The successor's process.
    pub pid: u32,
    /// What it serves now: plugins and their addresses, with their real ports.
    pub taken: HashSet<(Arc<str>, ListenAddress)>,
}

impl Upgrade {
    /// Starts `program`, which is to take these sockets and to serve all of these plugins at least,
    /// and may be silent for no longer than `patience`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn begin(
        program: Executable,
        sockets: Vec<PassedSocket>,
        plugins: BTreeSet<String>,
        patience: Duration,
    ) -> Self {
        Self { task: tokio::spawn(run(program, sockets, plugins, patience)) }
    }

    /// Waits for its end. Cancel-safe; not to be called again after that.
    ///
    /// # Errors
    /// Why the successor was ended.
    pub(crate) async fn outcome(&mut self) -> Result<Handover, String> {
        (&mut self.task).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Ends it, and the successor.
    pub(crate) async fn end(self) {
        self.task.abort();
        if let Ok(Ok(Handover { pid, .. })) = self.task.await {
            terminate(pid);
        }
    }
}

/// What became of the talk with a successor.
enum UpgradeFailure {
    /// It closed its end.
    Lost,
    Said(String),
}

impl From<io::Error> for UpgradeFailure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Lost,
            _ => Self::Said(format!("it can't be understood: {error}")),
        }
    }
}

async fn run(
    program: Executable,
    sockets: Vec<PassedSocket>,
    plugins: BTreeSet<String>,
    patience: Duration,
) -> Result<Handover, String> {
    let path = program.path.display().to_string();
    let mut successor = Successor::start(program).map_err(|error| format!("{path} can't be started: {error}"))?;
    let pid = successor.pid;
    tracing::info!(pid, program = path, "upgrade begun");
    match successor.talk(&sockets, plugins, patience).await {
        Ok(taken) => {
            let taken = taken.into_iter().filter_map(|place| sockets.get(place));
            let with_user = |handed: &PassedSocket| Some((handed.user.as_ref()?.0.clone(), handed.address.clone()));
            Ok(Handover { pid, taken: taken.filter_map(with_user).collect() })
        }
        Err(failure) => Err(format!("process {pid} is ended: {}", successor.end(failure).await)),
    }
}

struct Successor {
    child: Child,
    pid: u32,
    stream: UnixStream,
    state: UpgradeState,
}

#[derive(PartialEq, Eq)]
enum UpgradeState {
    Loading,
    /// It was told to serve.
    Going,
    /// It serves, or is gone: no longer this one's to end.
    Expired,
}

impl Successor {
    fn start(program: Executable) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let stream = UnixStream::from_std(ours)?;
        let mut command = Command::new(program.path);
        command.args(program.arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
        command.env(VARIABLE, std::process::id().to_string());
        for name in activation::VARIABLES {
            command.env_remove(name);
        }
        let child = command.spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { child, pid, stream, state: UpgradeState::Loading })
    }

    /// Brings it to serve. Returns which of the sockets it took.
    async fn talk(
        &mut self,
        sockets: &[PassedSocket],
        mut missing: BTreeSet<String>,
        patience: Duration,
    ) -> Result<Vec<usize>, UpgradeFailure> {
        let silent = |_| {
            let patience = humantime::format_duration(patience);
            UpgradeFailure::Said(format!("it was silent for {patience}"))
        };
        let hand = async {
            wire::write(&self.stream, &Inventory::of(sockets)).await?;
            let descriptors: Vec<_> = sockets.iter().map(|handed| handed.socket.as_fd()).collect();
            wire::write_descriptors(&self.stream, &descriptors).await
        };
        timeout(patience, hand).await.map_err(silent)??;
        loop {
            match timeout(patience, wire::read(&self.stream)).await.map_err(silent)?? {
                News::Loaded { plugin } => drop(missing.remove(&plugin)),
                News::Refused { plugin, reason } if missing.contains(&plugin) => {
                    return Err(UpgradeFailure::Said(format!("it refuses plugin {plugin}, which serves: {reason}")));
                }
                News::Refused { .. } => {}
                News::Ready => match missing.first() {
                    None => {
                        self.state = UpgradeState::Going;
                        timeout(patience, wire::write_all(&self.stream, &[GO])).await.map_err(silent)??;
                    }
                    Some(plugin) => {
                        return Err(UpgradeFailure::Said(format!("it does not find plugin {plugin}, which serves")));
                    }
                },
                News::Serving { taken } if self.state == UpgradeState::Going => {
                    self.state = UpgradeState::Expired;
                    return Ok(taken);
                }
                News::Serving { .. } => return Err(UpgradeFailure::Said("it did not wait to be told".to_owned())),
            }
        }
    }

    /// Ends it, if it did not end by itself. Returns why.
    async fn end(mut self, failure: UpgradeFailure) -> String {
        let reason = match failure {
            UpgradeFailure::Said(reason) => reason,
            UpgradeFailure::Lost => match timeout(SUCCESSOR_SHUTDOWN, self.child.wait()).await {
                Ok(Ok(status)) => format!("it ended before it was ready, {status}"),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it closed its stdin".to_owned(),
            },
        };
        if timeout(SUCCESSOR_SHUTDOWN, self.child.kill()).await.is_ok() {
            self.state = UpgradeState::Expired;
        }
        reason
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        match self.state {
            UpgradeState::Loading => {
                let _ = self.child.start_kill();
            }
            // It may have sessions by now.
            UpgradeState::Going => terminate(self.pid),
            UpgradeState::Expired => {}
        }
    }
}

/// Tells a successor to stop as hosts do. One that is gone needs not be told.
fn terminate(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_that_says_nothing_is_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let program = Executable { path: "/bin/sleep".into(), arguments: vec!["600".into()] };
            let mut upgrade = Upgrade::begin(program, Vec::new(), BTreeSet::new(), Duration::from_millis(20));
            let cause = upgrade.outcome().await.err().unwrap();
            assert!(cause.ends_with("is ended: it was silent for 20ms"), "{cause}");
            let pid = cause.split(' ').nth(1).unwrap();
            assert!(!std::path::Path::new("/proc").join(pid).exists(), "it is gone");
        });
    }
}
