//! Zones of IPv6 addresses: the interface that a link-local address is on.

use std::io;
use std::net::SocketAddr;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

/// The number of a zone, which is written as that or as an interface's name; none if there is no
/// such interface.
pub(super) fn index(zone: &str) -> Option<u32> {
    let look_up = || -> io::Result<u32> {
        // Any socket will do, says netdevice(7).
        Ok(name_to_index(socket(AddressFamily::UNIX, SocketType::DGRAM, None)?, zone)?)
    };
    zone.parse().ok().filter(|index| *index != 0).or_else(|| look_up().ok())
}

/// An address and a port of their texts: `fe80::1%eth0`, `::1` or `127.0.0.1`.
///
/// # Errors
/// What is wrong: the address, or its zone.
pub fn socket_addr(ip: &str, port: u16) -> Result<SocketAddr, Wrong> {
    let (ip, zone) = match ip.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (ip, None),
    };
    let mut addr = SocketAddr::new(ip.parse().map_err(|_| Wrong::Ip)?, port);
    match (&mut addr, zone) {
        (_, None) => {}
        (SocketAddr::V4(_), Some(_)) => return Err(Wrong::Ip),
        (SocketAddr::V6(addr), Some(zone)) => addr.set_scope_id(index(zone).ok_or(Wrong::Zone)?),
    }
    Ok(addr)
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Ip,
    /// No interface of this machine.
    Zone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_number_or_an_interface() {
        assert_eq!(socket_addr("fe80::1%3", 80), Ok("[fe80::1%3]:80".parse().unwrap()));
        let loopback = index("lo").expect("every machine has it");
        assert_eq!(socket_addr("fe80::1%lo", 80), Ok(format!("[fe80::1%{loopback}]:80").parse().unwrap()));
        assert_eq!(socket_addr("fe80::1%no-such-interface", 80), Err(Wrong::Zone));
        assert_eq!(socket_addr("fe80::1%", 80), Err(Wrong::Zone));
        assert_eq!(socket_addr("127.0.0.1%lo", 80), Err(Wrong::Ip));
    }
}
