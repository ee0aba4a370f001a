//! What stands in the plugin folder, seen by its content.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::config;
use crate::events::is_plain;
use crate::file;

/// The most that a plugin's file may hold, in bytes: five times what the largest runtimes take.
const LARGEST: u64 = 128 << 20;

/// Where plugins come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Every `.wasm` and `.wat` in it.
    Folder(PathBuf),
    /// This file alone.
    File(PathBuf),
}

impl Source {
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
pub struct Found {
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
    pub fingerprint: Fingerprint,
}

impl Found {
    /// Reads both files. What they hold now counts, should it be other than what the scan found.
    ///
    /// # Errors
    /// A file can't be read, or a manifest is not UTF-8 text; with the fingerprint of that.
    pub fn read(&self) -> Result<Files, (Fingerprint, String)> {
        let plugin = file::read(&self.plugin, LARGEST);
        let manifest = file::read(&self.manifest, config::LARGEST);
        let fingerprint = Fingerprint { plugin: Content::of(&plugin), manifest: Content::of(&manifest) };
        let at =
            |path: &Path, error: &dyn std::fmt::Display| (fingerprint.clone(), format!("{}: {error}", path.display()));
        let text = match manifest {
            Ok(bytes) => Some(String::from_utf8(bytes).map_err(|_| at(&self.manifest, &"not UTF-8 text"))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at(&self.manifest, &error)),
        };
        let plugin = plugin.map_err(|error| at(&self.plugin, &error))?;
        Ok(Files { plugin, manifest: (self.manifest.clone(), text), fingerprint })
    }

    /// Where its manifest is, or would be.
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// Whether a file of it changed so recently that its writer may not be done.
    pub fn is_fresh(&self) -> bool {
        [&self.plugin, &self.manifest]
            .into_iter()
            .filter_map(|path| fs::metadata(path).ok())
            .any(|metadata| Stamp::of(&metadata).is_younger_than(FRESH, self.since))
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

/// A source of plugins and what is known of its files, so that a file that did not change is not read again.
pub struct Folder {
    source: Source,
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

/// How long a stamp has to have been seen before what was read counts for good: file systems' clocks are coarse, and blind to a
/// second change shortly after a first.
const SETTLED: Duration = Duration::from_secs(2);
/// How long after its last change a file may still be half-written.
const FRESH: Duration = Duration::from_secs(1);

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Of a file that has been seen `since` then.
    fn is_younger_than(&self, age: Duration, since: Instant) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = SystemTime::UNIX_EPOCH
            + Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
        // A time to come is of a clock that was set back since, and tells nothing.
        changed.elapsed().unwrap_or_else(|_| since.elapsed()) < age
    }
}

impl Folder {
    pub fn new(source: Source) -> Self {
        Self { source, seen: HashMap::new() }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Looks at every file that may be a plugin's, by name.
    ///
    /// # Errors
    /// The folder itself can't be read; nothing is known then of what stands in it.
    pub fn scan(&mut self) -> io::Result<BTreeMap<String, Found>> {
        let files = match &self.source {
            Source::Folder(folder) => plugin_files(folder)?,
            Source::File(file) => {
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
                plugin: self.look(&plugin, LARGEST, &mut seen),
                manifest: self.look(&manifest, config::LARGEST, &mut seen),
            };
            if fingerprint.plugin != Content::Absent {
                let since = [&plugin, &manifest].into_iter().filter_map(|path| Some(seen.get(path)?.since)).max();
                let since = since.unwrap_or_else(Instant::now);
                found.insert(name, Found { plugin, manifest, fingerprint, since });
            }
        }
        self.seen = seen;
        Ok(found)
    }

    /// The folders that hold the files which were found, links followed: where a change of them can be seen.
    pub fn places(&self) -> impl Iterator<Item = PathBuf> {
        self.seen.keys().filter_map(|path| Some(path.canonicalize().ok()?.parent()?.to_owned()))
    }

    fn look(&mut self, path: &Path, most: u64, seen: &mut HashMap<PathBuf, Seen>) -> Content {
        let now = Instant::now();
        let stamp = match fs::metadata(path) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Content::Absent,
            Err(error) => return Content::Unreadable(error.to_string()),
        };
        let known = self.seen.remove(path).filter(|known| known.stamp == stamp);
        let looked = match known {
            Some(known) if known.settled => known,
            known => {
                let since = known.as_ref().map_or(now, |known| known.since);
                let read = file::read(path, most);
                match known {
                    // Nothing says that it changed but that this process has no descriptor or memory to read it with.
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

/// Whether it is the process or the machine that is short of something, and not the file that is wrong.
fn is_ours(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::OutOfMemory
        || matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN))
}

fn plugin_files(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::<String, PathBuf>::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Names that begin with a dot are somebody's temporary files, or a ConfigMap's inner folders.
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
    use super::*;

    fn stamp(changed: SystemTime) -> Stamp {
        let seconds = changed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
        Stamp { device: 1, inode: 1, size: 1, modified: (0, 0), changed: (seconds, 0) }
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_file_fresh_for_ever() {
        let (hour, now) = (Duration::from_secs(3600), Instant::now());
        let long_ago = now.checked_sub(2 * FRESH).expect("the machine has run for longer");
        assert!(!stamp(SystemTime::now() - hour).is_younger_than(FRESH, now));
        assert!(stamp(SystemTime::now() + hour).is_younger_than(hour, now), "it was just seen");
        assert!(!stamp(SystemTime::now() + hour).is_younger_than(FRESH, long_ago));
    }
}
