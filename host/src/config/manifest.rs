//! The manifest: a plugin's settings, in layers. The file beside the plugin overrides, key by key, the section inside
//! it, which overrides `[defaults]` of `wharf.toml`, which overrides what is built in here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::owner::{Group, Mode, User};
use super::text::{ConfigError, parse};
use super::{Address, Size, Span};

/// One layer as it was written: nothing in it is required.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManifestFile {
    listen: Option<OneOrMore<Address>>,
    concurrency: Option<Concurrency>,
    instance: Option<InstancePolicy>,
    backlog: Option<NonZeroU32>,
    max_connections: Option<NonZeroU32>,
    allow: Option<OneOrMore<Network>>,
    deny: Option<OneOrMore<Network>>,
    args: Option<Vec<String>>,
    max_packet_size: Option<NonZeroU32>,
    max_children: Option<NonZeroU32>,
    daemon_threads: Option<bool>,
    block_on_close: Option<bool>,
    allow_reuse_address: Option<bool>,
    allow_reuse_port: Option<bool>,
    disable_nagle_algorithm: Option<bool>,
    service_interval: Option<Span>,
    #[serde(default)]
    unix: UnixFile,
    #[serde(default)]
    timeouts: TimeoutsFile,
    #[serde(default)]
    limits: LimitsFile,
    #[serde(default)]
    grants: GrantsFile,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TimeoutsFile {
    setup: Option<Span>,
    idle: Option<Span>,
    handle: Option<Span>,
    finish: Option<Span>,
    drain: Option<Span>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LimitsFile {
    memory: Option<Size>,
    cpu: Option<Span>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct GrantsFile {
    dirs: Option<Vec<DirGrant>>,
    env: Option<BTreeMap<String, String>>,
    send_to: Option<OneOrMore<Network>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct UnixFile {
    mode: Option<Mode>,
    user: Option<User>,
    group: Option<Group>,
}

/// How requests share the host: socketserver's choice of server class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concurrency {
    /// Every request in a task of its own.
    #[default]
    Task,
    /// One request at a time; the others wait in the backlog. `TCPServer`.
    Serial,
    /// Every request in an OS thread of its own. `ThreadingMixIn`.
    Thread,
    /// Every request in a child process of its own. `ForkingMixIn`.
    Process,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InstancePolicy {
    #[default]
    Fresh,
}

/// A host folder that the guest sees at `guest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DirGrant {
    /// Relative to the file that grants it.
    pub host: PathBuf,
    pub guest: String,
    #[serde(default)]
    pub access: Access,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    #[default]
    ReadOnly,
    ReadWrite,
}

/// `"10.0.0.0/8"`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Network(IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| format!("{text:?} is no network; write one like \"10.0.0.0/8\", \"::1\" or \"127.0.0.1\""))
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected text, or a list of texts")]
enum OneOrMoreText {
    One(String),
    More(Vec<String>),
}

/// A list of which one item may stand without its brackets.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "OneOrMoreText", bound = "T: TryFrom<String, Error = String>")]
struct OneOrMore<T>(Vec<T>);

impl<T: TryFrom<String, Error = String>> TryFrom<OneOrMoreText> for OneOrMore<T> {
    type Error = String;

    fn try_from(text: OneOrMoreText) -> Result<Self, String> {
        let items = match text {
            OneOrMoreText::One(item) => vec![item],
            OneOrMoreText::More(items) => items,
        };
        items.into_iter().map(T::try_from).collect::<Result<_, _>>().map(Self)
    }
}

/// Who wrote a layer, which decides what it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A file of the operator's: may ask for anything.
    Operator(&'a Path),
    /// The section inside this plugin: loopback addresses, and no grant.
    Plugin(&'a str),
}

impl ManifestFile {
    /// Reads one layer.
    ///
    /// # Errors
    /// Text that is no manifest, or, from a plugin, one that asks for what only the operator may give.
    pub fn parse(text: &str, origin: Origin<'_>) -> Result<Self, ConfigError> {
        match origin {
            Origin::Operator(path) => {
                let file: Self = parse(text, &path.display().to_string())?;
                file.based_in(path)
            }
            Origin::Plugin(name) => {
                let place = format!("the manifest inside {name}");
                let file: Self = parse(text, &place)?;
                file.within_a_plugins_rights(&place)?;
                Ok(file)
            }
        }
    }

    /// Host folders are relative to the file that grants them, and have to be there.
    pub(super) fn based_in(mut self, path: &Path) -> Result<Self, ConfigError> {
        let base = path.parent().unwrap_or(Path::new(""));
        for grant in self.grants.dirs.iter_mut().flatten() {
            grant.host = base.join(&grant.host);
            if !grant.host.is_dir() {
                let key = format!("{}: grants.dirs.host", path.display());
                return Err(ConfigError::new(key, format_args!("{} is no folder", grant.host.display())));
            }
        }
        Ok(self)
    }

    fn within_a_plugins_rights(&self, place: &str) -> Result<(), ConfigError> {
        let addresses = self.listen.iter().flat_map(|list| &list.0);
        if let Some(wide) = addresses
            .into_iter()
            .find(|address| !matches!(address, Address::Tcp(addr) | Address::Udp(addr) if addr.ip().is_loopback()))
        {
            return Err(ConfigError::new(
                format_args!("{place}: listen"),
                format_args!("{wide} is not loopback; only the operator's own file may ask for it"),
            ));
        }
        if self.grants != GrantsFile::default() {
            return Err(ConfigError::new(format_args!("{place}: grants"), "only the operator's own file may grant"));
        }
        Ok(())
    }

    pub(super) fn has_address(&self) -> bool {
        self.listen.is_some()
    }

    /// The same with these addresses instead of its own.
    pub fn listening_at(self, addresses: Vec<Address>) -> Self {
        Self { listen: Some(OneOrMore(addresses)), ..self }
    }

    /// This layer where it says something, else `base`.
    fn over(self, base: Self) -> Self {
        let mut env = base.grants.env;
        if let Some(own) = self.grants.env {
            env.get_or_insert_default().extend(own);
        }
        Self {
            listen: self.listen.or(base.listen),
            concurrency: self.concurrency.or(base.concurrency),
            instance: self.instance.or(base.instance),
            backlog: self.backlog.or(base.backlog),
            max_connections: self.max_connections.or(base.max_connections),
            allow: self.allow.or(base.allow),
            deny: self.deny.or(base.deny),
            args: self.args.or(base.args),
            max_packet_size: self.max_packet_size.or(base.max_packet_size),
            max_children: self.max_children.or(base.max_children),
            daemon_threads: self.daemon_threads.or(base.daemon_threads),
            block_on_close: self.block_on_close.or(base.block_on_close),
            allow_reuse_address: self.allow_reuse_address.or(base.allow_reuse_address),
            allow_reuse_port: self.allow_reuse_port.or(base.allow_reuse_port),
            disable_nagle_algorithm: self.disable_nagle_algorithm.or(base.disable_nagle_algorithm),
            service_interval: self.service_interval.or(base.service_interval),
            unix: UnixFile {
                mode: self.unix.mode.or(base.unix.mode),
                user: self.unix.user.or(base.unix.user),
                group: self.unix.group.or(base.unix.group),
            },
            timeouts: TimeoutsFile {
                setup: self.timeouts.setup.or(base.timeouts.setup),
                idle: self.timeouts.idle.or(base.timeouts.idle),
                handle: self.timeouts.handle.or(base.timeouts.handle),
                finish: self.timeouts.finish.or(base.timeouts.finish),
                drain: self.timeouts.drain.or(base.timeouts.drain),
            },
            limits: LimitsFile {
                memory: self.limits.memory.or(base.limits.memory),
                cpu: self.limits.cpu.or(base.limits.cpu),
            },
            grants: GrantsFile {
                dirs: self.grants.dirs.or(base.grants.dirs),
                env,
                send_to: self.grants.send_to.or(base.grants.send_to),
            },
        }
    }
}

/// Everything known about how one plugin is to be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Not for a child process, which is given its socket.
    #[serde(skip)]
    pub listen: Vec<Address>,
    pub concurrency: Concurrency,
    /// Sessions at once, on each of the plugin's listeners.
    pub max_connections: u32,
    /// Children at once, on each of the plugin's listeners; they count as sessions, too.
    pub max_children: u32,
    /// Whether a stop waits for the sessions that are threads or processes.
    pub joined: bool,
    /// How often a plugin that wants it is called for its own upkeep.
    pub service_interval: Duration,
    pub socket: SocketSettings,
    pub allow: Option<Vec<IpNet>>,
    pub deny: Vec<IpNet>,
    pub args: Vec<String>,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub grants: Grants,
}

/// What is asked of the sockets themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketSettings {
    /// Connections the kernel holds for a listener before they are accepted (listen(2)).
    pub backlog: u32,
    /// `SO_REUSEADDR`, for TCP.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `TCP_NODELAY`.
    pub nodelay: bool,
    /// Bytes of a datagram that are received; the rest is cut off.
    pub max_packet_size: u32,
    pub unix: UnixSettings,
}

/// What becomes of a Unix socket's file. None leaves it the owner that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSettings {
    pub mode: u32,
    pub user: Option<u32>,
    pub group: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// The sandbox's making, `verify-request` and `setup` together.
    pub setup: Duration,
    /// One wait for the client, in `recv` or `send`.
    pub idle: Duration,
    /// `handle` as a whole.
    pub handle: Duration,
    pub finish: Duration,
    /// How long sessions may go on once their server stops, or their generation is replaced.
    pub drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of linear memory, over all memories of one instance.
    pub memory: u64,
    /// Time its code may run between two dealings with the client.
    pub cpu: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    pub dirs: Vec<DirGrant>,
    pub env: BTreeMap<String, String>,
    /// Where a datagram handler may send to, beside its client.
    pub send_to: Vec<IpNet>,
}

