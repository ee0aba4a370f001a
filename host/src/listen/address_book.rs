//! Which plugin has which address. Within one host an address has one plugin, whatever the kernel
//! would allow: where two sockets share a port (`SO_REUSEPORT`), each gets some of the other's
//! clients.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::ListenAddress;

/// The addresses of all servers of this host.
#[derive(Clone, Default)]
pub struct AddressBook(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    entries: HashMap<ClaimPlace, Vec<BookEntry>>,
    /// The number of the next claim.
    next: u64,
}

/// Addresses can overlap only within one of these, so that a claim is compared with few others.
#[derive(Clone, PartialEq, Eq, Hash)]
enum ClaimPlace {
    Tcp(u16),
    Udp(u16),
    /// A Unix socket's address.
    Unix(ListenAddress),
}

struct BookEntry {
    claim: u64,
    address: ListenAddress,
    plugin: Arc<str>,
}

/// One server's entry, gone when it is dropped.
pub struct Claim {
    ports: AddressBook,
    number: u64,
    place: Option<ClaimPlace>,
}

impl AddressBook {
    /// Enters an address for a plugin, before it is bound. Port 0 is entered once it is bound: the
    /// kernel chooses one that nobody has.
    ///
    /// # Errors
    /// `AddrInUse`: another plugin has it, or one that overlaps with it.
    pub fn claim(&self, asked: &ListenAddress, plugin: &Arc<str>) -> io::Result<Claim> {
        let mut book = self.book();
        if let Some(entry) = book.overlapping(asked).find(|entry| entry.plugin != *plugin) {
            return Err(entry.in_use());
        }
        book.next += 1;
        let number = book.next;
        let place = place(asked).inspect(|place| book.enter(place.clone(), number, asked, plugin));
        drop(book);
        Ok(Claim { ports: self.clone(), number, place })
    }

    /// Says whose the address is, where `error` says that it is taken and it is one of ours: one
    /// plugin may list addresses that overlap, which the kernel has to allow.
    pub fn explain(&self, asked: &ListenAddress, claim: &Claim, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::AddrInUse {
            return error;
        }
        self.book().overlapping(asked).find(|entry| entry.claim != claim.number).map_or(error, BookEntry::in_use)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn enter(&mut self, place: ClaimPlace, claim: u64, address: &ListenAddress, plugin: &Arc<str>) {
        let entry = BookEntry { claim, address: address.clone(), plugin: plugin.clone() };
        self.entries.entry(place).or_default().push(entry);
    }

    fn overlapping(&self, asked: &ListenAddress) -> impl Iterator<Item = &BookEntry> {
        let entries = place(asked).and_then(|place| self.entries.get(&place));
        entries.into_iter().flatten().filter(move |entry| overlap(&entry.address, asked))
    }

    fn forget(&mut self, place: &ClaimPlace, claim: u64) {
        if let Some(entries) = self.entries.get_mut(place) {
            entries.retain(|entry| entry.claim != claim);
            if entries.is_empty() {
                self.entries.remove(place);
            }
        }
    }
}

impl BookEntry {
    fn in_use(&self) -> io::Error {
        io::Error::new(io::ErrorKind::AddrInUse, format!("plugin {} has {}", self.plugin, self.address))
    }
}

impl Claim {
    /// The address as it was bound, with its real port.
    pub fn bound(&mut self, address: &ListenAddress, plugin: &Arc<str>) {
        let ports = self.ports.clone();
        let mut book = ports.book();
        if let Some(place) = self.place.take() {
            book.forget(&place, self.number);
        }
        self.place = place(address).inspect(|place| book.enter(place.clone(), self.number, address, plugin));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.ports.book().forget(&place, self.number);
        }
    }
}

/// Where an address is entered; none for port 0, which is no address yet.
fn place(address: &ListenAddress) -> Option<ClaimPlace> {
    match address {
        ListenAddress::Tcp(addr) => (addr.port() != 0).then_some(ClaimPlace::Tcp(addr.port())),
        ListenAddress::Udp(addr) => (addr.port() != 0).then_some(ClaimPlace::Udp(addr.port())),
        ListenAddress::Unix(path) | ListenAddress::Unixgram(path) => {
            Some(ClaimPlace::Unix(ListenAddress::Unix(path.clone())))
        }
    }
}

/// Whether one of the two can't be had where the other is: they are the same to a client.
pub fn overlap(a: &ListenAddress, b: &ListenAddress) -> bool {
    if place(a).is_none_or(|of_a| place(b) != Some(of_a)) {
        return false;
    }
    let same =
        |a: IpAddr, b: IpAddr| a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified());
    match (a, b) {
        (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) | (ListenAddress::Udp(a), ListenAddress::Udp(b)) => {
            same(a.ip(), b.ip())
        }
        // One file, or one name, is one socket's of either kind.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_one_plugins_until_it_is_given_up() {
        let ports = AddressBook::default();
        let (upper, other) = ("upper".into(), "other".into());
        let claim = ports.claim(&address("tcp://0.0.0.0:80"), &upper).unwrap();
        let refused = |text: &str| ports.claim(&address(text), &other).err().map(|error| error.to_string());
        assert_eq!(refused("tcp://127.0.0.1:80").as_deref(), Some("plugin upper has tcp://0.0.0.0:80"));
        for free in ["tcp://127.0.0.1:81", "tcp://[::1]:80", "tcp://[::]:80", "udp://127.0.0.1:80", "tcp://0.0.0.0:0"] {
            assert_eq!(refused(free), None, "{free}");
        }
        // Its own may overlap, if the kernel allows it; a refusal of the kernel's is explained.
        let own = ports.claim(&address("tcp://127.0.0.1:80"), &upper).unwrap();
        let explained = ports.explain(&address("tcp://127.0.0.1:80"), &own, io::ErrorKind::AddrInUse.into());
        assert_eq!(explained.to_string(), "plugin upper has tcp://0.0.0.0:80");
        drop(own);
        drop(claim);
        assert_eq!(refused("tcp://127.0.0.1:80"), None);
        assert!(ports.book().entries.is_empty(), "nothing is left of them");
    }

    #[test]
    fn a_port_that_the_kernel_chose_is_taken_once_it_is_known() {
        let ports = AddressBook::default();
        let (upper, other) = ("upper".into(), "other".into());
        let mut claim = ports.claim(&address("udp://127.0.0.1:0"), &upper).unwrap();
        assert!(ports.claim(&address("udp://127.0.0.1:0"), &other).is_ok());
        claim.bound(&address("udp://127.0.0.1:4000"), &upper);
        assert!(ports.claim(&address("udp://0.0.0.0:4000"), &other).is_err());
        drop(claim);
        assert!(ports.claim(&address("udp://0.0.0.0:4000"), &other).is_ok());
    }

    #[test]
    fn a_unix_name_is_one_sockets_of_either_kind() {
        let ports = AddressBook::default();
        let claim = ports.claim(&address("unix:///run/x.sock"), &"upper".into()).unwrap();
        for taken in ["unix:///run/x.sock", "unixgram:///run/x.sock"] {
            assert!(ports.claim(&address(taken), &"other".into()).is_err(), "{taken}");
        }
        assert!(ports.claim(&address("unix://@/run/x.sock"), &"other".into()).is_ok());
        drop(claim);
    }
}
