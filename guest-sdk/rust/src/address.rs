//! Where a connection or a datagram comes from and where it arrived.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::bindings::stream::wharf::handler::types;

/// One end of a socket: a connection's, or where a datagram comes from or goes to.
///
/// Its text is what `SocketAddr` prints, `127.0.0.1:9999` or `[::1]:80`; a Unix socket's is its path, or
/// `unnamed` for the end that has none, as a client's seldom has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An address of the internet, version 4 or 6, and a port.
    Inet(SocketAddr),
    /// A Unix socket's path, if it has one; `@` and a name for one in Linux's abstract namespace, which has no file.
    Unix(Option<PathBuf>),
}

impl Address {
    /// The IP address, without the port; none for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Inet(address) => Some(address.ip()),
            Address::Unix(_) => None,
        }
    }

    /// The port; none for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Inet(address) => Some(address.port()),
            Address::Unix(_) => None,
        }
    }

    /// The path of a Unix socket that has one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Address::Inet(_) => None,
            Address::Unix(path) => path.as_deref(),
        }
    }

    pub(crate) fn from_contract(address: types::Address) -> Self {
        match address {
            types::Address::Inet(types::InetAddress { ip, port }) => Address::Inet(socket_addr(&ip, port)),
            types::Address::Unix(path) => Address::Unix(path.map(PathBuf::from)),
        }
    }

    /// Fails for a path that isn't UTF-8, as the contract's paths are text.
    pub(crate) fn to_contract(&self) -> io::Result<types::Address> {
        Ok(match self {
            Address::Inet(address) => types::Address::Inet(inet_address(*address)),
            Address::Unix(None) => types::Address::Unix(None),
            Address::Unix(Some(path)) => {
                let path =
                    path.to_str().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the path isn't UTF-8"))?;
                types::Address::Unix(Some(path.to_owned()))
            }
        })
    }
}

/// The bracketed form knows a scope, as in `fe80::1%3`, which `IpAddr` alone doesn't.
fn socket_addr(ip: &str, port: u16) -> SocketAddr {
    ip.parse()
        .map(|ip: IpAddr| SocketAddr::new(ip, port))
        .or_else(|_| format!("[{ip}]:{port}").parse())
        .unwrap_or_else(|_| panic!("the host broke the contract: {ip:?} is no IP address"))
}

/// Names a scope as [`socket_addr`] reads it, which `IpAddr` alone has none of.
fn inet_address(address: SocketAddr) -> types::InetAddress {
    let ip = match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => format!("{}%{}", address.ip(), address.scope_id()),
        _ => address.ip().to_string(),
    };
    types::InetAddress { ip, port: address.port() }
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

/// The address is a Unix socket's, which no [`SocketAddr`] can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        assert_eq!(inet("fe80::1%3", 80).to_string(), "[fe80::1%3]:80");
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
        for address in [
            inet("127.0.0.1", 9999),
            inet("::1", 80),
            inet("fe80::1%3", 80),
            unix("/run/upper.sock"),
            unix("@upper"),
            Address::Unix(None),
        ] {
            assert_eq!(Address::from_contract(address.to_contract().unwrap()), address);
        }
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
