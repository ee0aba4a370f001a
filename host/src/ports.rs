//! Which plugin has which address, so that a conflict can be named.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Address;

/// The addresses of all servers of this host.
#[derive(Clone, Default)]
pub struct Ports(Arc<Mutex<HashMap<Address, Arc<str>>>>);

/// One server's entry, gone when it is dropped.
pub struct Claim {
    ports: Ports,
    address: Address,
}

impl Ports {
    /// Enters a bound address.
    pub fn claim(&self, address: &Address, plugin: Arc<str>) -> Claim {
        self.entries().insert(address.clone(), plugin);
        Claim { ports: self.clone(), address: address.clone() }
    }

    /// Says whose the address is, where `error` says that it is taken and it is one of ours.
    pub fn explain(&self, asked: &Address, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::AddrInUse {
            return error;
        }
        match self.entries().iter().find(|(taken, _)| overlap(taken, asked)) {
            Some((taken, plugin)) => io::Error::new(error.kind(), format!("plugin {plugin} has {taken}")),
            None => error,
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Address, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ports.entries().remove(&self.address);
    }
}

/// Whether one of the two can't be had where the other is.
pub fn overlap(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Tcp(a), Address::Tcp(b)) | (Address::Udp(a), Address::Udp(b)) => {
            let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && same_ip
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_names_its_plugin_until_it_is_given_up() {
        let ports = Ports::default();
        let claim = ports.claim(&"tcp://0.0.0.0:80".parse().unwrap(), "upper".into());
        let explained =
            |address: &str| ports.explain(&address.parse().unwrap(), io::ErrorKind::AddrInUse.into()).to_string();
        assert_eq!(explained("tcp://127.0.0.1:80"), "plugin upper has tcp://0.0.0.0:80");
        assert!(!explained("tcp://127.0.0.1:81").contains("upper"));
        assert!(!explained("tcp://[::1]:80").contains("upper"));
        assert!(!explained("udp://127.0.0.1:80").contains("upper"));
        drop(claim);
        assert!(!explained("tcp://127.0.0.1:80").contains("upper"));
    }
}
