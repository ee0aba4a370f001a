//! A plugin's settings: its manifest's layers put together, with what is built in where none of
//! them says.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::ListenAddress;
use super::manifest::{Concurrency, DirGrant, InstancePolicy, KeepaliveFile, ManifestFile, Network, OneOrMore};
use super::text::ConfigError;
use super::units::{ProbeSpan, Size, Span};

/// Everything known about how one plugin is to be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Not for a child process, which is given its socket.
    #[serde(skip)]
    pub listen: Vec<ListenAddress>,
    pub concurrency: Concurrency,
    /// Sessions at once, on each of the plugin's listeners.
    pub max_connections: u32,
    /// Children at once, on each of the plugin's listeners; they count as sessions, too.
    pub max_children: u32,
    /// Generations that may have sessions at once, the current one among them.
    pub max_generations: u32,
    pub per_source: PerSource,
    /// Whether a connection's sandbox is made only when its client's first byte has come, or its
    /// end.
    pub instance_on_first_byte: bool,
    /// Whether a stop waits for the sessions that are threads or processes.
    pub joined: bool,
    /// How instances are reused; none if every request has a fresh one.
    pub reuse: Option<Reuse>,
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

/// How far warm instances may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reuse {
    /// Warm instances kept at once, beside those that serve.
    pub max_instances: u32,
    /// How long one may be used from when it was made.
    pub max_age: Duration,
    /// Requests one may serve.
    pub max_requests: u32,
}

/// What one source of requests may have of each of the plugin's listeners. None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerSource {
    /// Sessions at once.
    pub connections: Option<u32>,
    /// New requests a second, and at once if there were none before. Not 0.
    pub rate: Option<u32>,
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
    /// None sends no probes.
    pub keepalive: Option<Keepalive>,
    /// `SO_RCVBUF` and `SO_SNDBUF`, for TCP and UDP; none leaves them to the kernel.
    pub receive_buffer: Option<u32>,
    pub send_buffer: Option<u32>,
    /// Bytes of a datagram that are received; the rest is cut off.
    pub max_packet_size: u32,
    pub unix: UnixSettings,
}

/// How a client that vanished without a word is found: by probes of a connection that is quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepalive {
    /// `TCP_KEEPIDLE`: how long it has to be quiet.
    pub idle: Duration,
    /// `TCP_KEEPINTVL`: between two probes.
    pub interval: Duration,
    /// `TCP_KEEPCNT`: probes without an answer before it is reset.
    pub count: u32,
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
    /// Waiting for a quiet client: from the first wait after a byte last went through, over however
    /// many waits, until the next one does.
    pub idle: Duration,
    /// What a session still gets once its client is gone and it takes no more of what that one
    /// sent.
    pub gone: Duration,
    /// `handle` as a whole.
    pub handle: Duration,
    pub finish: Duration,
    /// How long sessions may go on once their server stops.
    pub drain: Duration,
    /// How long they may once their generation is replaced; none if until they end.
    pub replaced: Option<Duration>,
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

/// The most addresses of one plugin. What goes over all of them, at each change of a manifest,
/// takes no time to speak of.
const ADDRESSES: usize = 1024;

impl Settings {
    const LIMITS: Limits = Limits { memory: 64 << 20, cpu: Duration::from_secs(10) };

