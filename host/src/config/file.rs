//! Reading what stands where a plugin or its settings are expected, whatever it is, and not before
//! its writer is done.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{OFlags, fstatfs};

use super::units::Size;

/// For how long somebody may write a file before it is no longer waited for, but told of.
pub const WRITING: Duration = Duration::from_secs(10);
/// How often a file that is being written is looked at.
pub const LOOK: Duration = Duration::from_millis(50);
/// How long after its last change a file counts as written, where nobody can tell whether it is
/// open.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// Reads a regular file of `most` bytes at the most. Never waits, as opening a FIFO does, and
/// touches no device.
///
/// # Errors
/// Those of stat(2), open(2) and read(2); what is no regular file; a larger one, without reading
/// it; no memory for it; and `ResourceBusy` for one that somebody is writing: a part of it may read
/// like the whole.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    Opened::open(path)?.read(most)
}

/// The same, but waits a while for a file that is being written.
///
/// # Errors
/// As [`read`].
pub fn read_when_written(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let begun = Instant::now();
    loop {
        match read(path, most) {
            Err(error) if is_being_written(&error) && begun.elapsed() < WRITING => thread::sleep(LOOK),
            read => return read,
        }
    }
}

/// Whether a file was not read because somebody is writing it.
pub fn is_being_written(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// A regular file that nobody is writing. Where the system grants a lease, nobody begins to before
/// this is dropped.
pub struct Opened {
    file: File,
    stamp: Stamp,
}

impl Opened {
    /// # Errors
    /// As [`read`].
    pub fn open(path: &Path) -> io::Result<Self> {
        regular(&fs::metadata(path)?.file_type())?;
        // It may have become another in between.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        let metadata = file.metadata()?;
        regular(&metadata.file_type())?;
        let is_written = match lease(&file) {
            Lease::Granted => true,
            Lease::Refused => false,
            // Nobody tells. A file that stood still for a while is most likely whole, and so is one
            // of a time to come.
            Lease::Unknown => {
                let now = Instant::now();
                !Stamp::of(&metadata).is_younger_than(SETTLE_TIME, now.checked_sub(SETTLE_TIME).unwrap_or(now))
            }
        };
        if !is_written {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "not read yet, as it is being written"));
        }
        // Taken with the lease: nothing changes from here on.
        let stamp = Stamp::of(&file.metadata()?);
        Ok(Self { file, stamp })
    }

    /// # Errors
    /// As [`read`].
    pub fn read(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let too_large = |size: u64| {
            let reason = format!("a file of {}, and {} is the most that is read", Size(size), Size(most));
            io::Error::new(io::ErrorKind::FileTooLarge, reason)
        };
        let size = self.stamp.size;
        if size > most {
            return Err(too_large(size));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(size).map_err(io::Error::other)?)?;
        // One that grows meanwhile has the same limit.
        (&mut self.file).take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
    }

    /// What it was when it was opened.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }
}

/// The folders in which a change can have this path lead elsewhere: those of every link on the way
/// to what it leads to now, and that of its end.
pub fn places_of(path: &Path) -> Vec<PathBuf> {
    /// As many as the kernel follows.
    const LINKS: usize = 40;
    let Ok(path) = std::path::absolute(path) else { return Vec::new() };
    let mut places = Vec::new();
    let mut at = PathBuf::new();
    let mut left = vec![path];
    while let Some(part) = left.pop() {
        let mut components = part.components();
        let Some(first) = components.next() else { continue };
        let rest = components.as_path();
        if !rest.as_os_str().is_empty() {
            left.push(rest.to_owned());
        }
        match first {
            Component::CurDir => {}
            Component::ParentDir => _ = at.pop(),
            Component::Prefix(_) | Component::RootDir => at = PathBuf::from("/"),
            Component::Normal(name) => match fs::read_link(at.join(name)) {
                Ok(target) if places.len() < LINKS => {
                    places.push(at.clone());
                    left.push(target);
                }
                _ => at.push(name),
            },
        }
    }
    at.pop();
    places.push(at);
    places
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Of what the path leads to now; none if there is nothing.
    ///
    /// # Errors
    /// Those of stat(2).
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of a file that has been seen `since` then.
    pub fn is_younger_than(&self, age: Duration, since: Instant) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = SystemTime::UNIX_EPOCH
            + Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
        // A time to come is of a clock that was set back since, and tells nothing.
        changed.elapsed().unwrap_or_else(|_| since.elapsed()) < age
    }
}

