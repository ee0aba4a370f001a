//! The first step of a session, before anything is made for it: the host's own rules of who is served.

use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::Address;
use crate::endpoint::Endpoint;
use crate::listen::Arrival;
use crate::session::{self, Terms};
use crate::sources::Sources;

/// What one server knows of those who ask for it. Called by its accept loop, for each request.
pub struct Verifier {
    sources: Sources,
    refusals: Arc<Refusals>,
}

impl Verifier {
    /// For the server at this address.
    pub fn new(server: Address) -> Self {
        Self { sources: Sources::default(), refusals: Arc::new(Refusals { server, second: Mutex::default() }) }
    }

    /// The terms of the request's session, by which it keeps its place among those of its source; none if it is refused, and
    /// shut down then, if it is a connection.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn admit(&self, arrival: &Arrival, terms: Terms) -> Option<Terms> {
        let (client, _) = arrival.ends();
        let by_list = match client {
            Endpoint::Inet(addr) => terms.settings.admits(*addr),
            Endpoint::Unix(_) => Ok(()),
        };
        match by_list.and_then(|()| self.sources.admit(client, terms.settings.per_source)) {
            Ok(place) => Some(Terms { place: place.map(Arc::new), ..terms }),
            Err(by) => {
                self.refusals.tell(&terms.plugin, client, by);
                if let Arrival::Connection(stream) = arrival {
                    // The close follows when it is dropped.
                    let _ = stream.shutdown(Shutdown::Both);
                }
                None
            }
        }
    }
}

/// What a server says of clients it refused: of so many a second by name, of the others how many they were. A flood of
/// clients is not to be a flood of lines.
struct Refusals {
    server: Address,
    second: Mutex<Option<Second>>,
}

/// A second in which clients were refused.
struct Second {
    end: Instant,
    named: u32,
    others: u64,
}

impl Refusals {
    /// How many are named in a second.
    const NAMED: u32 = 10;

    fn tell(self: &Arc<Self>, plugin: &Arc<str>, client: &Endpoint, by: &str) {
        let now = Instant::now();
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let this = match &mut *second {
            // One that has others to tell of is over when it has told.
            Some(this) if now < this.end || this.others > 0 => this,
            over => over.insert(Second { end: now + Duration::from_secs(1), named: 0, others: 0 }),
        };
        if this.named < Self::NAMED {
            this.named += 1;
            drop(second);
            session::refused(plugin, client, by);
            return;
        }
        this.others += 1;
        if this.others == 1 {
            tokio::spawn(self.clone().tell_of_others(plugin.clone(), this.end));
        }
    }

    async fn tell_of_others(self: Arc<Self>, plugin: Arc<str>, end: Instant) {
        sleep_until(end).await;
        let second = self.second.lock().unwrap_or_else(PoisonError::into_inner).take();
        let clients = second.map_or(0, |second| second.others);
        tracing::info!(%plugin, server = %self.server, clients, "more clients refused");
    }
}
