//! From an address to a bound socket.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::bound::Bound;
use super::options;
use super::socket_file::{SocketFile, remove_stale};
use crate::config::{ListenAddress, SocketSettings};

/// Binds `address`.
///
/// # Errors
/// Those of socket(2) and bind(2). `AddrInUse` for a Unix socket whose server lives, or a file that
/// is no socket.
pub(super) fn bind(address: &ListenAddress, settings: &SocketSettings) -> io::Result<Bound> {
    match address {
        ListenAddress::Tcp(addr) | ListenAddress::Udp(addr) => {
            let kind = if matches!(address, ListenAddress::Tcp(_)) { Type::STREAM } else { Type::DGRAM };
            let socket = Socket::new(Domain::for_address(*addr), kind.nonblocking(), None)?;
            // For TCP: a server that went a moment ago leaves connections in TIME_WAIT behind,
            // which must not keep the port. For UDP it would let two servers share one, and the
            // second take all.
            socket.set_reuse_address(settings.reuse_address && kind == Type::STREAM)?;
            socket.set_reuse_port(settings.reuse_port)?;
            if addr.is_ipv6() {
                // [::] means IPv6 alone, whatever net.ipv6.bindv6only says, so that 0.0.0.0 can
                // stand beside it.
                socket.set_only_v6(true)?;
            }
            if kind == Type::STREAM {
                // Accepted sockets inherit it, which spares a call a connection.
                socket.set_tcp_nodelay(settings.nodelay)?;
            }
            options::set(&socket, address, settings)?;
            socket.bind(&SockAddr::from(*addr))?;
            let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let address = if kind == Type::STREAM { ListenAddress::Tcp(local) } else { ListenAddress::Udp(local) };
            Ok(Bound { socket, address, file: None, loan: None })
        }
        ListenAddress::Unix(path) => bind_unix(address, path, Type::STREAM, settings),
        ListenAddress::Unixgram(path) => bind_unix(address, path, Type::DGRAM, settings),
    }
}

fn bind_unix(address: &ListenAddress, path: &Path, kind: Type, settings: &SocketSettings) -> io::Result<Bound> {
    let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
    let address = address.clone();
    options::set(&socket, &address, settings)?;
    if let Some(name) = path.as_os_str().as_bytes().strip_prefix(b"@") {
        socket.bind(&abstract_address(name)?)?;
        return Ok(Bound { socket, address, file: None, loan: None });
    }
    // On Linux the file gets the socket's own mode, less the umask: nobody is let in before the
    // mode below is set.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(settings.unix.mode))?;
    let name = SockAddr::unix(path)?;
    match socket.bind(&name) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, kind)?;
            socket.bind(&name)?;
        }
        bound => bound?,
    }
    let file = SocketFile::made_at(path)?;
    file.give_to(&settings.unix)?;
    Ok(Bound { socket, address, file: Some(file), loan: None })
}

/// unix(7): an abstract name begins with a NUL, and is as long as it says.
fn abstract_address(name: &[u8]) -> io::Result<SockAddr> {
    SockAddr::unix(Path::new(std::ffi::OsStr::from_bytes(&[b"\0", name].concat())))
}