impl Settings {
    const LIMITS: Limits = Limits { memory: 64 << 20, cpu: Duration::from_secs(10) };

    /// Puts the layers together. `beside` is the operator's file for this plugin, `inside` the plugin's own section.
    ///
    /// # Errors
    /// No address at all; a plugin's own section that raises the operator's limits.
    pub fn resolve(
        name: &str,
        beside: ManifestFile,
        inside: ManifestFile,
        defaults: ManifestFile,
    ) -> Result<Self, ConfigError> {
        let asked = inside.limits.clone();
        let operator = beside.clone().over(defaults.clone()).limits;
        let operators_memory = operator.memory.map_or(Self::LIMITS.memory, |size| size.0);
        let operators_cpu = operator.cpu.map_or(Self::LIMITS.cpu, |span| span.0);
        let too_much = |key, allowed: String| {
            ConfigError::new(
                format_args!("the manifest inside {name}: limits.{key}"),
                format_args!("more than the {allowed} allowed; the operator may allow it in {name}.toml"),
            )
        };
        if asked.memory.is_some_and(|size| size.0 > operators_memory) {
            return Err(too_much("memory", Size(operators_memory).to_string()));
        }
        if asked.cpu.is_some_and(|span| span.0 > operators_cpu) {
            return Err(too_much("cpu", humantime::format_duration(operators_cpu).to_string()));
        }

        let all = beside.over(inside).over(defaults);
        let listen = all.listen.map(|list| list.0).unwrap_or_default();
        if listen.is_empty() {
            return Err(ConfigError::new(
                "no address",
                format_args!("add a line to {name}.toml: listen = \"tcp://127.0.0.1:9999\""),
            ));
        }
        if let Some(twice) = listen.iter().enumerate().find_map(|(i, address)| {
            let fixed = !matches!(address, Address::Tcp(a) | Address::Udp(a) if a.port() == 0);
            (fixed && listen[..i].contains(address)).then_some(address)
        }) {
            return Err(ConfigError::new("listen", format_args!("{twice} stands there twice; once is enough")));
        }
        let concurrency = all.concurrency.unwrap_or_default();
        let span = |value: Option<Span>, default: u64| value.map_or(Duration::from_secs(default), |span| span.0);
        Ok(Self {
            concurrency,
            max_children: all.max_children.map_or(40, NonZeroU32::get),
            joined: !matches!(concurrency, Concurrency::Thread | Concurrency::Process)
                || all.block_on_close.unwrap_or(true)
                    && !(concurrency == Concurrency::Thread && all.daemon_threads.unwrap_or(false)),
            service_interval: all.service_interval.map_or(Duration::from_millis(500), |span| span.0),
            socket: SocketSettings {
                backlog: all.backlog.map_or(1024, NonZeroU32::get),
                reuse_address: all.allow_reuse_address.unwrap_or(true),
                reuse_port: all.allow_reuse_port.unwrap_or(false),
                nodelay: all.disable_nagle_algorithm.unwrap_or(true),
                max_packet_size: all.max_packet_size.map_or(8192, NonZeroU32::get),
                unix: UnixSettings {
                    mode: all.unix.mode.map_or(0o600, |mode| mode.0),
                    user: all.unix.user.map(|user| user.0),
                    group: all.unix.group.map(|group| group.0),
                },
            },
            max_connections: all.max_connections.map_or(1024, NonZeroU32::get),
            allow: all.allow.map(networks),
            deny: all.deny.map(networks).unwrap_or_default(),
            args: all.args.unwrap_or_default(),
            timeouts: Timeouts {
                setup: span(all.timeouts.setup, 10),
                idle: span(all.timeouts.idle, 5 * 60),
                handle: span(all.timeouts.handle, 24 * 60 * 60),
                finish: span(all.timeouts.finish, 10),
                drain: span(all.timeouts.drain, 30),
            },
            limits: Limits {
                memory: all.limits.memory.map_or(Self::LIMITS.memory, |size| size.0),
                cpu: all.limits.cpu.map_or(Self::LIMITS.cpu, |span| span.0),
            },
            grants: Grants {
                dirs: all.grants.dirs.unwrap_or_default(),
                env: all.grants.env.unwrap_or_default(),
                send_to: all.grants.send_to.map(networks).unwrap_or_default(),
            },
            listen,
        })
    }

