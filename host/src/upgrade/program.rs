//! What to start in the place of this process.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The path that this process was started from, whatever stands there by now, and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Executable {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Executable {
    /// To be called before the current folder or `PATH` change. `/proc/self/exe` would be the old
    /// file, once another is renamed to its place, and where a link leads now, once it leads
    /// elsewhere.
    ///
    /// # Errors
    /// There is no path.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let name = arguments.next().map(PathBuf::from).unwrap_or_default();
        let is_path = name.components().nth(1).is_some();
        let path = if is_path { Some(std::path::absolute(name)?) } else { in_search_path(&name) };
        Ok(Self { path: path.map_or_else(env::current_exe, Ok)?, arguments: arguments.collect() })
    }
}

/// Where a shell finds the command.
fn in_search_path(name: &Path) -> Option<PathBuf> {
    if name.as_os_str().is_empty() {
        return None;
    }
    let is_program =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    let folders = env::var_os("PATH")?;
    let found = env::split_paths(&folders).map(|folder| folder.join(name)).find(is_program)?;
    std::path::absolute(found).ok()
}
