//! Folders that the operator grants: opened when the manifest is read, and held from then on, so
//! that it does not matter what becomes of their names afterwards.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{CWD, Mode, OFlags, fstat, open, openat, readlinkat, stat};
use rustix::io::Errno;

/// Links that are followed on the way to one folder: as many as the kernel follows.
const LINKS: usize = 40;

/// Which folder it is, whatever it is called: its device and inode.
type Identity = (u64, u64);

/// A link, and the folders that it lies in, up to the root.
type Link = (PathBuf, Vec<Identity>);

/// A granted folder, held open.
#[derive(Debug)]
pub struct GrantedFolder {
    held: OwnedFd,
    identity: Identity,
    /// Where it was when it was opened.
    path: PathBuf,
    /// The manifest that grants it, and whether the plugin may write to it.
    by: PathBuf,
    writable: bool,
    /// Every link on the way to it.
    links: Vec<Link>,
}

/// What this process holds, so that each is compared with the others.
static HELD: Mutex<Vec<Weak<GrantedFolder>>> = Mutex::new(Vec::new());

impl GrantedFolder {
    /// Opens the folder at `path`, which `by` grants. Links may lie on the way, for the operator
    /// has put them there; not in a folder that some plugin may write to, where it could put them
    /// as well.
    ///
    /// # Errors
    /// In words that follow the path: there is no folder, it may not be opened, or a plugin could
    /// change where the path leads.
    pub(super) fn open(path: &Path, by: &Path, writable: bool) -> Result<Arc<Self>, String> {
        let (held, links) = walk(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "is no folder".to_owned(),
            _ => format!("can't be opened: {error}"),
        })?;
        let identity = identity(held.as_fd()).map_err(|error| format!("can't be looked at: {error}"))?;
        let folder = Arc::new(Self { held, identity, path: path.into(), by: by.into(), writable, links });
        folder.is_out_of_reach(&folder)?;
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|other| other.strong_count() > 0);
        for other in held.iter().filter_map(Weak::upgrade) {
            // What the same manifest said before is about to be replaced.
            if other.by != folder.by {
                folder.is_out_of_reach(&other)?;
                other.is_out_of_reach(&folder)?;
            }
        }
        held.push(Arc::downgrade(&folder));
        Ok(folder)
    }

    /// Whether no link on the way to this folder lies in the other, where that one may be written
    /// to.
    ///
    /// # Errors
    /// In words that follow the path of one of the two.
    pub(super) fn is_out_of_reach(&self, of: &Self) -> Result<(), String> {
        let reached = self.links.iter().find(|(_, within)| of.writable && within.contains(&of.identity));
        match reached {
            None => Ok(()),
            Some((link, _)) => Err(format!(
                "{} is a link on the way to {}, and lies in {}, which is granted read-write: a plugin could have it lead elsewhere; \
                 name the folder that it leads to",
                link.display(),
                self.path.display(),
                of.path.display()
            )),
        }
    }

    /// Takes over a folder that another process opened.
    pub fn taken_over(held: OwnedFd) -> Arc<Self> {
        let (path, by) = Default::default();
        Arc::new(Self { held, identity: (0, 0), path, by, writable: false, links: Vec::new() })
    }

    /// Whether its path leads to another folder by now, or to none.
    pub fn has_moved(&self) -> bool {
        stat(&self.path).map_or(true, |stat| (stat.st_dev, stat.st_ino) != self.identity)
    }

    /// A path that leads to this very folder, in this process, for as long as it is held.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.held.as_raw_fd()).into()
    }
}

impl AsFd for GrantedFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

/// The same folder, granted alike.
impl PartialEq for GrantedFolder {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for GrantedFolder {}

fn identity(folder: BorrowedFd<'_>) -> io::Result<Identity> {
    let stat = fstat(folder)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Goes to a folder name by name, and notes each link that it follows.
fn walk(path: &Path) -> io::Result<(OwnedFd, Vec<Link>)> {
    const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    let root = || open("/", FOLDER, Mode::empty());
    let mut here = openat(CWD, ".", FOLDER, Mode::empty())?;
    // For what is said of links alone.
    let mut name = std::env::current_dir().unwrap_or_default();
    let mut links = Vec::new();
    let mut ahead: VecDeque<_> = steps(path);
    while let Some(step) = ahead.pop_front() {
        match Path::new(OsStr::from_bytes(&step)).components().next() {
            Some(Component::RootDir) => (here, name) = (root()?, PathBuf::from("/")),
            Some(Component::ParentDir) => {
                here = openat(&here, "..", FOLDER, Mode::empty())?;
                name.pop();
            }
            Some(Component::Normal(entry)) => match readlinkat(&here, entry, Vec::new()) {
                Ok(target) => {
                    if links.len() == LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    links.push((name.join(entry), above(&here)?));
                    let mut target = steps(Path::new(OsStr::from_bytes(target.as_bytes())));
                    target.append(&mut ahead);
                    ahead = target;
                }
                Err(Errno::INVAL) => {
                    // One that has become a link since is no folder.
                    here = openat(&here, entry, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
                    name.push(entry);
                }
                Err(error) => return Err(error.into()),
            },
            _ => {}
        }
    }
    Ok((here, links))
}

fn steps(path: &Path) -> VecDeque<Vec<u8>> {
    path.components().map(|step| step.as_os_str().as_bytes().to_vec()).collect()
}

/// A folder and all above it.
fn above(folder: &OwnedFd) -> io::Result<Vec<Identity>> {
    let mut found = vec![identity(folder.as_fd())?];
    let mut here = File::from(folder.try_clone()?);
    loop {
        here = openat(&here, "..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into();
        let above = identity(here.as_fd())?;
        // The root is above itself.
        if found.last() == Some(&above) {
            return Ok(found);
        }
        found.push(above);
    }
}
