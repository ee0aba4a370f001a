//! From what was found in the folder to what may serve.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::capacity::room_for_a_thread;
use crate::config::{LOOK, ListenAddress, ManifestFile, ManifestOrigin, WRITING};
use crate::plugin::{Files, Fingerprint, Generation, Loaded, Loader, PluginFiles, Refusal, Unread, Version};

/// How long somebody may be writing a plugin's file before the log says what is waited for.
const SAID: Duration = Duration::from_secs(1);

/// A load that has ended.
pub(super) struct Load {
    pub(super) name: String,
    pub(super) found: PluginFiles,
    /// The revision of the host-wide settings that it was loaded under.
    pub(super) defaults: u64,
    pub(super) tried: Tried,
    pub(super) outcome: Result<LoadOutcome, Refusal>,
}

/// What a load has read.
pub(super) enum Tried {
    /// Both files, as they were at one moment.
    Version(Version),
    /// No version of theirs.
    Nothing(Fingerprint),
}

impl Tried {
    pub(super) fn fingerprint(&self) -> &Fingerprint {
        match self {
            Self::Version(version) => &version.fingerprint,
            Self::Nothing(fingerprint) => fingerprint,
        }
    }

    /// Whether the files have not changed since. What was not read can't be out of date.
    pub(super) fn is_current(&self) -> bool {
        match self {
            Self::Version(version) => version.is_current(),
            Self::Nothing(_) => true,
        }
    }
}

/// Which addresses a plugin asks for that is being loaded; nothing before its manifest was read.
pub(super) type Claims = Arc<OnceLock<Vec<ListenAddress>>>;

pub(super) enum LoadOutcome {
    /// What may serve, with the layer of its manifest that stands beside it.
    Loaded(Box<(Loaded, ManifestFile)>),
    /// The plugin is the one that serves already; the layers of its manifest may have changed.
    Layers(Box<ManifestFile>),
}

/// What a load begins with.
pub(super) struct Task {
    pub(super) loader: Arc<Loader>,
    pub(super) name: String,
    pub(super) found: PluginFiles,
    pub(super) defaults: ManifestFile,
    /// Addresses instead of the manifest's.
    pub(super) listen: Option<Vec<ListenAddress>>,
    /// The generation that serves now.
    pub(super) serving: Option<Arc<str>>,
    /// Told of what the manifest asks for once that is read.
    pub(super) claims: Claims,
    /// Whether the log has what it would wait for already.
    pub(super) is_said: bool,
}

impl Task {
    /// Reads and loads what was found.
    pub(super) async fn load(self) -> (Tried, Result<LoadOutcome, Refusal>) {
        let files = match self.read().await {
            Ok(files) => files,
            Err((tried, refusal)) => return (Tried::Nothing(tried), Err(refusal)),
        };
        let tried = Tried::Version(files.version);
        let (path, text) = files.manifest;
        let beside = match ManifestFile::parse(text.as_deref().unwrap_or(""), ManifestOrigin::Operator(&path)) {
            Ok(beside) => beside,
            Err(error) => return (tried, Err(error.into())),
        };
        let beside = match self.listen {
            Some(listen) => beside.listening_at(listen),
            None => beside,
        };
        let _ = self.claims.set(beside.addresses().cloned().collect());
        if self.serving.is_some_and(|serving| serving == Generation::id_of(&files.plugin)) {
            return (tried, Ok(LoadOutcome::Layers(Box::new(beside))));
        }
        let loaded = self.loader.load(&self.name, files.plugin, beside.clone(), self.defaults).await;
        (tried, loaded.map(|loaded| LoadOutcome::Loaded(Box::new((loaded, beside)))))
    }

    /// Reads both files, once nobody writes them any more.
    async fn read(&self) -> Result<Files, (Fingerprint, Refusal)> {
        let begun = Instant::now();
        let mut is_said = self.is_said;
        loop {
            let reading = self.found.clone();
            let read = match room_for_a_thread() {
                Ok(()) => tokio::task::spawn_blocking(move || reading.read()).await.map_err(io::Error::other),
                Err(error) => Err(error),
            };
            match read {
                Ok(Ok(files)) => return Ok(files),
                Ok(Err(Unread::Wrong(tried, reason))) => return Err((tried, Refusal::Plugin(reason))),
                Ok(Err(Unread::Changing(reason))) if begun.elapsed() >= WRITING => {
                    return Err((self.found.fingerprint.clone(), Refusal::Changing(reason)));
                }
                Ok(Err(Unread::Changing(reason))) => {
                    if begun.elapsed() >= SAID && !std::mem::replace(&mut is_said, true) {
                        let (plugin, limit) = (&self.name, humantime::format_duration(WRITING));
                        tracing::warn!(plugin, reason, "waiting until its files are written, {limit} at most");
                    }
                    sleep(LOOK).await;
                }
                Err(error) => return Err((self.found.fingerprint.clone(), Refusal::Host(error.to_string()))),
            }
        }
    }
}
