//! Addresses as URLs: where a server listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::events::is_plain;

/// The families socketserver knows, as URL schemes.
const SCHEMES: [&str; 4] = ["tcp", "udp", "unix", "unixgram"];

/// Where a server listens: `tcp://127.0.0.1:9999`, `udp://[::]:0`, `unix:///run/x.sock`, `unixgram://@abstract`. Port 0
/// leaves the choice to the kernel; a Unix name with `@` in front is in Linux's abstract namespace, without a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
    Unixgram(PathBuf),
}

impl Address {
    /// Whether it carries connections, and not datagrams.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// The address of the other sort in the same place.
    pub fn counterpart(&self) -> Self {
        match self.clone() {
            Self::Tcp(addr) => Self::Udp(addr),
            Self::Udp(addr) => Self::Tcp(addr),
            Self::Unix(path) => Self::Unixgram(path),
            Self::Unixgram(path) => Self::Unix(path),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(|c| !is_plain(c)) {
            // It is to be printed, in an event's one line for one.
            return Err(format!("{text:?} has a character in it that can't be seen, which no address has"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(match text.parse::<SocketAddr>() {
                Ok(_) => format!("{text:?} has no scheme; write \"tcp://{text}\""),
                Err(_) => format!("{text:?} is no address; write one like \"tcp://127.0.0.1:9999\""),
            });
        };
        match scheme {
            "tcp" => inet(text, scheme, rest).map(Self::Tcp),
            "udp" => inet(text, scheme, rest).map(Self::Udp),
            "unix" => path(text, scheme, rest).map(Self::Unix),
            "unixgram" => path(text, scheme, rest).map(Self::Unixgram),
            _ => Err(format!(
                "{text:?} has an unknown scheme; write \"{}://{rest}\"",
                super::nearest(scheme, &SCHEMES).unwrap_or("tcp")
            )),
        }
    }
}

fn inet(text: &str, scheme: &str, rest: &str) -> Result<SocketAddr, String> {
    if let Ok(addr) = rest.parse::<SocketAddr>() {
        return Ok(addr);
    }
    // What was probably meant, so that the message can be pasted back.
    let (host, port) = match rest.trim_end_matches('/').rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(format!("{text:?} has a port beyond 65535; write \"{scheme}://{host}:9999\""));
        }
        _ => (rest, "9999"),
    };
    let host = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Err(_) if host.is_empty() || host == "*" => "0.0.0.0".to_owned(),
        Err(_) => "127.0.0.1".to_owned(),
    };
    Err(format!("{text:?} is no IP address with a port; write \"{scheme}://{host}:{port}\""))
}

/// The longest path that fits `sockaddr_un`, without its closing NUL (unix(7)).
const MAX_PATH: usize = 107;

fn path(text: &str, scheme: &str, rest: &str) -> Result<PathBuf, String> {
    if rest == "@" || !rest.starts_with(['/', '@']) {
        Err(format!("{text:?} has no absolute path; write \"{scheme}:///run/{rest}\""))
    } else if rest.len() > MAX_PATH {
        Err(format!("{text:?} has a path of {} bytes; a Unix socket's is at most {MAX_PATH}", rest.len()))
    } else {
        Ok(PathBuf::from(rest))
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "tcp://{addr}"),
            Self::Udp(addr) => write!(f, "udp://{addr}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Unixgram(path) => write!(f, "unixgram://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_are_written() {
        for text in
            ["tcp://127.0.0.1:9999", "tcp://[::]:0", "udp://0.0.0.0:53", "unix:///run/x.sock", "unixgram:///run/x.sock"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_addresses_are_told_the_nearest_right_one() {
        for (wrong, right) in [
            ("tpc://127.0.0.1:1", "tcp://127.0.0.1:1"),
            ("127.0.0.1:9999", "tcp://127.0.0.1:9999"),
            ("tcp://127.0.0.1", "tcp://127.0.0.1:9999"),
            ("tcp://localhost:80", "tcp://127.0.0.1:80"),
            ("tcp://:80", "tcp://0.0.0.0:80"),
            ("tcp://::1:80", "tcp://[::1]:80"),
            ("tcp://127.0.0.1:70000", "tcp://127.0.0.1:9999"),
            ("unix://run/x.sock", "unix:///run/run/x.sock"),
            ("nonsense", "tcp://127.0.0.1:9999"),
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            assert!(error.contains(wrong) && error.contains(right), "{error}");
            assert!(right.parse::<Address>().is_ok(), "{right}");
        }
    }

    #[test]
    fn an_address_is_one_line_of_plain_text() {
        for (wrong, shown) in [
            ("unix:///run/x\nlistening", r"/run/x\nlistening"),
            ("unix:///run/\0", r"/run/\0"),
            ("tpc://\x1b", r"\u{1b}"),
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            assert!(error.contains(shown) && error.contains("that can't be seen"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}
