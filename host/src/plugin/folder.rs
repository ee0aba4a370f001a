//! What stands in the plugin folder, seen by its content.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::load::Refusal;
use crate::config::{self, LOOK, Opened, Stamp, WRITING, file, is_plain};

/// The most that a plugin's file may hold, in bytes: five times what the largest runtimes take.
const MAX_PLUGIN_BYTES: u64 = 128 << 20;

/// Where plugins come from.
#[derive(Clone, Debug)]
pub enum PluginSource {
    /// Every `.wasm` and `.wat` in it.
    Folder(PathBuf),
    /// This file alone.
    File(PathBuf),
}

impl PluginSource {
    /// The folder that changes are to be expected in.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::File(file) => match file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            },
        }
    }
}

/// A plugin's files as a scan found them.
#[derive(Clone, Debug)]
pub struct PluginFiles {
    plugin: PathBuf,
    /// Beside the plugin; there need not be a file.
    manifest: PathBuf,
    pub fingerprint: Fingerprint,
    /// When a scan first saw the files as they were for this one.
    since: Instant,
}

/// The content of a plugin's files. Two that are equal are the same plugin with the same manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    plugin: Content,
    manifest: Content,
}

impl Fingerprint {
    /// Whether there is no plugin.
    pub fn is_absent(&self) -> bool {
        self.plugin == Content::Absent
    }

    /// Whether a file is there and can't be read, which may pass without any change of it.
    pub fn is_unreadable(&self) -> bool {
        [&self.plugin, &self.manifest].into_iter().any(|content| matches!(content, Content::Unreadable(_)))
    }
}

/// A plugin's files, read.
pub struct Files {
    pub plugin: Vec<u8>,
    /// The manifest's path, and its text where there is one.
    pub manifest: (PathBuf, Option<String>),
    pub version: Version,
}

/// Both files of a plugin, as they were together at one moment.
#[derive(Clone, Debug)]
pub struct Version {
    pub fingerprint: Fingerprint,
    stamps: [(PathBuf, Option<Stamp>); 2],
}

impl Version {
    /// Whether neither file has changed since.
    pub fn is_current(&self) -> bool {
        self.stamps.iter().all(|(path, stamp)| Stamp::at(path).is_ok_and(|now| now == *stamp))
    }
}

/// Why a plugin's files were not read.
pub enum Unread {
    /// They can't be, or the manifest is not UTF-8 text.
    Wrong(Fingerprint, String),
    /// Somebody is changing them.
    Changing(String),
}

impl PluginFiles {
    /// Reads both files, as they are together. What they hold now counts, should it be other than
    /// what the scan found.
    ///
    /// # Errors
    /// As [`Unread`] has it.
    pub fn read(&self) -> Result<Files, Unread> {
        let mut opened = [Opened::open(&self.plugin), Opened::open(&self.manifest)];
        let stamps = [0, 1].map(|i| {
            let path = [&self.plugin, &self.manifest][i];
            (path.clone(), opened[i].as_ref().ok().map(Opened::stamp))
        });
        let [plugin, manifest] = opened.each_mut().map(|opened| match opened {
            Ok(opened) => Ok(opened),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        });
        let plugin = plugin.and_then(|opened| opened.read(MAX_PLUGIN_BYTES));
        let manifest = manifest.and_then(|opened| opened.read(config::MAX_TEXT_BYTES));
        for (path, read) in [(&self.plugin, &plugin), (&self.manifest, &manifest)] {
            if let Err(error) = read
                && file::is_being_written(error)
            {
                return Err(Unread::Changing(format!("{}: {error}", path.display())));
            }
        }
        let fingerprint = Fingerprint { plugin: Content::of(&plugin), manifest: Content::of(&manifest) };
        let version = Version { fingerprint, stamps };
        // They are of one version only if both are there at the same moment: that both were read.
        let both = [&plugin, &manifest].into_iter().all(|read| match read {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        });
        if both && !version.is_current() {
            return Err(Unread::Changing(format!("{}: it, or its manifest, keeps changing", self.plugin.display())));
        }
        drop(opened);
        let at = |path: &Path, error: &dyn std::fmt::Display| {
            Unread::Wrong(version.fingerprint.clone(), format!("{}: {error}", path.display()))
        };
        let text = match manifest {
            Ok(bytes) => Some(String::from_utf8(bytes).map_err(|_| at(&self.manifest, &"not UTF-8 text"))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at(&self.manifest, &error)),
        };
        let plugin = plugin.map_err(|error| at(&self.plugin, &error))?;
        Ok(Files { plugin, manifest: (self.manifest.clone(), text), version })
    }

