//! One plugin that serves: its generation, its settings, its servers.

use std::io;
use std::sync::Arc;

use crate::commons::Commons;
use crate::config::{Address, Settings};
use crate::events::Event;
use crate::listen::Handed;
use crate::plugin::{Generation, Loaded};
use crate::server::{Server, Service};

/// One plugin that serves.
pub(super) struct Serving {
    name: String,
    loaded: Loaded,
    service: Arc<Service>,
    servers: Vec<Server>,
    /// Addresses that could not be had, with what was said of them.
    failing: Vec<(Address, String)>,
}

impl Serving {
    /// Begins to serve on every address that can be had.
    pub(super) fn begin(name: &str, loaded: Loaded, commons: &Commons) -> Self {
        let (generation, settings) = (loaded.generation.clone(), loaded.settings.clone());
        let service = Arc::new(Service::new(name, generation, settings, commons.clone()));
        let mut serving = Self { name: name.to_owned(), loaded, service, servers: Vec::new(), failing: Vec::new() };
        serving.announce();
        for address in serving.loaded.settings.listen.clone() {
            serving.listen(address);
        }
        serving
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The addresses that could not be had.
    pub(super) fn failing(&self) -> impl Iterator<Item = &Address> {
        self.failing.iter().map(|(address, _)| address)
    }

    pub(super) fn is_failing(&self) -> bool {
        !self.failing.is_empty()
    }

    /// Lets new sessions begin with what was loaded, and rebinds only what changed. Returns the generation that was
    /// replaced, if it is another.
    pub(super) async fn swap(&mut self, loaded: Loaded) -> Option<Arc<Generation>> {
        // What such a listener still has is served as it was meant: what was loaded may be for datagrams, and it for streams.
        let closed = self.close_all_but(&loaded.settings.listen).await;
        let old = std::mem::replace(&mut self.loaded, loaded);
        let Loaded { generation, settings, .. } = &self.loaded;
        self.service.swap(generation.clone(), settings.clone());
        self.announce();
        closed.iter().for_each(|address| self.closed(address));
        self.rebind(&old.settings);
        (!Arc::ptr_eq(&old.generation, &self.loaded.generation)).then_some(old.generation)
    }

    /// Tries again for the addresses that could not be had.
    pub(super) fn retry(&mut self) {
        for (address, said) in std::mem::take(&mut self.failing) {
            match Server::start(&address, &self.service) {
                Ok(server) => self.listening(server),
                // Said once is enough, unless the reason is a new one.
                Err(error) if error.to_string() == said => self.failing.push((address, said)),
                Err(error) => self.failed(address, error.to_string()),
            }
        }
    }

    /// Closes every listener. Sessions go on.
    pub(super) async fn close(&mut self) {
        self.failing.clear();
        for address in self.close_all_but(&[]).await {
            self.closed(&address);
        }
    }

    /// Its sockets, for the host that is to come.
    pub(super) fn hand(&self) -> impl Iterator<Item = io::Result<Handed>> {
        self.servers.iter().map(|server| server.hand(&self.name))
    }

    /// Stops accepting at those addresses, with their real ports, that another process has now.
    pub(super) async fn leave(&mut self, taken: impl Fn(&Address) -> bool) {
        for server in std::mem::take(&mut self.servers) {
            if taken(server.address()) {
                server.leave().await;
            } else {
                self.servers.push(server);
            }
        }
    }

    /// Closes the listeners whose addresses are not among these, and returns where they were.
    async fn close_all_but(&mut self, wanted: &[Address]) -> Vec<Address> {
        let mut wanted = wanted.to_vec();
        let mut closed = Vec::new();
        for server in std::mem::take(&mut self.servers) {
            if let Some(place) = wanted.iter().position(|address| address == server.asked()) {
                wanted.swap_remove(place);
                self.servers.push(server);
            } else {
                closed.push(server.address().clone());
                server.close().await;
            }
        }
        closed
    }

    /// Writes what was counted of its sessions to the log.
    pub(super) fn log_counts(&self) {
        self.service.terms().tally.log();
    }

    fn announce(&self) {
        Event::Loaded(&self.name, &self.loaded.generation.id).emit();
    }

    /// What goes has gone before, so that 0.0.0.0:80 can follow 127.0.0.1:80.
    fn rebind(&mut self, old: &Settings) {
        let settings = self.loaded.settings.clone();
        let mut wanted = settings.listen.clone();
        for server in &mut self.servers {
            if let Some(place) = wanted.iter().position(|address| address == server.asked()) {
                wanted.swap_remove(place);
            }
            if *old != *settings {
                server.adjust(&settings);
            }
        }
        let failing = std::mem::take(&mut self.failing);
        for address in wanted {
            // One that is failing already is tried again in its time.
            match failing.iter().find(|(failing, _)| *failing == address) {
                Some(entry) => self.failing.push(entry.clone()),
                None => self.listen(address),
            }
        }
    }

    fn listen(&mut self, address: Address) {
        match Server::start(&address, &self.service) {
            Ok(server) => self.listening(server),
            Err(error) => self.failed(address, error.to_string()),
        }
    }

    fn listening(&mut self, server: Server) {
        Event::Listening(server.address(), &self.name).emit();
        self.servers.push(server);
    }

    fn failed(&mut self, address: Address, reason: String) {
        Event::Failed(&address, &self.name, &reason).emit();
        self.failing.push((address, reason));
    }

    fn closed(&self, address: &Address) {
        Event::Closed(address, &self.name).emit();
    }
}
