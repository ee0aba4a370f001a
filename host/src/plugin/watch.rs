//! Hints that something in the plugin folder may have changed. Only hints: what did change, a scan
//! finds out.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::capacity::room_for_a_thread;

/// How long a folder has to be quiet before it is looked at, and how long at the most that is
/// waited for.
const DEBOUNCE: Duration = Duration::from_millis(50);
const RESTLESS: Duration = Duration::from_millis(500);

/// Watches folders, not files: a file that is replaced takes its watch with it.
pub struct Watch {
    /// None where the system gives no watch: the periodic scan has to do then.
    watcher: Option<RecommendedWatcher>,
    /// The folders watched, by what they were when the watch was made.
    watched: HashMap<PathBuf, (u64, u64)>,
    hint: Arc<Notify>,
    settled: Arc<Notify>,
    _settling: AbortOnDropHandle<()>,
}

impl Watch {
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start() -> Self {
        let (hint, settled) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let settling = tokio::spawn(settle(hint.clone(), settled.clone()));
        let watcher = watcher(&hint).inspect_err(missed).ok();
        Self { watcher, watched: HashMap::new(), hint, settled, _settling: AbortOnDropHandle::new(settling) }
    }

    /// Whether events come at all.
    pub fn works(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches these folders, and no others. One that is not there is left for later. Where the
    /// system gave no watch the last time, it is asked again.
    pub fn cover(&mut self, folders: impl IntoIterator<Item = PathBuf>) {
        // Once each, by whatever path: the system has one watch for a folder, and gives it up for
        // all of its paths.
        let mut once: HashMap<(u64, u64), PathBuf> = HashMap::new();
        for folder in folders {
            let Some(id) = identity(&folder) else { continue };
            if self.watched.get(&folder) == Some(&id) {
                once.insert(id, folder);
            } else {
                once.entry(id).or_insert(folder);
            }
        }
        let wanted: HashMap<PathBuf, (u64, u64)> = once.into_iter().map(|(id, folder)| (folder, id)).collect();
        match self.watcher.take() {
            Some(watcher) => match self.cover_by(watcher, wanted) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => missed(&error),
            },
            // It was said that there is none.
            None => {
                self.watched.clear();
                if let Ok(watcher) = watcher(&self.hint).and_then(|watcher| self.cover_by(watcher, wanted)) {
                    tracing::info!("events from the file system come again");
                    self.watcher = Some(watcher);
                }
            }
        }
    }

    fn cover_by(
        &mut self,
        mut watcher: RecommendedWatcher,
        wanted: HashMap<PathBuf, (u64, u64)>,
    ) -> notify::Result<RecommendedWatcher> {
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
                Ok(()) => _ = self.watched.insert(folder, id),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(watcher)
    }

    /// Waits until something may have changed, and the change seems done. Cancel-safe.
    pub async fn changed(&self) {
        self.settled.notified().await;
    }
}

fn watcher(hint: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    // notify takes a thread of its own for granted, and panics later where there was none.
    room_for_a_thread()?;
    let _ = thread::Builder::new().spawn(|| {})?.join();
    let hint = hint.clone();
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is no change, and scans read. An error may mean that events were lost: a hint,
        // too.
        let reading = event.is_ok_and(
            |event| matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)),
        );
        if !reading {
            hint.notify_one();
        }
    })
}

fn missed(error: &notify::Error) {
    tracing::warn!(%error, "no events from the file system; looking at the folder every second instead");
}

/// Whether the folder went since it was seen to be there.
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Passes hints on once no more of them come.
async fn settle(hint: Arc<Notify>, settled: Arc<Notify>) {
    loop {
        hint.notified().await;
        let quiet = async { while tokio::time::timeout(DEBOUNCE, hint.notified()).await.is_ok() {} };
        let _ = tokio::time::timeout(RESTLESS, quiet).await;
        settled.notify_one();
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}
