//! Hints that something in the plugin folder may have changed. Only hints: what did change, a scan finds out.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// How long a folder has to be quiet before it is looked at, and how long at the most that is waited for.
const QUIET: Duration = Duration::from_millis(50);
const RESTLESS: Duration = Duration::from_millis(500);

/// Watches folders, not files: a file that is replaced takes its watch with it.
pub struct Watch {
    /// None where the system gives no watch: the periodic scan has to do then.
    watcher: Option<RecommendedWatcher>,
    /// The folders watched, by what they were when the watch was made.
    watched: HashMap<PathBuf, (u64, u64)>,
    settled: Arc<Notify>,
    _settling: AbortOnDropHandle<()>,
}

impl Watch {
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start() -> Self {
        let (hint, settled) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let settling = tokio::spawn(settle(hint.clone(), settled.clone()));
        let sender = hint;
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change, and scans read. An error may mean that events were lost: a hint, too.
            let reading = event.is_ok_and(
                |event| matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)),
            );
            if !reading {
                sender.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "no events from the file system; looking at the folder instead"),
            )
            .ok();
        Self { watcher, watched: HashMap::new(), settled, _settling: AbortOnDropHandle::new(settling) }
    }

    /// Whether events come at all.
    pub fn works(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches these folders, and no others. One that is not there is left for later.
    pub fn cover(&mut self, folders: impl IntoIterator<Item = PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: HashMap<PathBuf, (u64, u64)> =
            folders.into_iter().filter_map(|folder| Some((folder.clone(), identity(&folder)?))).collect();
        // A folder that was made anew under its old name needs a new watch as well.
        let stale: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|(folder, id)| wanted.get(*folder) != Some(id))
            .map(|(f, _)| f.clone())
            .collect();
        for folder in stale {
            self.watched.remove(&folder);
            let _ = watcher.unwatch(&folder); // Gone by itself where the folder is gone.
        }
        for (folder, id) in wanted {
            if self.watched.contains_key(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder, id);
                }
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "can't watch the folder; looking at it instead");
                    self.watcher = None;
                    return;
                }
            }
        }
    }

    /// Waits until something may have changed, and the change seems done. Cancel-safe.
    pub async fn changed(&self) {
        self.settled.notified().await;
    }
}

/// Passes hints on once no more of them come.
async fn settle(hint: Arc<Notify>, settled: Arc<Notify>) {
    loop {
        hint.notified().await;
        let quiet = async { while tokio::time::timeout(QUIET, hint.notified()).await.is_ok() {} };
        let _ = tokio::time::timeout(RESTLESS, quiet).await;
        settled.notify_one();
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}