    /// Puts the layers together. `beside` is the operator's file for this plugin, `inside` the
    /// plugin's own section.
    ///
    /// # Errors
    /// No address at all; a plugin's own section that raises the operator's limits.
    pub fn resolve(
        name: &str,
        beside: ManifestFile,
        inside: ManifestFile,
        defaults: ManifestFile,
    ) -> Result<Self, ConfigError> {
        let operator = beside.clone().over(defaults.clone());
        let operators_memory = operator.limits.memory.map_or(Self::LIMITS.memory, |size| size.0);
        let operators_cpu = operator.limits.cpu.map_or(Self::LIMITS.cpu, |span| span.0);
        let too_much = |key, allowed: String| {
            ConfigError::new(
                format_args!("the manifest inside {name}: {key}"),
                format_args!("more than the {allowed} allowed; the operator may allow it in {name}.toml"),
            )
        };
        if inside.limits.memory.is_some_and(|size| size.0 > operators_memory) {
            return Err(too_much("limits.memory", Size(operators_memory).to_string()));
        }
        if inside.limits.cpu.is_some_and(|span| span.0 > operators_cpu) {
            return Err(too_much("limits.cpu", humantime::format_duration(operators_cpu).to_string()));
        }
        for (key, asked, operators) in [
            ("max-connections-per-source", inside.max_connections_per_source, operator.max_connections_per_source),
            ("max-rate-per-source", inside.max_rate_per_source, operator.max_rate_per_source),
        ] {
            if let (Some(asked), Some(operators)) = (asked, operators)
                && asked > operators
            {
                return Err(too_much(key, operators.to_string()));
            }
        }

        // Beside the operator's `[defaults]`, a plugin may turn more clients away, but let no more
        // in.
        let allow = operator.allow.or_else(|| inside.allow.clone()).map(networks);
        let own = inside.deny.clone().filter(|_| beside.deny.is_none());
        let deny = [operator.deny, own].into_iter().flatten().flat_map(networks).collect();
        let all = beside.over(inside).over(defaults);
        let listen = all.listen.map(|list| list.0).unwrap_or_default();
        if listen.is_empty() {
            return Err(ConfigError::new(
                "no address",
                format_args!("add a line to {name}.toml: listen = \"tcp://127.0.0.1:9999\""),
            ));
        }
        if listen.len() > ADDRESSES {
            let count = listen.len();
            let wrong = format_args!("{count} addresses; a plugin has {ADDRESSES} at most");
            return Err(ConfigError::new("listen", wrong));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = listen.iter().find(|address| {
            let fixed = !matches!(address, ListenAddress::Tcp(a) | ListenAddress::Udp(a) if a.port() == 0);
            fixed && !seen.insert(*address)
        }) {
            return Err(ConfigError::new("listen", format_args!("duplicate address {twice}")));
        }
        let concurrency = all.concurrency.unwrap_or_default();
        let span = |value: Option<Span>, default: u64| value.map_or(Duration::from_secs(default), |span| span.0);
        Ok(Self {
            concurrency,
            max_children: all.max_children.map_or(40, NonZeroU32::get),
            max_generations: all.max_generations.map_or(8, NonZeroU32::get),
            per_source: PerSource {
                connections: all.max_connections_per_source.map(NonZeroU32::get),
                rate: all.max_rate_per_source.map(NonZeroU32::get),
            },
            instance_on_first_byte: all.instance_on_first_byte.unwrap_or(false),
            joined: !matches!(concurrency, Concurrency::Thread | Concurrency::Process)
                || all.block_on_close.unwrap_or(true)
                    && !(concurrency == Concurrency::Thread && all.daemon_threads.unwrap_or(false)),
            reuse: (all.instance.unwrap_or_default() == InstancePolicy::Reused).then(|| Reuse {
                max_instances: all.reuse.max_instances.map_or(16, NonZeroU32::get),
                max_age: span(all.reuse.max_age, 10 * 60),
                max_requests: all.reuse.max_requests.map_or(10_000, NonZeroU32::get),
            }),
            service_interval: all.service_interval.map_or(Duration::from_millis(500), |span| span.0),
            socket: SocketSettings {
                backlog: all.backlog.map_or(1024, NonZeroU32::get),
                reuse_address: all.allow_reuse_address.unwrap_or(true),
                reuse_port: all.allow_reuse_port.unwrap_or(false),
                nodelay: all.disable_nagle_algorithm.unwrap_or(true),
                keepalive: keepalive(&all.keepalive),
                receive_buffer: all.receive_buffer.map(buffer),
                send_buffer: all.send_buffer.map(buffer),
                max_packet_size: all.max_packet_size.map_or(8192, NonZeroU32::get),
                unix: UnixSettings {
                    mode: all.unix.mode.map_or(0o600, |mode| mode.0),
                    user: all.unix.user.map(|user| user.0),
                    group: all.unix.group.map(|group| group.0),
                },
            },
            max_connections: all.max_connections.map_or(1024, NonZeroU32::get),
            allow,
            deny,
            args: all.args.unwrap_or_default(),
            timeouts: Timeouts {
                setup: span(all.timeouts.setup, 10),
                idle: span(all.timeouts.idle, 5 * 60),
                gone: span(all.timeouts.gone, 30),
                handle: span(all.timeouts.handle, 24 * 60 * 60),
                finish: span(all.timeouts.finish, 10),
                drain: span(all.timeouts.drain, 30),
                replaced: all.timeouts.replaced.map(|span| span.0),
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

    /// Whether the lists let a client at this address in: `deny` wins, and where there is an
    /// `allow` it has to name it.
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

/// A minute of quiet, then another for the probes: a client that vanished is found within two.
fn keepalive(file: &KeepaliveFile) -> Option<Keepalive> {
    let span = |span: Option<ProbeSpan>, default| span.map_or(Duration::from_secs(default), |span| span.0);
    let count = file.count.map_or(4, |count| count.0);
    (count > 0).then(|| Keepalive { idle: span(file.idle, 60), interval: span(file.interval, 15), count })
}

/// setsockopt(2) takes an int, of which the kernel makes twice as much.
fn buffer(Size(bytes): Size) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).min(i32::MAX.cast_unsigned() / 2)
}

fn networks(list: OneOrMore<Network>) -> Vec<IpNet> {
    list.0.into_iter().map(|network| network.0).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::manifest::ManifestOrigin;
    use super::*;

    fn operators(text: &str) -> ManifestFile {
        ManifestFile::parse(text, ManifestOrigin::Operator(Path::new("upper.toml"))).unwrap()
    }

    fn plugins(text: &str) -> Result<ManifestFile, ConfigError> {
        ManifestFile::parse(text, ManifestOrigin::Plugin("upper"))
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
            ("listen = 'tcp://127.0.0.1:1'\nallow-reuse-port = true", "allow-reuse-port"),
            ("allow-reuse-port = false", "allow-reuse-port"),
            ("receive-buffer = '1MiB'", "receive-buffer"),
            ("send-buffer = '1MiB'", "send-buffer"),
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

        for key in ["max-connections-per-source", "max-rate-per-source"] {
            let asking = plugins(&format!("listen = 'tcp://127.0.0.1:1'\n{key} = 5")).unwrap();
            let resolve = |limit: &str| Settings::resolve("upper", operators(""), asking.clone(), operators(limit));
            let refused = resolve(&format!("{key} = 4")).unwrap_err().to_string();
            assert!(refused.contains(&format!("{key}: more than the 4 allowed")), "{refused}");
            assert!(resolve(&format!("{key} = 5")).is_ok() && resolve("").is_ok());
        }
    }

    #[test]
    fn a_plugin_lets_nobody_in_whom_the_operator_keeps_out() {
        let verdicts = |beside: &str, inside: &str, defaults: &str| {
            let inside = plugins(&format!("listen = 'tcp://127.0.0.1:1'\n{inside}")).unwrap();
            let settings = Settings::resolve("upper", operators(beside), inside, operators(defaults)).unwrap();
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| settings.admits(SocketAddr::new(ip.parse().unwrap(), 1)))
        };
        let (no, not) = (Err("deny"), Err("allow"));
        assert_eq!(verdicts("", "deny = '10.0.0.1'", "deny = '10.0.0.2'"), [no, no, Ok(())]);
        assert_eq!(verdicts("deny = '10.0.0.3'", "deny = '10.0.0.1'", "deny = '10.0.0.2'"), [Ok(()), Ok(()), no]);
        assert_eq!(verdicts("", "allow = '10.0.0.1'", "allow = '10.0.0.2'"), [not, Ok(()), not]);
        assert_eq!(verdicts("", "allow = '10.0.0.1'", ""), [Ok(()), not, not]);
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
            operators("listen = 'tcp://127.0.0.1:1'\nallow = ['10.0.0.0/8', '::1']\ndeny = '::ffff:10.1.0.0/112'"),
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
