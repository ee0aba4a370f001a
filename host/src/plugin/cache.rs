//! Compiled code on disk, between runs, with what was found out about the files that it was made
//! from.
//!
//! What is read back is run as native code, so an entry is believed only if nobody but its owner
//! could have written it, and if it is whole: the folder and the file are the user's own and
//! writable by no one else, and the entry carries the hash of what it holds. Whatever fails a check
//! is ignored, and written anew.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

const MAGIC: &[u8; 16] = b"wharf code   v1\n";
const HEADER: usize = MAGIC.len() + 32;
/// More bytes than the code of the largest plugin has.
const MAX_ENTRY_BYTES: u64 = 4 << 30;

/// A folder of compiled components.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    /// Whether the last entry could not be written, which is said once.
    failing: Arc<AtomicBool>,
}

impl Cache {
    /// Opens the folder, and makes it if it is not there.
    ///
    /// # Errors
    /// It can't be made, or is not a folder that its owner alone, the user of this process, may
    /// write to.
    pub fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        owners_alone(&fs::metadata(folder)?).map_err(|reason| {
            io::Error::new(io::ErrorKind::PermissionDenied, format!("{}: {reason}", folder.display()))
        })?;
        Ok(Self { folder: folder.to_owned(), failing: Arc::default() })
    }

    /// The content of an entry, if it is here and can be trusted.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        match trusted(&path, name) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(entry = %path.display(), %error, "a cache entry is not used, but made again");
                None
            }
        }
    }

    /// Keeps `content` for the next run, and tells whether it could. A failure costs nothing but
    /// time then.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> bool {
        let path = self.folder.join(name);
        let written = replace(&path, name, content);
        let is_kept = written.is_ok();
        match written {
            Ok(()) => self.failing.store(false, Ordering::Relaxed),
            Err(error) if self.failing.swap(true, Ordering::Relaxed) => {
                tracing::debug!(entry = %path.display(), %error, "cache entry not written");
            }
            Err(error) => {
                tracing::warn!(entry = %path.display(), %error, "compiled code can't be kept for the next run");
            }
        }
        is_kept
    }
}

/// A SHA-256.
pub(super) type Digest = [u8; 32];

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// The name of an entry with code: it tells the SHA-256 of the wasm that it was made from, by which
/// compiler, and with which settings.
pub(super) fn code(engine: &Engine, wasm: &str) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    format!("{wasm}-{:016x}.code", settings.finish())
}

/// The name of an entry with what was found out about a file. It tells by which program: another
/// one may find out more, and make other wasm of it. None where that is not known.
pub(super) fn findings(file: &Digest) -> Option<String> {
    static PROGRAM: LazyLock<Option<u64>> = LazyLock::new(|| {
        let program = fs::metadata("/proc/self/exe").ok()?;
        let mut hasher = DefaultHasher::new();
        (env!("CARGO_PKG_VERSION"), program.len(), program.mtime(), program.mtime_nsec()).hash(&mut hasher);
        Some(hasher.finish())
    });
    PROGRAM.map(|program| format!("{}-{program:016x}.facts", hex(file)))
}

/// What stands in front of an entry's code: what it is, and its seal. The name is in that, so that
/// an entry that was renamed is not taken for another.
pub(crate) fn header(name: &str, code: &[u8]) -> [u8; HEADER] {
    let seal = Sha256::new().chain_update(name).chain_update(code).finalize();
    let mut header = [0; HEADER];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()..].copy_from_slice(&seal);
    header
}

/// The code of an entry that is called `name`, if it is whole.
///
/// # Errors
/// It can't be read, or is not as it was written.
pub(crate) fn unsealed(mut entry: impl Read, name: &str) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
    let mut found = [0; HEADER];
    entry.read_exact(&mut found).map_err(|_| damaged())?;
    let mut code = Vec::new();
    entry.read_to_end(&mut code)?;
    if found == header(name, &code) { Ok(code) } else { Err(damaged()) }
}

/// Written beside and renamed over, so that no reader ever sees half an entry.
fn replace(path: &Path, name: &str, code: &[u8]) -> io::Result<()> {
    // One name for each writer: the same plugin may be compiled twice at once, under two names of
    // its own.
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}.{writer}.new", std::process::id()));
    let written = (|| {
        // Whatever stands at that name, a link for one, is not written through.
        let _ = fs::remove_file(&temporary);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&header(name, code))?;
        file.write_all(code)?;
        drop(file);
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn trusted(path: &Path, name: &str) -> io::Result<Vec<u8>> {
    let distrust = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    // Whatever stands there, nobody waits for it.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(distrust("it is no file"));
    }
    if metadata.len() > MAX_ENTRY_BYTES {
        return Err(distrust("it is larger than any entry"));
    }
    owners_alone(&metadata).map_err(distrust)?;
    unsealed(file, name)
}

fn owners_alone(metadata: &fs::Metadata) -> Result<(), &'static str> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        Err("it belongs to another user")
    } else if metadata.permissions().mode() & 0o022 != 0 {
        Err("others may write to it")
    } else {
        Ok(())
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