    /// Whether the lists let a client at this address in: `deny` wins, and where there is an `allow` it has to name it.
    pub fn admits(&self, client: SocketAddr) -> Result<(), &'static str> {
        // An IPv4 client on an IPv6 listener is the IPv4 client that the lists speak of.
        let ip = client.ip().to_canonical();
        if self.deny.iter().any(|network| network.contains(&ip)) {
            Err("deny")
        } else if self.allow.as_ref().is_some_and(|list| !list.iter().any(|network| network.contains(&ip))) {
            Err("allow")
        } else {
            Ok(())
        }
    }
}

fn networks(list: OneOrMore<Network>) -> Vec<IpNet> {
    list.0.into_iter().map(|network| network.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operators(text: &str) -> ManifestFile {
        ManifestFile::parse(text, Origin::Operator(Path::new("upper.toml"))).unwrap()
    }

    fn plugins(text: &str) -> Result<ManifestFile, ConfigError> {
        ManifestFile::parse(text, Origin::Plugin("upper"))
    }

    #[test]
    fn the_nearer_layer_wins_key_by_key() {
        let settings = Settings::resolve(
            "upper",
            operators("backlog = 5\n[timeouts]\nidle = '1s'"),
            plugins("listen = 'tcp://127.0.0.1:1'\nbacklog = 6\n[timeouts]\nidle = '2s'\nsetup = '2s'").unwrap(),
            operators("max-connections = 7\n[timeouts]\nsetup = '3s'\nfinish = '3s'"),
        )
        .unwrap();
        assert_eq!(settings.listen, ["tcp://127.0.0.1:1".parse().unwrap()]);
        assert_eq!((settings.socket.backlog, settings.max_connections), (5, 7));
        let seconds = [settings.timeouts.idle, settings.timeouts.setup, settings.timeouts.finish].map(|d| d.as_secs());
        assert_eq!(seconds, [1, 2, 3]);
    }

    #[test]
    fn a_plugin_can_not_widen_its_own_rights() {
        for (text, named) in [
            ("listen = 'tcp://0.0.0.0:1'", "tcp://0.0.0.0:1"),
            ("listen = 'unix:///run/x.sock'", "unix:///run/x.sock"),
            ("[grants.env]\nA = 'b'", "grants"),
            ("[[grants.dirs]]\nhost = '.'\nguest = '/'", "grants"),
        ] {
            let error = plugins(text).unwrap_err().to_string();
            assert!(error.contains("inside upper") && error.contains(named), "{error}");
        }
        let hungry = plugins("listen = 'tcp://127.0.0.1:1'\n[limits]\nmemory = '1GiB'").unwrap();
        let refused = Settings::resolve("upper", operators(""), hungry.clone(), operators("")).unwrap_err().to_string();
        assert!(refused.contains("limits.memory") && refused.contains("64 MiB"), "{refused}");
        let allowed = operators("[limits]\nmemory = '2GiB'");
        assert!(Settings::resolve("upper", operators(""), hungry, allowed).is_ok());
    }

    #[test]
    fn no_address_is_refused_with_the_line_to_add() {
        let error = Settings::resolve("upper", operators(""), operators(""), operators("")).unwrap_err().to_string();
        assert_eq!(error, "no address: add a line to upper.toml: listen = \"tcp://127.0.0.1:9999\"");
    }

    #[test]
    fn deny_wins_over_allow_and_an_allow_list_shuts_all_others_out() {
        let settings = Settings::resolve(
            "upper",
            operators("listen = 'tcp://127.0.0.1:1'\nallow = ['10.0.0.0/8', '::1']\ndeny = '10.1.0.0/16'"),
            operators(""),
            operators(""),
        )
        .unwrap();
        let verdict = |ip: &str| settings.admits(SocketAddr::new(ip.parse().unwrap(), 1));
        assert_eq!(verdict("10.2.0.1"), Ok(()));
        assert_eq!(verdict("::ffff:10.2.0.1"), Ok(()));
        assert_eq!(verdict("::1"), Ok(()));
        assert_eq!(verdict("10.1.0.1"), Err("deny"));
        assert_eq!(verdict("127.0.0.1"), Err("allow"));
    }
}
