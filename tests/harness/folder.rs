//! A plugin folder, and every way in which people replace files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::clock;
use super::guests::{self, Guest};

/// Where test plugins listen: a port that the kernel chooses, on the loopback.
const LISTEN: &str = "listen = \"tcp://127.0.0.1:0\"\n";

pub struct Folder {
    path: PathBuf,
    _temp: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let folder = Self::absent();
        fs::create_dir(&folder.path).expect("create the folder");
        folder
    }

    /// A folder that does not exist yet, although its parent does.
    pub fn absent() -> Self {
        clock::start();
        let temp = tempfile::tempdir().expect("create a temporary folder");
        Self { path: temp.path().join("plugins"), _temp: temp }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder around it: for what has to lie on the same file system, but not in it.
    pub fn parent(&self) -> &Path {
        self.path.parent().expect("it lies in the temporary folder")
    }

    /// Puts a plugin in, or a new one in its place, by renaming; with a manifest if it has none.
    pub fn plugin(&self, name: &str, guest: &Guest) -> &Self {
        if !self.path.join(format!("{name}.toml")).exists() {
            self.settings(name, "");
        }
        self.file(&format!("{name}.{}", guest.extension), &guest.bytes)
    }

    /// Puts a shipped plugin in, with its own manifest but for the port.
    pub fn shipped(&self, name: &str) -> &Self {
        let toml = guests::shipped_manifest(name);
        let (before, port) = toml.split_once("tcp://127.0.0.1:").expect("shipped plugins listen on the loopback");
        let after = port.trim_start_matches(|c: char| c.is_ascii_digit());
        self.manifest(name, &format!("{before}tcp://127.0.0.1:0{after}")).plugin(name, &guests::shipped(name))
    }

    /// Puts a plugin in that can be changed out of any watcher's sight: the folder has one name of
    /// its file, and what is returned writes it by another, elsewhere.
    pub fn plugin_of_two_names(&self, name: &str, guest: &Guest) -> impl Fn(&Guest) + use<> {
        let file = format!("{name}.{}", guest.extension);
        let elsewhere = self.parent().join("elsewhere");
        fs::create_dir_all(&elsewhere).expect("create a folder");
        let other = elsewhere.join(&file);
        fs::write(&other, &guest.bytes).expect("write");
        fs::hard_link(&other, self.path.join(&file)).expect("link");
        move |guest: &Guest| fs::write(&other, &guest.bytes).expect("write in place")
    }

    /// The plugin's manifest: any loopback port, and `toml`.
    pub fn settings(&self, name: &str, toml: &str) -> &Self {
        self.manifest(name, &format!("{LISTEN}{toml}"))
    }

    /// The plugin's manifest, whole.
    pub fn manifest(&self, name: &str, toml: &str) -> &Self {
        self.file(&format!("{name}.toml"), toml)
    }

    /// Renames a file into place.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let new = self.path.join(format!(".{name}.new"));
        fs::write(&new, content).expect("write the new file");
        fs::rename(&new, self.path.join(name)).expect("rename it into place");
        self
    }

    /// Truncates a file and writes it anew, as `cp` and many a build tool do.
    pub fn overwrite(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path.join(name), content).expect("write in place");
    }

    /// Adds to a file's end.
    pub fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        let mut file = fs::OpenOptions::new().append(true).open(self.path.join(name)).expect("open to append");
        file.write_all(content.as_ref()).expect("append");
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path.join(name)).expect("remove the file");
    }
}
