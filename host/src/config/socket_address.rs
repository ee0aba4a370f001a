//! One end of a socket, as logs show it and guests are told it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::plain::is_plain;

/// One end of a socket. Internet addresses come by `From`, which makes IPv4 of what an IPv6 socket
/// has of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketAddress {
    Inet(SocketAddr),
    /// A Unix socket's name; none where it has none, as a client's end seldom has.
    Unix(Option<UnixName>),
}

/// A Unix socket's name, byte for byte. Both kinds are written as text in logs and to guests: what
/// begins with `@` is abstract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnixName {
    /// A file's path. A client may have bound itself to a relative one, which only its own folder
    /// leads to.
    Path(Vec<u8>),
    /// In Linux's abstract namespace, without the NUL in front.
    Abstract(Vec<u8>),
}

impl UnixName {
    /// The name that is written so.
    pub fn of_text(text: &[u8]) -> Self {
        match text.strip_prefix(b"@") {
            Some(name) => Self::Abstract(name.to_owned()),
            None => Self::Path(text.to_owned()),
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, name) = match self {
            Self::Abstract(name) => ("@", name),
            Self::Path(path) if path.starts_with(b"/") || path.starts_with(b"./") => ("", path),
            // So that it is not taken for an abstract name, which has an `@` in front.
            Self::Path(path) => ("./", path),
        };
        write!(f, "{before}{}", String::from_utf8_lossy(name))
    }
}

impl SocketAddress {
    /// Whether this is what a guest wrote that meant `other`, of which it was told in text: perhaps
    /// without its zone, and with a Unix name that is no UTF-8 made some.
    pub fn means(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inet(a), Self::Inet(b)) => {
                let zone = |addr: &SocketAddr| match addr {
                    SocketAddr::V6(addr) => addr.scope_id(),
                    SocketAddr::V4(_) => 0,
                };
                (a.ip(), a.port()) == (b.ip(), b.port()) && (zone(a) == 0 || zone(a) == zone(b))
            }
            (Self::Unix(Some(a)), Self::Unix(Some(b))) => a == b || a.to_string() == b.to_string(),
            _ => self == other,
        }
    }
}

/// An address without its port, and with its zone where it has one: `fe80::1%3` (RFC 4007).
pub fn ip_text(addr: &SocketAddr) -> String {
    match addr {
        SocketAddr::V6(addr) if addr.scope_id() != 0 => format!("{}%{}", addr.ip(), addr.scope_id()),
        _ => addr.ip().to_string(),
    }
}

impl From<SocketAddr> for SocketAddress {
    /// A socket of both families has IPv4 clients as `::ffff:192.0.2.1`; they are what they are on
    /// any other socket.
    fn from(addr: SocketAddr) -> Self {
        Self::Inet(match addr.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
            IpAddr::V6(_) => addr,
        })
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            // A client chooses its path, and might choose one that looks like more than a path.
            Self::Unix(Some(name)) => {
                let name = name.to_string();
                if name.chars().any(|c| c == '"' || c == '\\' || c.is_whitespace() || !is_plain(c)) {
                    write!(f, "{name:?}")
                } else {
                    f.write_str(&name)
                }
            }
            Self::Unix(None) => f.write_str("unnamed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_chooses_no_field_of_the_log_by_its_path() {
        let shown = |path: &str| SocketAddress::Unix(Some(UnixName::of_text(path.as_bytes()))).to_string();
        for path in ["/run/user/1000/client.sock", "@abstract", "/tmp/ключ-好"] {
            assert_eq!(shown(path), path);
        }
        assert_eq!(shown("/tmp/x plugin=bank"), r#""/tmp/x plugin=bank""#);
        assert_eq!(shown("/tmp/\"x\u{202e}\n"), r#""/tmp/\"x\u{202e}\n""#);
    }

    #[test]
    fn a_path_is_never_taken_for_an_abstract_name() {
        let path = UnixName::Path(b"@victim".to_vec());
        assert_eq!(path.to_string(), "./@victim");
        let name = UnixName::of_text(b"@victim");
        assert_eq!((&name, name.to_string().as_str()), (&UnixName::Abstract(b"victim".to_vec()), "@victim"));
        let [path, name] = [path, name].map(|name| SocketAddress::Unix(Some(name)));
        assert!(!name.means(&path) && !path.means(&name));
        let told = SocketAddress::Unix(Some(UnixName::of_text(path.to_string().as_bytes())));
        assert!(!told.means(&name));
    }

    #[test]
    fn what_a_guest_was_told_is_what_it_means() {
        let name = SocketAddress::Unix(Some(UnixName::Path(b"/run/\xff".to_vec())));
        assert!(SocketAddress::Unix(Some(UnixName::of_text(name.to_string().as_bytes()))).means(&name));
        let inet = |text: &str| SocketAddress::from(text.parse::<SocketAddr>().unwrap());
        assert!(inet("[fe80::1]:80").means(&inet("[fe80::1%3]:80")));
        assert!(inet("[fe80::1%3]:80").means(&inet("[fe80::1%3]:80")));
        assert!(!inet("[fe80::1%2]:80").means(&inet("[fe80::1%3]:80")));
        assert_eq!(inet("[::ffff:192.0.2.1]:80"), inet("192.0.2.1:80"));
        assert_eq!(ip_text(&"[fe80::1%3]:80".parse().unwrap()), "fe80::1%3");
    }
}
