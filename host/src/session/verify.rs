//! The first step of a session, before anything is made for it: the host's own rules of who is served.

use std::net::Shutdown;

use super::run::{self, Terms};
use crate::config::Endpoint;
use crate::listen::{Arrival, Place, Sources};

/// A request that is not served.
pub struct Refused;

/// What one server knows of those who ask for it. Called by its accept loop, for each request.
#[derive(Default)]
pub struct Verifier {
    sources: Sources,
}

impl Verifier {
    /// Lets a request in: its place among those of its source, where these are counted.
    ///
    /// # Errors
    /// It is refused, and shut down, if it is a connection.
    pub fn admit(&self, arrival: &Arrival, terms: &Terms) -> Result<Option<Place>, Refused> {
        let (client, _) = arrival.ends();
        let by_list = match client {
            Endpoint::Inet(addr) => terms.settings.admits(*addr),
            Endpoint::Unix(_) => Ok(()),
        };
        match by_list.and_then(|()| self.sources.admit(client, terms.settings.per_source)) {
            Ok(place) => Ok(place),
            Err(by) => {
                terms.tally.begun();
                run::refused(&terms.plugin, &terms.tally, client, by);
                if let Arrival::Connection(stream) = arrival {
                    // The close follows when it is dropped.
                    let _ = stream.shutdown(Shutdown::Both);
                }
                Err(Refused)
            }
        }
    }
}
