//! One plugin that serves: its generation, its settings, its servers.

use std::io;
use std::sync::Arc;

use super::replaced::Replaced;
use crate::config::{ListenAddress, Settings};
use crate::listen::{PassedSocket, overlap};
use crate::plugin::Loaded;
use crate::report::Event;
use crate::session::{HostShared, Server, Service};

/// One plugin that serves.
pub(super) struct Serving {
    name: String,
    loaded: Loaded,
    service: Arc<Service>,
    /// Those that the settings name, and those whose successors are still to be had.
    servers: Vec<Server>,
    failing: Vec<Failing>,
}

/// An address that could not be had.
struct Failing {
    address: ListenAddress,
    reason: String,
    is_said: bool,
    tries: u32,
}

/// How often an address is tried for before another of the plugin's that is in its way is closed
/// for it once more.
const TRIES: u32 = 30;

impl Serving {
    /// Begins to serve on every address that can be had.
    pub(super) async fn begin(name: &str, loaded: Loaded, shared: &HostShared) -> Self {
        let (generation, settings) = (loaded.generation.clone(), loaded.settings.clone());
        let service = Arc::new(Service::new(name, generation, settings, shared.clone()));
        let mut serving = Self { name: name.to_owned(), loaded, service, servers: Vec::new(), failing: Vec::new() };
        serving.announce();
        for address in serving.loaded.settings.listen.clone() {
            serving.listen(address, 0).await;
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

    pub(super) fn is_failing(&self) -> bool {
        !self.failing.is_empty()
    }

    /// The addresses that could not be had.
    pub(super) fn missing(&self) -> impl Iterator<Item = &ListenAddress> {
        self.failing.iter().map(|failing| &failing.address)
    }

    /// Lets new sessions begin with what was loaded, and rebinds only what changed. Returns the
    /// generation that was replaced, if it is another.
    pub(super) async fn swap(&mut self, loaded: Loaded) -> Option<Replaced> {
        // What a listener of the other kind still has is served as it was meant: what was loaded
        // may be for datagrams, and it for streams.
        let wanted = loaded.settings.listen.clone();
        let is_of_the_kind =
            |server: &Server| wanted.iter().any(|address| address.is_stream() == server.address().is_stream());
        self.close_all_but(is_of_the_kind).await;
        let old = std::mem::replace(&mut self.loaded, loaded);
        let Loaded { generation, settings, .. } = &self.loaded;
        self.service.swap(generation.clone(), settings.clone());
        self.announce();
        self.rebind(&old.settings).await;
        let is_another = !Arc::ptr_eq(&old.generation, &self.loaded.generation);
        is_another.then(|| Replaced::new(&self.name, &self.service, &old))
    }

    /// Tries again for the addresses that could not be had.
    pub(super) async fn retry(&mut self) {
        for Failing { address, reason, is_said, tries } in std::mem::take(&mut self.failing) {
            self.listen(address, tries).await;
            if let Some(again) = self.failing.last_mut().filter(|again| again.reason == reason) {
                // Said once is enough, unless the reason is a new one.
                again.is_said = is_said;
            }
        }
    }

    /// Says which addresses could not be had, where that was not said.
    pub(super) fn say_failures(&mut self) {
        let kept = self.outgoing();
        for failing in self.failing.iter_mut().filter(|failing| !failing.is_said) {
            failing.is_said = true;
            Event::Failed(&failing.address, &self.name, &failing.reason).emit();
            for address in &kept {
                let plugin = &self.name;
                tracing::warn!(plugin, %address, "the old address is kept until the new one can be had");
            }
        }
    }

    /// Listens anew where a Unix socket's file was removed, perhaps with its folder: nobody finds
    /// that socket any more.
    pub(super) async fn restore(&mut self) {
        for server in std::mem::take(&mut self.servers) {
            if !server.is_gone() {
                self.servers.push(server);
                continue;
            }
            let (asked, address) = (server.asked().clone(), server.address().clone());
            tracing::warn!(plugin = %self.name, %address, "the socket's file is gone; listening anew");
            self.close_one(server).await;
            self.listen(asked, 0).await;
        }
    }

    /// Closes every listener. Sessions go on.
    pub(super) async fn close(&mut self) {
        self.failing.clear();
        self.close_all_but(|_| false).await;
    }

    /// Closes the listeners that the settings no longer name, but not before all are had that they
    /// do, and not while somebody else may come to have them.
    pub(super) async fn let_go(&mut self, is_claimed: impl Fn(&ListenAddress) -> bool) {
        if self.is_failing() {
            return;
        }
        let outgoing = self.outgoing();
        if !outgoing.is_empty() {
            self.close_all_but(|server| !outgoing.contains(server.address()) || is_claimed(server.address())).await;
        }
    }

    /// Gives its listener at this address to another plugin, if it has it and may do without: in
    /// any case if `all` of it goes.
    pub(super) fn give(&mut self, address: &ListenAddress, all: bool) -> Option<Server> {
        let outgoing = self.outgoing();
        let place = self
            .servers
            .iter()
            .position(|server| server.address() == address && (all || outgoing.contains(address)))?;
        Event::Closed(address, &self.name).emit();
        Some(self.servers.swap_remove(place))
    }

    /// Serves from now on where another plugin did. Clients in the backlog there wait for this one
    /// now.
    pub(super) async fn take(&mut self, server: Server) {
        self.failing.retain(|failing| failing.address != *server.address());
        let server = server.pass_on(&self.service).await;
        self.listening(server);
    }

    /// Its sockets, for the host that is to come.
    pub(super) fn hand(&self) -> impl Iterator<Item = io::Result<PassedSocket>> {
        self.servers.iter().map(|server| server.hand(&self.name))
    }

    /// Stops accepting at those addresses, with their real ports, that another process has now.
    pub(super) async fn leave(&mut self, taken: impl Fn(&ListenAddress) -> bool) {
        for server in std::mem::take(&mut self.servers) {
            if taken(server.address()) {
                server.leave().await;
            } else {
                self.servers.push(server);
            }
        }
    }

    /// Closes the listeners that are not to stay.
    async fn close_all_but(&mut self, stays: impl Fn(&Server) -> bool) {
        for server in std::mem::take(&mut self.servers) {
            if stays(&server) {
                self.servers.push(server);
            } else {
                self.close_one(server).await;
            }
        }
    }

    async fn close_one(&self, server: Server) {
        let address = server.address().clone();
        server.close().await;
        Event::Closed(&address, &self.name).emit();
    }

    /// Where it listens, though its settings no longer say so.
    fn outgoing(&self) -> Vec<ListenAddress> {
        let mut wanted = self.loaded.settings.listen.clone();
        let mut outgoing = Vec::new();
        for server in &self.servers {
            match wanted.iter().position(|address| server.is_at(address)) {
                Some(place) => _ = wanted.swap_remove(place),
                None => outgoing.push(server.address().clone()),
            }
        }
        outgoing
    }

    /// Writes what was counted of its sessions to the log.
    pub(super) fn log_counts(&self) {
        self.service.context().stats.log();
    }

    fn announce(&self) {
        Event::Loaded(&self.name, &self.loaded.generation.id).emit();
    }

    async fn rebind(&mut self, old: &Settings) {
        let settings = self.loaded.settings.clone();
        let mut wanted = settings.listen.clone();
        for server in &mut self.servers {
            if let Some(place) = wanted.iter().position(|address| server.is_at(address)) {
                wanted.swap_remove(place);
            }
            if *old != *settings {
                server.adjust(&settings);
            }
        }
        let mut failing = std::mem::take(&mut self.failing);
        for address in wanted {
            // One that is failing already is tried again in its time.
            match failing.iter().position(|failing| failing.address == address) {
                Some(place) => self.failing.push(Failing { tries: 0, ..failing.swap_remove(place) }),
                None => self.listen(address, 0).await,
            }
        }
    }

    /// Listens there, or notes that it can't, which was tried so often before.
    async fn listen(&mut self, address: ListenAddress, tries: u32) {
        let error = match Server::start(&address, &self.service) {
            Ok(server) => return self.listening(server),
            Err(error) => error,
        };
        // 127.0.0.1:80 has to go first for 0.0.0.0:80 to come, and comes back if that can't be had
        // either.
        let outgoing = self.outgoing();
        let is_in_the_way = |server: &Server| {
            tries.is_multiple_of(TRIES)
                && error.kind() == io::ErrorKind::AddrInUse
                && outgoing.contains(server.address())
                && overlap(server.address(), &address)
        };
        let (gone, stays): (Vec<_>, _) = std::mem::take(&mut self.servers).into_iter().partition(is_in_the_way);
        self.servers = stays;
        if gone.is_empty() {
            return self.failed(address, &error, tries + 1);
        }
        let mut places = Vec::new();
        for server in gone {
            places.push(server.address().clone());
            server.close().await;
        }
        match Server::start(&address, &self.service) {
            Ok(server) => {
                places.iter().for_each(|place| Event::Closed(place, &self.name).emit());
                self.listening(server);
            }
            Err(error) => {
                self.failed(address, &error, tries + 1);
                for place in places {
                    match Server::start(&place, &self.service) {
                        Ok(server) => self.servers.push(server),
                        Err(_) => Event::Closed(&place, &self.name).emit(),
                    }
                }
            }
        }
    }

    fn listening(&mut self, server: Server) {
        Event::Listening(server.address(), &self.name).emit();
        self.servers.push(server);
    }

    fn failed(&mut self, address: ListenAddress, error: &io::Error, tries: u32) {
        self.failing.push(Failing { address, reason: error.to_string(), is_said: false, tries });
    }
}
