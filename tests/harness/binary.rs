//! The binary at a path of a test's own, where another can be put in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Folder, Launch, Wharf};

/// The binary at a path where another can be put in its place.
pub struct Binary {
    folder: TempDir,
}

impl Binary {
    pub fn new() -> Self {
        let binary = Self { folder: tempfile::tempdir().expect("create a temporary folder") };
        binary.replace();
        binary
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("wharf")
    }

    /// Puts the binary there, a file of its own, by renaming.
    pub fn replace(&self) {
        self.put(|new| {
            fs::copy(env!("CARGO_BIN_EXE_wharf"), new).expect("copy the binary");
        });
    }

    /// Puts a shell script there that does this.
    pub fn replace_by_script(&self, script: &str) {
        self.put(|new| {
            fs::write(new, format!("#!/bin/sh\n{script}\n")).expect("write");
            fs::set_permissions(new, fs::Permissions::from_mode(0o755)).expect("make it executable");
        });
    }

    pub fn put(&self, make: impl Fn(&Path)) {
        let new = self.folder.path().join("new");
        make(&new);
        fs::rename(&new, self.path()).expect("rename it into place");
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn serve(&self, folder: &Folder) -> Wharf {
        Launch::program(&self.path(), ["serve".as_ref(), folder.path()]).start()
    }
}
