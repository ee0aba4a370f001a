//! The addresses of a connection or a datagram.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::bindings::stream::wharf::handler::types;

/// One end of a connection, or the source or destination of a datagram.
///
/// Its text is what `SocketAddr` prints, `127.0.0.1:9999` or `[::1]:80`. A Unix socket's text is
/// its path, or `unnamed` where it has none, as is usual for clients. IPv6 addresses have no scope
/// here: the host does not tell it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 address and a port.
    Inet(SocketAddr),
    /// A Unix socket's path, if it has one. `@` and a name stand for a socket in Linux's abstract
    /// namespace, which has no file.
    Unix(Option<PathBuf>),
}

impl Address {
    /// The IP address without the port; `None` for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Inet(address) => Some(address.ip()),
            Address::Unix(_) => None,
        }
    }

    /// The port; `None` for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Inet(address) => Some(address.port()),
            Address::Unix(_) => None,
        }
    }

    /// The path of a Unix socket; `None` where it has none, and for an IP address.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Address::Inet(_) => None,
            Address::Unix(path) => path.as_deref(),
        }
    }

    pub(crate) fn from_contract(address: types::Address) -> Self {
        match address {
            types::Address::Inet(types::InetAddress { ip, port }) => {
                let ip: IpAddr =
                    ip.parse().unwrap_or_else(|_| panic!("the host broke the contract: {ip:?} is no IP address"));
                Address::Inet(SocketAddr::new(ip, port))
            }
            types::Address::Unix(path) => Address::Unix(path.map(PathBuf::from)),
        }
    }

    /// # Errors
    /// `InvalidInput` for an address that the contract cannot express: a path that is not UTF-8, an
    /// IPv6 address with a scope.
    pub(crate) fn to_contract(&self) -> io::Result<types::Address> {
        let invalid = |what| io::Error::new(ErrorKind::InvalidInput, what);
        Ok(match self {
            Address::Inet(SocketAddr::V6(address)) if address.scope_id() != 0 => {
                return Err(invalid("an IPv6 address with a scope can't be sent to"));
            }
            Address::Inet(address) => {
                types::Address::Inet(types::InetAddress { ip: address.ip().to_string(), port: address.port() })
            }
            Address::Unix(None) => types::Address::Unix(None),
            Address::Unix(Some(path)) => {
                let path = path.to_str().ok_or_else(|| invalid("the path isn't UTF-8"))?;
                types::Address::Unix(Some(path.to_owned()))
            }
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(f),
            Address::Unix(Some(path)) => path.display().fmt(f),
            Address::Unix(None) => f.write_str("unnamed"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Inet(address)
    }
}

impl TryFrom<Address> for SocketAddr {
    type Error = NotInet;

    fn try_from(address: Address) -> Result<Self, NotInet> {
        match address {
            Address::Inet(address) => Ok(address),
            Address::Unix(_) => Err(NotInet),
        }
    }
}

/// The error of a conversion to [`SocketAddr`]: the address is a Unix socket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotInet;

impl fmt::Display for NotInet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Unix socket has no IP address")
    }
}

impl Error for NotInet {}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(ip: &str, port: u16) -> Address {
        Address::from_contract(types::Address::Inet(types::InetAddress { ip: ip.into(), port }))
    }

    #[test]
    fn prints_as_the_standard_library_does() {
        assert_eq!(inet("127.0.0.1", 9999).to_string(), "127.0.0.1:9999");
        assert_eq!(inet("::1", 80).to_string(), "[::1]:80");
        let named = types::Address::Unix(Some("/run/upper.sock".into()));
        assert_eq!(Address::from_contract(named).to_string(), "/run/upper.sock");
        assert_eq!(Address::from_contract(types::Address::Unix(None)).to_string(), "unnamed");
    }

    #[test]
    fn converts_to_and_from_socket_addr() {
        let std: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Address::from(std), inet("::1", 80));
        assert_eq!(SocketAddr::try_from(inet("::1", 80)), Ok(std));
        assert_eq!(SocketAddr::try_from(Address::Unix(None)), Err(NotInet));
    }

    #[test]
    fn goes_back_to_the_host_as_it_came() {
        let unix = |path: &str| Address::Unix(Some(path.into()));
        for address in
            [inet("127.0.0.1", 9999), inet("::1", 80), unix("/run/upper.sock"), unix("@upper"), Address::Unix(None)]
        {
            assert_eq!(Address::from_contract(address.to_contract().unwrap()), address);
        }
    }

    #[test]
    fn an_address_with_a_scope_is_an_error() {
        let scoped: SocketAddr = "[fe80::1%3]:80".parse().unwrap();
        assert_eq!(Address::from(scoped).to_contract().unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_an_error() {
        use std::os::unix::ffi::OsStringExt;
        let path = std::ffi::OsString::from_vec(b"/run/\xff".to_vec());
        let error = Address::Unix(Some(path.into())).to_contract().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn tells_its_parts() {
        assert_eq!(inet("127.0.0.2", 7).ip(), Some("127.0.0.2".parse().unwrap()));
        assert_eq!(inet("127.0.0.2", 7).port(), Some(7));
        assert_eq!(inet("127.0.0.2", 7).path(), None);
        let unix = Address::Unix(Some("/run/x".into()));
        assert_eq!((unix.ip(), unix.port(), unix.path()), (None, None, Some(Path::new("/run/x"))));
    }
}
