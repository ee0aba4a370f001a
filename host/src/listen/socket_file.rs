//! The file that stands for a Unix socket.
//!
//! Its folder may be another user's, who can put anything else in its place at any moment: a link
//! to a file of root's, or another socket. So whatever is done to the file is done to what was
//! bound, by a descriptor of it (`O_PATH`), and whatever is done to its name is done in the folder
//! that it was bound in, by a descriptor of that.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fstat, lstat, openat, statat, unlinkat,
};
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{ListenAddress, UnixSettings};

/// The file of a Unix socket, removed when this is dropped.
pub(super) struct SocketFile {
    entry: Entry,
    path: PathBuf,
    /// Whether it is to be removed.
    is_ours: bool,
}

/// A name in a folder, and the file that it led to: descriptors of both.
struct Entry {
    folder: OwnedFd,
    name: OsString,
    file: OwnedFd,
    /// The file's device and inode. As its descriptor is held, no other file gets the same.
    identity: (u64, u64),
}

impl Entry {
    /// What stands at `path` now, be it a link.
    fn at(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let folder = openat(CWD, folder, flags | OFlags::DIRECTORY, Mode::empty())?;
        let file = openat(&folder, &name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        let identity = identity(&fstat(&file)?);
        Ok(Self { folder, name, file, identity })
    }

    fn is_socket(&self) -> io::Result<bool> {
        Ok(FileType::from_raw_mode(fstat(&self.file)?.st_mode) == FileType::Socket)
    }

    /// Removes the name, unless it leads to another file by now.
    fn remove(&self) -> io::Result<()> {
        let now = statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if identity(&now) == self.identity {
            unlinkat(&self.folder, &self.name, AtFlags::empty())?;
        }
        Ok(())
    }

    /// A path that leads to this very file, wherever it is by now: of calls that take no
    /// descriptor.
    fn by_descriptor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

impl SocketFile {
    /// The file that bind(2) has just made.
    ///
    /// # Errors
    /// Somebody has put another file in its place already.
    pub(super) fn made_at(path: &Path) -> io::Result<Self> {
        let entry = Entry::at(path)?;
        let stat = fstat(&entry.file)?;
        // A socket of another of ours could only be linked to, or moved, by somebody who may do as
        // much to it anyway.
        if !entry.is_socket()? || stat.st_uid != geteuid().as_raw() || stat.st_nlink != 1 {
            return Err(io::Error::other("another file was put in its place while it was made"));
        }
        Ok(Self { entry, path: path.to_owned(), is_ours: true })
    }

    /// The file that a process before this made; none if it is gone by now, or another.
    pub(super) fn left(address: &ListenAddress, made: (u64, u64)) -> Option<Self> {
        let (ListenAddress::Unix(path) | ListenAddress::Unixgram(path)) = address else { return None };
        let entry = Entry::at(path).ok().filter(|entry| entry.identity == made)?;
        Some(Self { entry, path: path.clone(), is_ours: true })
    }

    /// Its device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.entry.identity
    }

    /// Leaves the file to the process that has the socket now.
    pub(super) fn leave(mut self) {
        self.is_ours = false;
    }

    /// Sets its owner, then who else may use it.
    pub(super) fn give_to(&self, settings: &UnixSettings) -> io::Result<()> {
        let (user, group) = (settings.user.map(Uid::from_raw), settings.group.map(Gid::from_raw));
        if user.is_some() || group.is_some() {
            chownat(&self.entry.file, "", user, group, AtFlags::EMPTY_PATH)?;
        }
        // fchmod(2) takes no such descriptor, and fchmodat2(2) is younger than the kernels this
        // runs on.
        Ok(chmodat(CWD, self.entry.by_descriptor(), Mode::from_raw_mode(settings.mode), AtFlags::empty())?)
    }

    /// Whether nothing stands at its path any more, so that nobody finds the socket.
    pub(super) fn is_gone(&self) -> bool {
        lstat(&self.path).is_err_and(|error| io::Error::from(error).kind() == io::ErrorKind::NotFound)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = self.entry.remove();
        }
    }
}

/// Removes a socket's file that a dead process left behind. A living one's is left alone.
pub(super) fn remove_stale(path: &Path, kind: Type) -> io::Result<()> {
    let in_use = |reason: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, reason));
    let entry = Entry::at(path)?;
    if !entry.is_socket()? {
        return in_use("a file that is no socket stands there");
    }
    let name = SockAddr::unix(entry.by_descriptor())?;
    match Socket::new(Domain::UNIX, kind.nonblocking(), None)?.connect(&name) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => entry.remove(),
        // Whatever else it answers, somebody is there to answer. EPROTOTYPE: a server of the other
        // kind.
        _ => in_use("a running process has it"),
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
