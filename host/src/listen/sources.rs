//! Where requests come from, and how much of one server each source has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{PerSource, SocketAddress};

/// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits. A host has one of
/// these at least to itself (RFC 4291, 2.5.4; RFC 6177), and so as many addresses as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ClientSource {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl ClientSource {
    /// None of a Unix client, which has no address.
    fn of(client: &SocketAddress) -> Option<Self> {
        let SocketAddress::Inet(client) = client else { return None };
        Some(match client.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(*ip.octets().first_chunk().expect("an address has 16 octets")),
        })
    }
}

/// The sources of one server's requests. Nothing is kept of them while no limit is set, and nothing
/// of a source that has no session and all of its rate left.
///
/// Memory is bounded whatever clients do: the sessions by their number, the rates by 50,000 sources
/// at a time, twice.
#[derive(Default)]
pub struct Sources {
    sessions: Arc<Sessions>,
    rates: Mutex<Rates>,
}

impl Sources {
    /// Counts a request in: the place that it takes for as long as that is kept, none where no
    /// limit of sessions concerns it. A source over the rate spends none of it.
    ///
    /// # Errors
    /// The key of the limit that the client's source is over.
    pub fn admit(&self, client: &SocketAddress, limits: PerSource) -> Result<Option<SourcePlace>, &'static str> {
        let PerSource { connections, rate } = limits;
        if connections.is_none() && rate.is_none() {
            return Ok(None);
        }
        let Some(source) = ClientSource::of(client) else { return Ok(None) };
        if rate.is_some_and(|rate| !lock(&self.rates).spend(source, rate, Instant::now())) {
            return Err("max-rate-per-source");
        }
        let Some(most) = connections else { return Ok(None) };
        self.sessions.enter(source, most).map(Some).ok_or("max-connections-per-source")
    }
}

/// The sessions of each source that has any.
#[derive(Default)]
struct Sessions(Mutex<HashMap<ClientSource, u32>>);

impl Sessions {
    fn enter(self: &Arc<Self>, source: ClientSource, most: u32) -> Option<SourcePlace> {
        let mut sessions = lock(&self.0);
        let count = sessions.entry(source).or_insert(0);
        // A source that has none is let in: no limit is 0.
        (*count < most).then(|| {
            *count += 1;
            SourcePlace { sessions: self.clone(), source }
        })
    }
}

/// A session's place among those of its source, given back when it is dropped.
pub struct SourcePlace {
    sessions: Arc<Sessions>,
    source: ClientSource,
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = lock(&self.sessions.0).entry(self.source) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// How many sources a generation of [`Rates`] has at most. Two of them are some 5 MiB.
const MAX_RATES: usize = 50_000;

/// How long an empty bucket takes to fill: what it holds is what it gets in a second.
const FILL: Duration = Duration::from_secs(1);

/// A token bucket for each source, as the moment at which it will be full again (ITU-T I.371's
/// virtual scheduling).
///
/// Two maps, of which the older is forgotten each time the younger is a second old. A source in the
/// older map was idle for a second, so its bucket is full and it can be forgotten. No timer: the
/// next request rotates the maps. The younger one is made the older before its time when it is at
/// its most, so that of more sources in a second than both hold, those that were quiet for longest
/// begin anew.
struct Rates {
    younger: HashMap<ClientSource, Instant>,
    older: HashMap<ClientSource, Instant>,
    since: Instant,
}

impl Default for Rates {
    fn default() -> Self {
        Self { younger: HashMap::new(), older: HashMap::new(), since: Instant::now() }
    }
}

impl Rates {
    /// Takes one token of the source's, if it has one.
    fn spend(&mut self, source: ClientSource, rate: u32, now: Instant) -> bool {
        if now >= self.since + FILL || self.younger.len() == MAX_RATES {
            self.older = mem::take(&mut self.younger);
            self.since = now;
        }
        let token = FILL / rate;
        let known = self.younger.get(&source).or_else(|| self.older.get(&source));
        let full = known.map_or(now, |full| now.max(*full));
        let admitted = full - now <= token * (rate - 1);
        if admitted {
            self.younger.insert(source, full + token);
        }
        admitted
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(ip: &str) -> SocketAddress {
        SocketAddress::Inet((ip.parse::<IpAddr>().unwrap(), 1).into())
    }

    fn source(ip: &str) -> ClientSource {
        ClientSource::of(&endpoint(ip)).unwrap()
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(ClientSource::of(&SocketAddress::Unix(None)), None);
    }

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_leaves_nothing_behind() {
        let sources = Sources::default();
        let limits = PerSource { connections: Some(2), rate: None };
        let admit = |ip| sources.admit(&endpoint(ip), limits);
        let first = admit("192.0.2.1").unwrap();
        let second = admit("192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").err(), Some("max-connections-per-source"));
        let other = admit("2001:db8::1").unwrap();
        drop(first);
        let third = admit("192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").err(), Some("max-connections-per-source"));
        drop((second, third, other));
        assert!(lock(&sources.sessions.0).is_empty());
    }

    #[test]
    fn a_rate_has_a_burst_and_fills_up_again() {
        for rate in [1, 3, 10, 1000] {
            let mut rates = Rates::default();
            let (begin, it) = (rates.since, source("192.0.2.1"));
            let mut burst = |now| (0..2000).take_while(|_| rates.spend(it, rate, now)).count();
            assert_eq!(burst(begin), rate as usize, "{rate}");
            assert_eq!(burst(begin + FILL / rate / 2), 0, "{rate}: half a token is none");
            assert_eq!(burst(begin + FILL / rate), 1, "{rate}");
            assert_eq!(burst(begin + FILL * 3), rate as usize, "{rate}: and never more than a burst");
        }
    }

    #[test]
    fn nobody_is_held_to_account_for_another() {
        let mut rates = Rates::default();
        let now = rates.since;
        assert!(rates.spend(source("192.0.2.1"), 1, now));
        assert!(!rates.spend(source("192.0.2.1"), 1, now));
        assert!(rates.spend(source("192.0.2.2"), 1, now));
    }

    #[test]
    fn a_rate_holds_across_generations() {
        let mut rates = Rates::default();
        let (begin, it) = (rates.since, source("192.0.2.1"));
        let step = FILL / 20;
        let admitted = (0..200).filter(|turn| rates.spend(it, 2, begin + step * *turn)).count();
        // 10 seconds, 20 tries a second: the burst, and two for each second.
        assert_eq!(admitted, 2 + 2 * 10 - 1);
    }

    #[test]
    fn more_sources_than_there_is_room_for_displace_those_that_were_quiet() {
        let mut rates = Rates::default();
        let (now, loud) = (rates.since, source("192.0.2.1"));
        let flood = |number: u32| ClientSource::V6(u64::from(number).to_be_bytes());
        for number in 0..5 * MAX_RATES as u32 {
            assert!(rates.spend(flood(number), 1, now));
            assert!(rates.younger.len() <= MAX_RATES && rates.older.len() <= MAX_RATES);
        }
        assert!(rates.spend(loud, 1, now));
        assert!(!rates.spend(loud, 1, now));
        // Forgotten, which costs the host nothing: it is let in as a new one would be.
        assert!(rates.spend(flood(0), 1, now));
        rates.spend(loud, 1, now + 2 * FILL);
        rates.spend(loud, 1, now + 4 * FILL);
        assert_eq!((rates.younger.len(), rates.older.len()), (1, 1), "what was full is gone");
    }
}
