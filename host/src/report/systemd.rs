//! What systemd is told, by sd_notify(3). The protocol is a datagram of `KEY=VALUE` lines, which
//! std sends as well as a crate does.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Where to send it. Not for children, which are silent.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// How long a manager that does not read may hold the host up.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// The service manager; nobody where there is none.
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// Of this process's environment. An address that is none is logged, and nobody told.
    pub fn of_this_process() -> Self {
        let Some(address) = env::var_os(VARIABLE).filter(|address| !address.is_empty()) else { return Self(None) };
        match open(address.as_bytes()) {
            Ok(manager) => Self(Some(manager)),
            Err(error) => {
                tracing::warn!(address = %address.display(), %error, "{VARIABLE} is no address: nobody is notified");
                Self(None)
            }
        }
    }

    /// All that there was to load is loaded or refused, and served where it can be.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Everything is looked at again; [`Notifier::ready`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Looking for changed plugins"));
    }

    /// No more connections are taken.
    pub fn stopping(&self, sessions: usize) {
        self.tell(&format!("STOPPING=1\nSTATUS=Draining {sessions} sessions"));
    }

    /// Another process is the service now.
    pub fn succeeded_by(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, "the service manager can't be notified");
        }
    }
}

fn open(address: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address))?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(NOTIFY_TIMEOUT))?;
    Ok((socket, address))
}
