//! A socket that is bound to its address, be it by this process or by another.

use std::sync::Arc;

use socket2::Socket;

use super::socket_file::SocketFile;
use crate::config::ListenAddress;

/// A socket and the file that stands for it, if it has one.
pub(super) struct Bound {
    pub(super) socket: Socket,
    /// With the port the kernel chose.
    pub(super) address: ListenAddress,
    pub(super) file: Option<SocketFile>,
    /// Where it was not bound here.
    pub(super) loan: Option<SocketLease>,
}

/// For as long as it lives, nobody else gets the same socket.
pub(super) struct SocketLease {
    pub(super) _alive: Arc<()>,
    pub(super) activated: bool,
}

impl SocketLease {
    /// Whether it is systemd's socket.
    pub(super) fn is_activated(&self) -> bool {
        self.activated
    }
}
