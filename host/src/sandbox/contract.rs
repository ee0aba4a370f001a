//! `wharf:handler` as the host speaks it. `wit/handler.wit` is the contract; a plugin that
//! disagrees with what stands here is refused when it is loaded.

use std::io;
use std::net;

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::config::{SocketAddress, UnixName, Wrong, ip_text, socket_addr};

/// The contract's package, and the version this host speaks. A plugin of any 0.1.x is taken: the
/// rule for versions below 1 is that a new minor version may break what was.
pub(crate) const PACKAGE: &str = "wharf:handler";
pub(crate) const VERSION: &str = "0.1.0";

/// Whether a plugin that was made for this version of the contract is taken.
pub(crate) fn is_spoken(version: &str) -> bool {
    let minor = VERSION.rsplit_once('.').map_or(VERSION, |(minor, _)| minor);
    version.strip_prefix(minor).is_some_and(|patch| patch.starts_with('.'))
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct InetAddress {
    pub(super) ip: String,
    pub(super) port: u16,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum Address {
    #[component(name = "inet")]
    Inet(InetAddress),
    #[component(name = "unix")]
    Unix(Option<String>),
}

impl From<&SocketAddress> for Address {
    fn from(endpoint: &SocketAddress) -> Self {
        match endpoint {
            SocketAddress::Inet(addr) => Self::Inet(InetAddress { ip: ip_text(addr), port: addr.port() }),
            SocketAddress::Unix(name) => Self::Unix(name.as_ref().map(UnixName::to_string)),
        }
    }
}

impl TryFrom<Address> for SocketAddress {
    type Error = ErrorCode;

    /// What a guest made up may be no address at all.
    fn try_from(address: Address) -> Result<Self, ErrorCode> {
        match address {
            Address::Inet(InetAddress { ip, port }) => inet(&ip, port),
            Address::Unix(name) => Ok(Self::Unix(name.map(|name| UnixName::of_text(name.as_bytes())))),
        }
    }
}

/// An internet address of its parts.
///
/// # Errors
/// For the guest: the text is none.
pub(super) fn inet(ip: &str, port: u16) -> Result<SocketAddress, ErrorCode> {
    match socket_addr(ip, port) {
        Ok(addr) => Ok(addr.into()),
        Err(Wrong::Ip) => Err(ErrorCode::Other(format!("{ip:?} is no IP address"))),
        Err(Wrong::Zone) => Err(ErrorCode::Other(format!("{ip:?} is on no interface of this machine"))),
    }
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum ErrorCode {
    #[component(name = "timed-out")]
    TimedOut,
    #[component(name = "connection-reset")]
    ConnectionReset,
    #[component(name = "broken-pipe")]
    BrokenPipe,
    #[component(name = "message-too-large")]
    MessageTooLarge,
    #[component(name = "not-permitted")]
    NotPermitted,
    #[component(name = "other")]
    Other(String),
}

impl From<io::Error> for ErrorCode {
    fn from(error: io::Error) -> Self {
        if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) {
            return Self::MessageTooLarge;
        }
        match error.kind() {
            // TCP gave up, over keepalive probes or over what it sent again and again: no wait of
            // the handler's is over.
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::TimedOut => {
                Self::ConnectionReset
            }
            // As recv(2) has it where SO_RCVTIMEO has run out.
            io::ErrorKind::WouldBlock => Self::TimedOut,
            io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => Self::BrokenPipe,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Self::Other(error.to_string()),
        }
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum Direction {
    #[component(name = "read")]
    Read,
    #[component(name = "write")]
    Write,
    #[component(name = "both")]
    Both,
}

impl From<Direction> for net::Shutdown {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Read => Self::Read,
            Direction::Write => Self::Write,
            Direction::Both => Self::Both,
        }
    }
}
