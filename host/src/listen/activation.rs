//! Socket activation: listening sockets that systemd opened, as sd_listen_fds(3) hands them over.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use socket2::{Socket, Type};

use super::socket_store::PassedSocket;
use crate::config::{ConfigError, ListenAddress};

/// What tells of the sockets. Not for children: they do not have these descriptors.
pub const VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// The first descriptor, `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// Whether the sockets have been taken: each has one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets that this process was started with, the first time that it asks, which has to be
/// before anything else is opened. None after that.
///
/// # Errors
/// The variables are not as sd_listen_fds(3) has them, or a descriptor is no socket that can be
/// served.
pub fn sockets() -> Result<Vec<PassedSocket>, ConfigError> {
    let Some(count) = variable("LISTEN_FDS") else { return Ok(Vec::new()) };
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let Some(pid) = variable("LISTEN_PID") else { return Ok(Vec::new()) };
    let wrong = |name: &str, value: &str| Err(ConfigError::new(name, format_args!("{value:?} is not a number")));
    let Ok(pid) = pid.parse::<u32>() else { return wrong("LISTEN_PID", &pid) };
    if pid != std::process::id() {
        // Meant for a process before this one.
        return Ok(Vec::new());
    }
    let Some(end) = count.parse::<u16>().ok().map(|count| FIRST + RawFd::from(count)) else {
        return wrong("LISTEN_FDS", &count);
    };
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let taken = (FIRST..end).zip(0..).map(|(descriptor, place): (RawFd, usize)| {
        take(descriptor).and_then(handed).map_err(|what| {
            let name = names.get(place).filter(|name| !name.is_empty());
            let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
            ConfigError::new("LISTEN_FDS", format_args!("descriptor {descriptor}{name} {what}"))
        })
    });
    taken.collect()
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn take(descriptor: RawFd) -> Result<OwnedFd, String> {
    #[expect(unsafe_code, reason = "descriptors that a process is born with have no owner yet")]
    // SAFETY: of one that is not open, the kernel says so, and nothing else is done with it. Of one
    // that is, nobody else knows: it was there before anything was opened, and is taken once.
    let owned = unsafe {
        fcntl_setfd(BorrowedFd::borrow_raw(descriptor), FdFlags::CLOEXEC).map_err(|_| "is not open".to_owned())?;
        OwnedFd::from_raw_fd(descriptor)
    };
    Ok(owned)
}

/// Finds out what was handed over.
fn handed(socket: OwnedFd) -> Result<PassedSocket, String> {
    let socket = Socket::from(socket);
    let kind = socket.r#type().map_err(|_| "is no socket")?;
    let address = address(&socket, kind).map_err(|error| error.to_string())?;
    let address = address.ok_or("is neither a TCP, UDP nor Unix socket with an address")?;
    if address.is_stream() && !socket.is_listener().map_err(|error| error.to_string())? {
        return Err("is a connection, and not a listener; write Accept=no into its unit".to_owned());
    }
    Ok(PassedSocket { socket, address, user: None, activated: true, file: None })
}

fn address(socket: &Socket, kind: Type) -> io::Result<Option<ListenAddress>> {
    let local = socket.local_addr()?;
    // As a manifest has it: IPv4 on a socket of IPv6 is IPv4.
    let inet = local.as_socket().map(|addr| match addr.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, addr.port()),
        _ => addr,
    });
    // A relative one could be taken for a name that is abstract.
    let path = local.as_pathname().filter(|path| path.is_absolute()).map(PathBuf::from);
    let name = || local.as_abstract_namespace().map(|name| format!("@{}", String::from_utf8_lossy(name)).into());
    let of = |inet_kind: fn(SocketAddr) -> ListenAddress, unix_kind: fn(PathBuf) -> ListenAddress| match inet {
        Some(addr) => Some(inet_kind(addr)),
        None => path.clone().or_else(name).map(unix_kind),
    };
    Ok(match kind {
        Type::STREAM => of(ListenAddress::Tcp, ListenAddress::Unix),
        Type::DGRAM => of(ListenAddress::Udp, ListenAddress::Unixgram),
        _ => None,
    })
}