/// What the kernel says to a read lease (fcntl(2), "Leases"), which it grants on a file that nobody
/// has open for writing.
enum Lease {
    /// Nobody writes; and until the file is closed here, open(2) for writing waits.
    Granted,
    Refused,
    /// Leases are for a file's owner, and for file systems that know of every writer.
    Unknown,
}

fn lease(file: &File) -> Lease {
    // Linux's own, which libc does not name.
    const F_SETSIG: libc::c_int = 10;
    let fd = file.as_raw_fd();
    #[expect(unsafe_code, reason = "no crate here has a safe form of leases")]
    // SAFETY: the descriptor is open, and both commands take an integer. The signal for a lease
    // that others wait for is made one that is ignored unless somebody handles it, as the usual one
    // would end the process.
    let granted = unsafe {
        libc::fcntl(fd, F_SETSIG, libc::SIGURG) == 0 && libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == 0
    };
    if granted {
        return Lease::Granted;
    }
    let refused = io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    // These say the same when it is their server that gives no lease.
    let remote = [libc::NFS_SUPER_MAGIC, libc::SMB_SUPER_MAGIC, 0xFF53_4D42, 0xFE53_4D42];
    match fstatfs(file) {
        Ok(system) if refused && !remote.contains(&(system.f_type & 0xFFFF_FFFF)) => Lease::Refused,
        _ => Lease::Unknown,
    }
}

fn regular(kind: &FileType) -> io::Result<()> {
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{what}, where a regular file is expected")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn stamp(changed: SystemTime) -> Stamp {
        let seconds = changed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
        Stamp { device: 1, inode: 1, size: 1, modified: (0, 0), changed: (seconds, 0) }
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_file_fresh_for_ever() {
        let (hour, now, fresh) = (Duration::from_secs(3600), Instant::now(), Duration::from_secs(1));
        let long_ago = now.checked_sub(2 * fresh).expect("the machine has run for longer");
        assert!(!stamp(SystemTime::now() - hour).is_younger_than(fresh, now));
        assert!(stamp(SystemTime::now() + hour).is_younger_than(hour, now), "it was just seen");
        assert!(!stamp(SystemTime::now() + hour).is_younger_than(fresh, long_ago));
    }

    #[test]
    fn links_on_the_way_lie_where_a_change_of_them_can_be_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(at("releases/1/plugins")).unwrap();
        fs::write(at("releases/1/plugins/file"), "").unwrap();
        fs::create_dir(at("elsewhere")).unwrap();
        symlink("../releases/1", at("elsewhere/current")).unwrap();
        symlink(at("elsewhere/current"), at("current")).unwrap();
        let places = places_of(&at("current/plugins/file"));
        assert_eq!(places, [at(""), at("elsewhere"), at("releases/1/plugins")]);
        symlink("circle", at("circle")).unwrap();
        assert!(places_of(&at("circle/file")).len() > 1, "and it ends");
    }

    #[test]
    fn a_file_that_somebody_writes_is_not_read_and_nobody_writes_one_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let writer = File::create(&path).unwrap();
        assert!(is_being_written(&read(&path, 5).unwrap_err()));
        drop(writer);
        assert!(read(&path, 5).is_ok());
        let opened = Opened::open(&path).unwrap();
        let write = || {
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            File::options().write(true).custom_flags(flags).open(&path)
        };
        assert_eq!(write().unwrap_err().kind(), io::ErrorKind::WouldBlock, "and the signal ends nobody");
        drop(opened);
        assert!(write().is_ok());
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(folder.path(), 5).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read(&folder.path().join("none"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);

        let (fifo, socket) = (folder.path().join("fifo"), folder.path().join("socket"));
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, what) in [(&*fifo, "a FIFO"), (&*socket, "a socket"), (Path::new("/dev/zero"), "a device")] {
            let error = read(path, 5).unwrap_err().to_string();
            assert!(error.starts_with(what), "{error}");
        }
        File::create(&path).unwrap().set_len(10 << 30).unwrap();
        let error = read(&path, 1 << 20).unwrap_err().to_string();
        assert_eq!(error, "a file of 10 GiB, and 1 MiB is the most that is read");
        // One that tells of no size, and has some.
        assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
    }
}
