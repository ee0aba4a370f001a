//! From what was found in the folder to what may serve.

use std::io;
use std::sync::Arc;

use crate::capacity::room_for_a_thread;
use crate::config::{Address, ManifestFile, Origin};
use crate::plugin::{Fingerprint, Found, Generation, Loaded, Loader, Refusal};

/// A load that has ended.
pub(super) struct Load {
    pub(super) name: String,
    pub(super) found: Found,
    pub(super) tried: Fingerprint,
    pub(super) outcome: Result<Outcome, Refusal>,
}

pub(super) enum Outcome {
    Loaded(Box<Loaded>),
    /// The plugin is the one that serves already; the layers of its manifest may have changed.
    Layers(Box<(ManifestFile, ManifestFile)>),
}

/// Reads and loads what was found. `serving` is the generation that serves now.
pub(super) async fn load(
    loader: &Arc<Loader>,
    name: &str,
    found: &Found,
    defaults: ManifestFile,
    listen: Option<Vec<Address>>,
    serving: Option<Arc<str>>,
) -> (Fingerprint, Result<Outcome, Refusal>) {
    let reading = found.clone();
    let read = match room_for_a_thread() {
        Ok(()) => tokio::task::spawn_blocking(move || reading.read()).await.map_err(io::Error::other),
        Err(error) => Err(error),
    };
    let files = match read {
        Ok(Ok(files)) => files,
        Ok(Err((tried, reason))) => return (tried, Err(Refusal::Plugin(reason))),
        Err(error) => return (found.fingerprint.clone(), Err(Refusal::Host(error.to_string()))),
    };
    let (path, text) = files.manifest;
    let beside = match ManifestFile::parse(text.as_deref().unwrap_or(""), Origin::Operator(&path)) {
        Ok(beside) => beside,
        Err(error) => return (files.fingerprint, Err(error.into())),
    };
    let beside = match listen {
        Some(listen) => beside.listening_at(listen),
        None => beside,
    };
    let outcome = if serving.is_some_and(|serving| serving == Generation::id_of(&files.plugin)) {
        Ok(Outcome::Layers(Box::new((beside, defaults))))
    } else {
        loader.load(name, files.plugin, beside, defaults).await.map(|loaded| Outcome::Loaded(Box::new(loaded)))
    };
    (files.fingerprint, outcome)
}
