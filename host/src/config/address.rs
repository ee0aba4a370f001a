//! Addresses as URLs: where a server listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use super::plain::is_plain;
use super::zone::{Wrong, socket_addr};

/// The families socketserver knows, as URL schemes.
const SCHEMES: [&str; 4] = ["tcp", "udp", "unix", "unixgram"];

/// Where a server listens: `tcp://127.0.0.1:9999`, `udp://[::]:0`, `unix:///run/x.sock`,
/// `unixgram://@abstract`. Port 0 leaves the choice to the kernel; a Unix name with `@` in front is
/// in Linux's abstract namespace, without a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
    Unixgram(PathBuf),
}

impl ListenAddress {
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

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(|c| !is_plain(c)) {
            // It is to be printed, in an event's one line for one.
            return Err(format!("{text:?} has a character in it that can't be seen, which no address has"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(match text.parse::<SocketAddr>() {
                Ok(_) => format!("{text:?} has no scheme; write \"tcp://{text}\""),
                Err(_) => match text.split_once(':') {
                    Some((scheme @ ("unix" | "unixgram"), path)) => {
                        format!("{text:?} is no address; write \"{scheme}://{path}\"")
                    }
                    _ => format!("{text:?} is no address; write one like \"tcp://127.0.0.1:9999\""),
                },
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
    let bare = rest.trim_end_matches('/');
    let (host, port) = match bare.rsplit_once(':') {
        // An IPv6 address without brackets has colons of its own, and perhaps a port behind it.
        Some((host, port)) if port.is_empty() || !port.contains(']') => (host, Some(port)),
        _ => (bare, None),
    };
    let name = host.trim_matches(['[', ']']);
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let parsed = socket_addr(name, 0);
    // What was probably meant, so that the message can be pasted back.
    let meant = match parsed {
        Ok(addr) => match addr.ip().to_canonical() {
            IpAddr::V6(_) => format!("[{name}]"),
            ip @ IpAddr::V4(_) => ip.to_string(),
        },
        Err(_) if name.is_empty() || name == "*" => "0.0.0.0".to_owned(),
        Err(_) => "127.0.0.1".to_owned(),
    };
    let number = port.and_then(|port| port.parse::<u16>().ok());
    let write = |port: &str| format!("write \"{scheme}://{meant}:{port}\"");
    let Some(number) = number else {
        let port = port.unwrap_or_default();
        return Err(match port.split_once('-') {
            _ if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                format!("{text:?} has a port beyond 65535; {}", write("9999"))
            }
            Some((first, last)) if [first, last].iter().all(|port| port.parse::<u16>().is_ok()) => {
                let [first, last] = [first, last].map(|port| format!("\"{scheme}://{meant}:{port}\""));
                format!("{text:?} has a range of ports; write each in a list: listen = [{first}, {last}]")
            }
            _ => format!("{text:?} is no IP address with a port; {}", write("9999")),
        });
    };
    let port = number.to_string();
    match parsed {
        Ok(addr) if addr.is_ipv6() != is_bracketed => {
            Err(format!("{text:?} is no IP address with a port; {}", write(&port)))
        }
        Ok(addr) if addr.ip().to_canonical().is_ipv4() && addr.is_ipv6() => {
            Err(format!("{text:?} is an IPv4 address in an IPv6 one's form; {}", write(&port)))
        }
        Ok(mut addr) => {
            addr.set_port(number);
            if bare == rest { Ok(addr) } else { Err(format!("{text:?} has more than a port; {}", write(&port))) }
        }
        Err(Wrong::Zone) => {
            let zone = name.split_once('%').unwrap_or_default().1;
            Err(format!("{text:?} is on no interface of this machine; ip(8) lists them, and {zone:?} is none"))
        }
        Err(Wrong::Ip) if name.is_empty() || name == "*" => {
            let both = format!("listen = [\"{scheme}://0.0.0.0:{port}\", \"{scheme}://[::]:{port}\"]");
            Err(format!("{text:?} has no address; for all of them write {both}"))
        }
        Err(Wrong::Ip) if name.eq_ignore_ascii_case("localhost") => {
            let both = format!("\"{scheme}://127.0.0.1:{port}\" or \"{scheme}://[::1]:{port}\", or both in a list");
            Err(format!("{text:?} has a name, which is looked up for nobody; write {both}"))
        }
        Err(Wrong::Ip) if name.contains(|c: char| c.is_ascii_alphabetic()) && !name.contains([':', '/', '%']) => {
            let what = "a name, which is looked up for nobody; write an IP address of this machine's";
            Err(format!("{text:?} has {what}: \"{scheme}://{meant}:{port}\""))
        }
        Err(Wrong::Ip) => Err(format!("{text:?} is no IP address with a port; {}", write(&port))),
    }
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

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ListenAddress {
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
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
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
            ("tcp://*:80", "tcp://[::]:80"),
            ("udp://localhost:80", "udp://[::1]:80"),
            ("tcp://example.com:80", "tcp://127.0.0.1:80"),
            ("tcp://127.0.0.1:80/", "tcp://127.0.0.1:80"),
            ("tcp://127.0.0.1:8000-8010", "tcp://127.0.0.1:8010"),
            ("tcp://127.0.0.1:http", "tcp://127.0.0.1:9999"),
            ("tcp://[::ffff:127.0.0.1]:80", "tcp://127.0.0.1:80"),
            ("tcp://[fe80::1%lo]", "tcp://[fe80::1%lo]:9999"),
            ("tcp://[127.0.0.1]:80", "tcp://127.0.0.1:80"),
            ("unix:/run/x.sock", "unix:///run/x.sock"),
            ("tcp://::1:80", "tcp://[::1]:80"),
            ("tcp://127.0.0.1:70000", "tcp://127.0.0.1:9999"),
            ("unix://run/x.sock", "unix:///run/run/x.sock"),
            ("nonsense", "tcp://127.0.0.1:9999"),
        ] {
            let error = wrong.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains(wrong) && error.contains(right), "{error}");
            assert!(right.parse::<ListenAddress>().is_ok(), "{right}");
        }
    }

    #[test]
    fn a_zone_is_an_interface_or_its_number() {
        let loopback = super::super::zone::index("lo").expect("every machine has it");
        let address: ListenAddress = "tcp://[fe80::1%lo]:80".parse().unwrap();
        assert_eq!(address, format!("tcp://[fe80::1%{loopback}]:80").parse().unwrap());
        assert_eq!(address.to_string().parse(), Ok(address));
        let error = "tcp://[fe80::1%no-such-one]:80".parse::<ListenAddress>().unwrap_err();
        assert!(error.contains("no interface") && error.contains("\"no-such-one\""), "{error}");
    }

    #[test]
    fn what_is_no_address_is_called_by_what_it_is() {
        for (wrong, what) in [
            ("tcp://localhost:80", "a name"),
            ("udp://db.internal:53", "a name"),
            ("tcp://127.0.0.1:8000-8010", "a range of ports"),
            ("tcp://*:80", "for all of them"),
        ] {
            let error = wrong.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn an_address_is_one_line_of_plain_text() {
        for (wrong, shown) in [
            ("unix:///run/x\nlistening", r"/run/x\nlistening"),
            ("unix:///run/\0", r"/run/\0"),
            ("tpc://\x1b", r"\u{1b}"),
        ] {
            let error = wrong.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains(shown) && error.contains("that can't be seen"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}
