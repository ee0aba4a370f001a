//! Host-wide settings: `wharf.toml`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::manifest::ManifestFile;
use super::text::{self, ConfigError};
use super::units::Span;

/// `wharf.toml` as it was written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HostFile {
    max_connections: Option<NonZeroU32>,
    rescan: Option<Span>,
    #[serde(default)]
    defaults: ManifestFile,
}

/// Host-wide settings, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct HostConfig {
    /// Sessions at once over all servers; none leaves it at what the machine allows. Read at start
    /// only.
    pub max_connections: Option<u32>,
    /// How often the folder is looked at when no event came.
    pub rescan: Duration,
    /// The manifest under all manifests.
    pub defaults: ManifestFile,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self { max_connections: None, rescan: Duration::from_secs(30), defaults: ManifestFile::default() }
    }
}

impl HostConfig {
    /// Reads the file at `path`; none if there is no such file.
    ///
    /// # Errors
    /// It can't be read, or as [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        text::read(path)?.map(|text| Self::parse(&text, path)).transpose()
    }

    /// The same, but waits a while for a file that is being written.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_when_written(path: &Path) -> Result<Option<Self>, ConfigError> {
        text::read_when_written(path)?.map(|text| Self::parse(&text, path)).transpose()
    }

    /// What `text` says, of the file at `path`.
    ///
    /// # Errors
    /// As [`ManifestFile::parse`], and `listen`, which no host can have.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: HostFile = text::parse(text, &path.display().to_string())?;
        if file.defaults.has_address() {
            let key = format_args!("{}: defaults.listen", path.display()).to_string();
            return Err(ConfigError::new(
                key,
                "an address belongs to one plugin; write it into that plugin's own file",
            ));
        }
        let built_in = Self::default();
        Ok(Self {
            max_connections: file.max_connections.map(NonZeroU32::get),
            rescan: file.rescan.map_or(built_in.rescan, |span| span.0),
            defaults: file.defaults.based_in(path)?,
        })
    }

    /// The file that belongs to a plugin folder unless the operator names another.
    pub fn beside(folder: &Path) -> PathBuf {
        folder.join("wharf.toml")
    }
}
