//! One plugin, served: what most tests begin with.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use super::guests::Guest;
use super::{Client, DatagramClient, Family, Folder, Wharf, ask_url};

/// A running host with one plugin that listens, and the folder that both came from.
///
/// ```ignore
/// let scene = Scene::of("answers", &answers("A")).over(Family::Unix)
///     .with("timeouts.idle = '1s'").serve();
/// assert_eq!(scene.ask("x"), answer("A"));
/// scene.logs(&["session failed"]);
/// scene.stop();
/// ```
pub struct Scene {
    wharf: Wharf,
    /// Where the plugin listens.
    pub url: String,
    /// Dropped after the host.
    pub folder: Folder,
}

/// A scene to be.
pub struct SceneBuilder<'a> {
    name: &'a str,
    guest: &'a Guest,
    family: Family,
    concurrency: Option<&'a str>,
    settings: String,
    beside: Option<(&'a str, Guest)>,
}

impl Scene {
    /// With this plugin, over TCP unless it is told otherwise.
    pub fn of<'a>(name: &'a str, guest: &'a Guest) -> SceneBuilder<'a> {
        SceneBuilder { name, guest, family: Family::Tcp, concurrency: None, settings: String::new(), beside: None }
    }

    /// With a shipped plugin, and its own manifest but for the port.
    #[track_caller]
    pub fn shipped(name: &str) -> Self {
        let folder = Folder::new();
        folder.shipped(name);
        Self::start(folder, name)
    }

    fn start(folder: Folder, name: &str) -> Self {
        let wharf = Wharf::serve(&folder);
        let url = wharf.url(name);
        Self { wharf, url, folder }
    }

    /// The address of a TCP scene.
    pub fn address(&self) -> SocketAddr {
        self.url.strip_prefix("tcp://").and_then(|address| address.parse().ok()).expect("a tcp:// address")
    }

    /// A new connection to the plugin.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::dial(&self.url)
    }

    /// A new client of the plugin's datagrams.
    pub fn datagram_client(&self) -> DatagramClient {
        DatagramClient::to(&self.url)
    }

    /// One whole session: connect, send, half-close, read to the end.
    #[track_caller]
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        ask_url(&self.url, bytes)
    }

    /// Stops the host and waits: every event it printed, in order. It must end well.
    #[track_caller]
    pub fn stop(self) -> Vec<String> {
        let Self { wharf, folder: _until_then, .. } = self;
        wharf.stop()
    }
}

/// A scene is its host in everything else: events, log, signals, threads.
impl Deref for Scene {
    type Target = Wharf;

    fn deref(&self) -> &Wharf {
        &self.wharf
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Wharf {
        &mut self.wharf
    }
}

impl<'a> SceneBuilder<'a> {
    pub fn over(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    pub fn concurrency(mut self, concurrency: &'a str) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// With these lines of its manifest, too.
    pub fn with(mut self, settings: &str) -> Self {
        self.settings.push_str(settings);
        self.settings.push('\n');
        self
    }

    /// With another plugin, of the same family and concurrency. [`Wharf::url`] says where it
    /// listens.
    pub fn beside(mut self, name: &'a str, guest: Guest) -> Self {
        self.beside = Some((name, guest));
        self
    }

    /// Starts it, and waits until the plugin listens.
    #[track_caller]
    pub fn serve(self) -> Scene {
        let Self { name, guest, family, concurrency, settings, beside } = self;
        let folder = Folder::new();
        let concurrency = concurrency.map(|name| format!("concurrency = '{name}'\n")).unwrap_or_default();
        if let Some((name, guest)) = &beside {
            folder.manifest(name, &format!("{}{concurrency}", family.listen(&folder, name))).plugin(name, guest);
        }
        let manifest = format!("{}{concurrency}{settings}", family.listen(&folder, name));
        folder.manifest(name, &manifest).plugin(name, guest);
        Scene::start(folder, name)
    }
}
