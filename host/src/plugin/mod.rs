//! Plugins: from a file to a generation that serves.

pub(crate) mod cache;
pub mod compiler;
pub mod examine;
pub(crate) mod flatten;
mod folder;
mod generation;
mod lanes;
mod load;
mod process;
mod recognise;
mod watch;

pub use cache::Cache;
pub use folder::{Files, Fingerprint, Folder, PluginFiles, PluginSource, Unread, Version};
pub use generation::{DrainDeadline, Generation};
pub use load::{Facts, Loaded, Loader, Refusal, STDIO, TRIALS, WARM_INSTANCES, revive};
pub use recognise::identify;
pub use watch::Watch;
