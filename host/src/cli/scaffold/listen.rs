//! Where a new project listens.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::config::{ConfigError, ListenAddress, MAX_TEXT_BYTES, file};

/// The port of a project that has no others beside it. Others have those below it.
const FIRST_PORT: u16 = 9999;
/// Ports below belong to the system's services.
const LAST_PORT: u16 = 1024;

/// Takes an address that was asked for, if a new project can serve it.
///
/// # Errors
/// It is an address for datagrams: the handler of a new project serves connections.
pub(super) fn checked(address: ListenAddress) -> Result<ListenAddress, ConfigError> {
    if address.is_stream() {
        return Ok(address);
    }
    let what = format!("a new project's handler serves connections; write \"{}\"", address.counterpart());
    Err(ConfigError::new("--listen", what))
}

/// An address on the loopback whose port no manifest in a folder beside the project has.
pub(super) fn free(parent: &Path) -> ListenAddress {
    let taken: HashSet<u16> =
        files(parent).iter().flat_map(|folder| files(folder)).flat_map(|file| ports(&file)).collect();
    let port = (LAST_PORT..=FIRST_PORT).rev().find(|port| !taken.contains(port)).unwrap_or(FIRST_PORT);
    ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// What a user types to speak to it.
pub(super) fn client(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(addr) | ListenAddress::Udp(addr) => format!("nc -N {} {}", addr.ip(), addr.port()),
        ListenAddress::Unix(path) | ListenAddress::Unixgram(path) => match path.to_string_lossy().strip_prefix('@') {
            Some(name) => format!("socat - ABSTRACT-CONNECT:{name}"),
            None => format!("nc -N -U {}", path.display()),
        },
    }
}

/// What is in a folder; nothing if it is none or can't be read.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The ports that a manifest listens on, if this is a manifest.
fn ports(path: &Path) -> Vec<u16> {
    let text = if path.extension().is_some_and(|extension| extension == "toml") {
        file::read(path, MAX_TEXT_BYTES).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    } else {
        None
    };
    let table: Table = text.and_then(|text| text.parse().ok()).unwrap_or_default();
    let urls = match table.get("listen") {
        Some(Value::Array(urls)) => urls.iter().collect(),
        url => Vec::from_iter(url),
    };
    let addresses = urls.into_iter().filter_map(|url| url.as_str()?.parse().ok());
    let port = |address| match address {
        ListenAddress::Tcp(addr) | ListenAddress::Udp(addr) => Some(addr.port()),
        ListenAddress::Unix(_) | ListenAddress::Unixgram(_) => None,
    };
    addresses.filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_types_reaches_the_address() {
        for (url, command) in [
            ("tcp://127.0.0.1:9999", "nc -N 127.0.0.1 9999"),
            ("tcp://[::1]:80", "nc -N ::1 80"),
            ("unix:///run/x.sock", "nc -N -U /run/x.sock"),
            ("unix://@x", "socat - ABSTRACT-CONNECT:x"),
        ] {
            assert_eq!(client(&url.parse().unwrap()), command);
        }
    }
}