    /// The same, but waits a while for files that are being written.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_when_written(&self) -> Result<Files, Refusal> {
        let begun = Instant::now();
        loop {
            match self.read() {
                Ok(files) => return Ok(files),
                Err(Unread::Wrong(_, reason)) => return Err(Refusal::Plugin(reason)),
                Err(Unread::Changing(reason)) if begun.elapsed() >= WRITING => return Err(Refusal::Changing(reason)),
                Err(Unread::Changing(_)) => thread::sleep(LOOK),
            }
        }
    }

    /// Where its manifest is, or would be.
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// Whether a file of it changed so recently that its writer may not be done.
    pub fn is_fresh(&self) -> bool {
        [&self.plugin, &self.manifest]
            .into_iter()
            .filter_map(|path| Stamp::at(path).ok()?)
            .any(|stamp| stamp.is_younger_than(FRESH, self.since))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Absent,
    Hash([u8; 32]),
    /// The error is what is known of it; when it changes, so has the file.
    Unreadable(String),
}

impl Content {
    fn of(read: &io::Result<Vec<u8>>) -> Self {
        match read {
            Ok(bytes) => Self::Hash(Sha256::digest(bytes).into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Absent,
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// A source of plugins and what is known of its files, so that a file that did not change is not
/// read again.
pub struct Folder {
    source: PluginSource,
    seen: HashMap<PathBuf, Seen>,
}

struct Seen {
    stamp: Stamp,
    /// When a file with this stamp was first seen here.
    since: Instant,
    /// Whether it was read so long after that no change of it can be without a change of the stamp.
    settled: bool,
    content: Content,
}

/// How long a stamp has to have been seen before what was read counts for good: file systems'
/// clocks are coarse, and blind to a second change shortly after a first.
const SETTLED: Duration = Duration::from_secs(2);
/// How long after its last change a file may still be half-written.
const FRESH: Duration = Duration::from_secs(1);

impl Folder {
    pub fn new(source: PluginSource) -> Self {
        Self { source, seen: HashMap::new() }
    }

    pub fn source(&self) -> &PluginSource {
        &self.source
    }

    /// Looks at every file that may be a plugin's, by name.
    ///
    /// # Errors
    /// The folder itself can't be read; nothing is known then of what stands in it.
    pub fn scan(&mut self) -> io::Result<BTreeMap<String, PluginFiles>> {
        let files = match &self.source {
            PluginSource::Folder(folder) => plugin_files(folder)?,
            PluginSource::File(file) => {
                let there = file.try_exists()?;
                let name = stem(file).unwrap_or("plugin").to_owned();
                there.then(|| (name, file.clone())).into_iter().collect()
            }
        };
        let mut seen = HashMap::new();
        let mut found = BTreeMap::new();
        for (name, plugin) in files {
            let manifest = plugin.with_extension("toml");
            let fingerprint = Fingerprint {
                plugin: self.look(&plugin, MAX_PLUGIN_BYTES, &mut seen),
                manifest: self.look(&manifest, config::MAX_TEXT_BYTES, &mut seen),
            };
            if fingerprint.plugin != Content::Absent {
                let since = [&plugin, &manifest].into_iter().filter_map(|path| Some(seen.get(path)?.since)).max();
                let since = since.unwrap_or_else(Instant::now);
                found.insert(name, PluginFiles { plugin, manifest, fingerprint, since });
            }
        }
        self.seen = seen;
        Ok(found)
    }

    /// Where a change of the files which were found can be seen, or of a link on the way to them.
    pub fn places(&self) -> impl Iterator<Item = PathBuf> {
        self.seen.keys().flat_map(|path| file::places_of(path))
    }

    fn look(&mut self, path: &Path, most: u64, seen: &mut HashMap<PathBuf, Seen>) -> Content {
        let now = Instant::now();
        let stamp = match Stamp::at(path) {
            Ok(Some(stamp)) => stamp,
            Ok(None) => return Content::Absent,
            Err(error) => return Content::Unreadable(error.to_string()),
        };
        let known = self.seen.remove(path).filter(|known| known.stamp == stamp);
        let looked = match known {
            Some(known) if known.settled => known,
            known => {
                let since = known.as_ref().map_or(now, |known| known.since);
                let read = file::read(path, most);
                match known {
                    // Nothing says that it changed but that this process has no descriptor or
                    // memory to read it with.
                    Some(known) if read.as_ref().is_err_and(is_ours) => known,
                    _ => {
                        let settled = read.is_ok() && now.duration_since(since) >= SETTLED;
                        Seen { stamp, since, settled, content: Content::of(&read) }
                    }
                }
            }
        };
        let content = looked.content.clone();
        seen.insert(path.to_owned(), looked);
        content
    }
}

/// Whether it is the process or the machine that is short of something, and not the file that is
/// wrong.
fn is_ours(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::OutOfMemory
        || matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN))
}

fn plugin_files(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::<String, PathBuf>::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Names that begin with a dot are somebody's temporary files, or a ConfigMap's inner
        // folders.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(OsStr::to_str);
        if hidden || !matches!(extension, Some("wasm" | "wat")) || path.is_dir() {
            continue;
        }
        let Some(name) =
            stem(&path).filter(|name| !name.contains(|c: char| c.is_whitespace() || c == '"' || !is_plain(c)))
        else {
            tracing::warn!(file = ?path, "not looked at: a plugin's name is UTF-8 text without white space, quotation marks and what can't be seen");
            continue;
        };
        // Of upper.wasm and upper.wat the compiled one is meant, whichever the folder lists first.
        if extension == Some("wasm") || !files.contains_key(name) {
            files.insert(name.to_owned(), path);
        }
    }
    Ok(files)
}

fn stem(path: &Path) -> Option<&str> {
    path.file_stem().and_then(OsStr::to_str)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn both_files_are_read_of_one_version_while_a_link_to_them_is_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..one", "..two"] {
            fs::create_dir(at(version)).unwrap();
            // Large enough that reading it takes a while.
            fs::write(at(version).join("a.wasm"), version.repeat(1 << 20)).unwrap();
            fs::write(at(version).join("a.toml"), version).unwrap();
        }
        symlink("..one", at("..data")).unwrap();
        for name in ["a.wasm", "a.toml"] {
            symlink(format!("..data/{name}"), at(name)).unwrap();
        }
        let found = Folder::new(PluginSource::Folder(folder.path().to_owned())).scan().unwrap().remove("a").unwrap();
        let over = AtomicBool::new(false);
        let (mut whole, mut changing) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for version in ["..two", "..one"].into_iter().cycle() {
                    symlink(version, at("new")).unwrap();
                    fs::rename(at("new"), at("..data")).unwrap();
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(7));
                }
            });
            let end = Instant::now() + Duration::from_secs(40);
            while (whole < 20 || changing < 20) && Instant::now() < end {
                match found.read() {
                    Ok(files) => {
                        whole += 1;
                        let text = files.manifest.1.unwrap();
                        assert!(
                            files.plugin.starts_with(text.as_bytes()),
                            "the plugin of one and the manifest of another"
                        );
                    }
                    Err(Unread::Changing(_)) => changing += 1,
                    Err(Unread::Wrong(_, reason)) => panic!("{reason}"),
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(whole > 0 && changing > 0, "{whole} reads, and {changing} of no one version");
    }
}
