//! The first step of a session, before anything is made for it: the host's own rules.

use std::net::Shutdown;

use super::run::{self, SessionContext};
use crate::config::SocketAddress;
use crate::listen::{Incoming, SourcePlace, Sources};

/// A request that is not served.
pub(super) struct Refused;

/// What one server knows of its clients. Called by its accept loop, for each request.
#[derive(Default)]
pub(super) struct Verifier {
    sources: Sources,
}

impl Verifier {
    /// Lets a request in: its place among those of its source, where these are counted.
    ///
    /// # Errors
    /// It is refused, and shut down, if it is a connection.
    pub(super) fn admit(&self, arrival: &Incoming, context: &SessionContext) -> Result<Option<SourcePlace>, Refused> {
        let (client, _) = arrival.ends();
        let by_list = match client {
            SocketAddress::Inet(addr) => context.settings.admits(*addr),
            SocketAddress::Unix(_) => Ok(()),
        };
        match by_list.and_then(|()| self.sources.admit(client, context.settings.per_source)) {
            Ok(place) => Ok(place),
            Err(by) => {
                context.stats.begun();
                run::refused(&context.plugin, &context.stats, client, by);
                if let Incoming::Connection(stream) = arrival {
                    // The close follows when it is dropped.
                    let _ = stream.shutdown(Shutdown::Both);
                }
                Err(Refused)
            }
        }
    }
}
