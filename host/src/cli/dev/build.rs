//! One run of a project's build command.

use std::future;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::config::LOOK;

/// How long a build may take to end by SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(2);

pub(super) struct Build {
    child: Child,
    group: Pid,
    begun: Instant,
}

impl Build {
    /// Starts the command in `folder`, in a process group of its own. What it prints goes to
    /// stderr, as stdout is for events.
    ///
    /// # Errors
    /// The shell can't be started.
    pub(super) fn start(command: &str, folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-ec", command]).current_dir(folder);
        shell.stdin(Stdio::null()).stdout(io::stderr()).process_group(0);
        let child = shell.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = group.ok_or_else(|| io::Error::other("it has no process id"))?;
        Ok(Self { child, group, begun: Instant::now() })
    }

    pub(super) fn duration(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ends it, with all that it started.
    pub(super) async fn stop(mut self) {
        // A signal fails only if no process is left in the group.
        let _ = kill_process_group(self.group, Signal::TERM);
        let gone = async {
            let _ = self.child.wait().await;
            // The shell may end before a compiler does. The group keeps its number until then.
            while test_kill_process_group(self.group).is_ok() {
                sleep(LOOK).await;
            }
        };
        if timeout(GRACE, gone).await.is_err() {
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = self.child.wait().await;
        }
    }
}

/// Waits for the end of a build; forever if there is none. Cancel-safe.
pub(super) async fn ended(build: &mut Option<Build>) -> io::Result<ExitStatus> {
    match build {
        Some(build) => build.child.wait().await,
        None => future::pending().await,
    }
}
