//! Reading what stands where a plugin or its settings are expected, whatever it is.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::config::Size;

/// Reads a regular file of `most` bytes at the most. Never waits, as opening a FIFO does, and touches no device.
///
/// # Errors
/// Those of stat(2), open(2) and read(2); what is no regular file; a larger one, without reading it; no memory for it.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    regular(&fs::metadata(path)?.file_type())?;
    // It may have become another in between.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    regular(&metadata.file_type())?;
    let too_large = |size: u64| {
        let reason = format!("a file of {}, and {} is the most that is read", Size(size), Size(most));
        io::Error::new(io::ErrorKind::FileTooLarge, reason)
    };
    if metadata.len() > most {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(metadata.len()).map_err(io::Error::other)?)?;
    // One that grows meanwhile has the same limit.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
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
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

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
