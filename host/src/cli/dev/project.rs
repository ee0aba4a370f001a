//! A project's files, and how they come into the folder that is served.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::config::{self, ConfigError, MAX_TEXT_BYTES, ManifestFile, ManifestOrigin, ProjectFile, file};

/// The folder in a project that is served. A project's README has the same one.
pub(super) const SERVED: &str = "plugins";

pub(super) struct Project {
    folder: PathBuf,
    file: ProjectFile,
}

impl Project {
    /// The project in this folder; none if it has no `wharf-dev.toml`.
    ///
    /// # Errors
    /// That file can't be read, or is wrong.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, ConfigError> {
        // Watches need a path that stays the same.
        let absolute = std::path::absolute(folder).map_err(|error| ConfigError::new(folder.display(), error))?;
        Ok(ProjectFile::read(folder)?.map(|file| Self { folder: absolute, file }))
    }

    /// Reads `wharf-dev.toml` again.
    ///
    /// # Errors
    /// It can't be read, or is wrong or gone.
    pub(super) fn reopen(&mut self) -> Result<(), ConfigError> {
        let file = ProjectFile::read(&self.folder)?;
        self.file = file.ok_or_else(|| ConfigError::new(self.folder.join(config::PROJECT_FILE).display(), "gone"))?;
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn command(&self) -> &str {
        &self.file.build
    }

    /// The folder that is served.
    pub(super) fn served(&self) -> PathBuf {
        self.folder.join(SERVED)
    }

    /// The files in it that no build reads: the plugin that it makes, and the manifest.
    pub(super) fn not_sources(&self) -> [PathBuf; 2] {
        [&self.file.plugin, &self.file.manifest].map(|path| self.folder.join(path))
    }

    /// # Errors
    /// There is no manifest, or it is wrong.
    pub(super) fn check_manifest(&self) -> Result<(), ConfigError> {
        let path = self.folder.join(&self.file.manifest);
        let text = config::read_when_written(&path)?;
        let text = text.ok_or_else(|| ConfigError::new(path.display(), "no such file"))?;
        ManifestFile::parse(&text, ManifestOrigin::Operator(&path)).map(drop)
    }

    /// Puts the manifest into the folder that is served, if another one is there.
    ///
    /// # Errors
    /// Those of reading and writing, and `ResourceBusy` while somebody is writing the manifest.
    pub(super) fn put_manifest(&self) -> io::Result<()> {
        let text = file::read(&self.folder.join(&self.file.manifest), MAX_TEXT_BYTES)?;
        let target = self.target("toml");
        if fs::read(&target).is_ok_and(|there| there == text) {
            return Ok(());
        }
        put(&target, |new| fs::write(new, &text))
    }

    /// Puts the plugin that was built into the folder that is served.
    ///
    /// # Errors
    /// The build made no such file, or that of copying it.
    pub(super) fn put_plugin(&self) -> io::Result<()> {
        let plugin = self.folder.join(&self.file.plugin);
        let target = self.target(&plugin.extension().unwrap_or_default().to_string_lossy());
        put(&target, |new| fs::copy(&plugin, new).map(drop)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => io::Error::new(error.kind(), format!("it made no {}", plugin.display())),
            _ => error,
        })
    }

    fn target(&self, extension: &str) -> PathBuf {
        self.served().join(self.file.manifest.file_name().unwrap_or_default()).with_extension(extension)
    }
}

/// Writes a file beside its place and renames it, so that nobody reads a half of it.
fn put(target: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir_all(target.parent().unwrap_or(target))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    // A host passes over names that begin with a dot.
    let new = target.with_file_name(format!(".{name}.new"));
    write(&new).and_then(|()| fs::rename(&new, target)).inspect_err(|_| {
        // The error before this one is what there is to tell.
        let _ = fs::remove_file(&new);
    })
}
