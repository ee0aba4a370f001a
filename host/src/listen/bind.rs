//! From an address to a bound socket.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use super::inherited::Loan;
use crate::config::{Address, Keepalive, SocketSettings, UnixSettings};

/// A socket and the file that stands for it, if it has one.
pub(super) struct Bound {
    pub(super) socket: Socket,
    /// With the port the kernel chose.
    pub(super) address: Address,
    pub(super) file: Option<SocketFile>,
    /// Where it was not bound here.
    pub(super) loan: Option<Loan>,
}

/// Binds `address`.
///
/// # Errors
/// Those of socket(2) and bind(2). `AddrInUse` for a Unix socket whose server lives, or a file that is no socket.
pub(super) fn bind(address: &Address, settings: &SocketSettings) -> io::Result<Bound> {
    match address {
        Address::Tcp(addr) | Address::Udp(addr) => {
            let kind = if matches!(address, Address::Tcp(_)) { Type::STREAM } else { Type::DGRAM };
            let socket = Socket::new(Domain::for_address(*addr), kind.nonblocking(), None)?;
            // For TCP: a server that went a moment ago leaves connections in TIME_WAIT behind, which must not keep the
            // port. For UDP it would let two servers share one, and the second take all.
            socket.set_reuse_address(settings.reuse_address && kind == Type::STREAM)?;
            socket.set_reuse_port(settings.reuse_port)?;
            if addr.is_ipv6() {
                // [::] means IPv6 alone, whatever net.ipv6.bindv6only says, so that 0.0.0.0 can stand beside it.
                socket.set_only_v6(true)?;
            }
            if kind == Type::STREAM {
                prepare_tcp(&socket, settings)?;
            }
            socket.bind(&SockAddr::from(*addr))?;
            let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let address = if kind == Type::STREAM { Address::Tcp(local) } else { Address::Udp(local) };
            Ok(Bound { socket, address, file: None, loan: None })
        }
        Address::Unix(path) => bind_unix(address, path, Type::STREAM, settings),
        Address::Unixgram(path) => bind_unix(address, path, Type::DGRAM, settings),
    }
}

/// Sets what accepted sockets inherit from their listener, which spares a call a connection.
pub(super) fn prepare_tcp(socket: &Socket, settings: &SocketSettings) -> io::Result<()> {
    socket.set_tcp_nodelay(settings.nodelay)?;
    match settings.keepalive {
        Some(Keepalive { idle, interval, count }) => {
            let probes = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
            socket.set_tcp_keepalive(&probes)
        }
        None => socket.set_keepalive(false),
    }
}

fn bind_unix(address: &Address, path: &Path, kind: Type, settings: &SocketSettings) -> io::Result<Bound> {
    let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
    let address = address.clone();
    if let Some(name) = path.as_os_str().as_bytes().strip_prefix(b"@") {
        socket.bind(&abstract_address(name)?)?;
        return Ok(Bound { socket, address, file: None, loan: None });
    }
    // On Linux the file gets the socket's own mode, less the umask: nobody is let in before the mode below is set.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(settings.unix.mode))?;
    let name = SockAddr::unix(path)?;
    match socket.bind(&name) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, &name, kind)?;
            socket.bind(&name)?;
        }
        bound => bound?,
    }
    let file = SocketFile::of(path)?;
    file.give_to(&settings.unix)?;
    Ok(Bound { socket, address, file: Some(file), loan: None })
}

/// unix(7): an abstract name begins with a NUL, and is as long as it says.
fn abstract_address(name: &[u8]) -> io::Result<SockAddr> {
    SockAddr::unix(Path::new(std::ffi::OsStr::from_bytes(&[b"\0", name].concat())))
}

/// Removes a socket's file that a dead process left behind. A living one's is left alone.
fn remove_stale(path: &Path, name: &SockAddr, kind: Type) -> io::Result<()> {
    let in_use = |reason: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, reason));
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return in_use("a file that is no socket stands there");
    }
    match Socket::new(Domain::UNIX, kind.nonblocking(), None)?.connect(name) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Whatever else it answers, somebody is there to answer. EPROTOTYPE: a server of the other kind.
        _ => in_use("a running process has it"),
    }
}

/// The file of a Unix socket, removed when this is dropped.
pub(super) struct SocketFile {
    path: PathBuf,
    /// What it was when it was made: a successor's file of the same name is not ours to remove.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }

    /// The file that a process before this made; none if it is gone by now, or another.
    pub(super) fn left(address: &Address, made: (u64, u64)) -> Option<Self> {
        let (Address::Unix(path) | Address::Unixgram(path)) = address else { return None };
        Self::of(path).ok().filter(|file| file.identity == made)
    }

    /// Its device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Leaves the file to the process that has the socket now.
    pub(super) fn leave(self) {
        std::mem::forget(self);
    }

    /// Sets its owner, then who else may use it.
    pub(super) fn give_to(&self, settings: &UnixSettings) -> io::Result<()> {
        chown(&self.path, settings.user, settings.group)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(settings.mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
