//! The manifest's layers, as they were written. The file beside the plugin overrides, key by key,
//! the section inside it, which overrides `[defaults]` of `wharf.toml`, which overrides what is
//! built in here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::address::ListenAddress;
use super::folders::GrantedFolder;
use super::owner::{FileMode, Group, User};
use super::text::{ConfigError, parse};
use super::units::{ProbeCount, ProbeSpan, Size, Span};

/// Folders that one manifest may grant: they stay open.
const FOLDERS: usize = 64;

/// One layer as it was written: nothing in it is required.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManifestFile {
    pub(super) listen: Option<OneOrMore<ListenAddress>>,
    pub(super) concurrency: Option<Concurrency>,
    pub(super) instance: Option<InstancePolicy>,
    pub(super) backlog: Option<NonZeroU32>,
    pub(super) max_connections: Option<NonZeroU32>,
    pub(super) max_connections_per_source: Option<NonZeroU32>,
    pub(super) max_rate_per_source: Option<NonZeroU32>,
    pub(super) instance_on_first_byte: Option<bool>,
    pub(super) allow: Option<OneOrMore<Network>>,
    pub(super) deny: Option<OneOrMore<Network>>,
    pub(super) args: Option<Vec<String>>,
    pub(super) max_packet_size: Option<NonZeroU32>,
    pub(super) max_children: Option<NonZeroU32>,
    pub(super) max_generations: Option<NonZeroU32>,
    pub(super) daemon_threads: Option<bool>,
    pub(super) block_on_close: Option<bool>,
    pub(super) allow_reuse_address: Option<bool>,
    pub(super) allow_reuse_port: Option<bool>,
    pub(super) disable_nagle_algorithm: Option<bool>,
    pub(super) receive_buffer: Option<Size>,
    pub(super) send_buffer: Option<Size>,
    pub(super) service_interval: Option<Span>,
    #[serde(default)]
    pub(super) keepalive: KeepaliveFile,
    #[serde(default)]
    pub(super) unix: UnixFile,
    #[serde(default)]
    pub(super) reuse: ReuseFile,
    #[serde(default)]
    pub(super) timeouts: TimeoutsFile,
    #[serde(default)]
    pub(super) limits: LimitsFile,
    #[serde(default)]
    pub(super) grants: GrantsFile,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct TimeoutsFile {
    pub(super) setup: Option<Span>,
    pub(super) idle: Option<Span>,
    pub(super) gone: Option<Span>,
    pub(super) handle: Option<Span>,
    pub(super) finish: Option<Span>,
    pub(super) drain: Option<Span>,
    pub(super) replaced: Option<Span>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct LimitsFile {
    pub(super) memory: Option<Size>,
    pub(super) cpu: Option<Span>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct GrantsFile {
    pub(super) dirs: Option<Vec<DirGrant>>,
    pub(super) env: Option<BTreeMap<String, String>>,
    pub(super) send_to: Option<OneOrMore<Network>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ReuseFile {
    pub(super) max_instances: Option<NonZeroU32>,
    pub(super) max_age: Option<Span>,
    pub(super) max_requests: Option<NonZeroU32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct KeepaliveFile {
    pub(super) idle: Option<ProbeSpan>,
    pub(super) interval: Option<ProbeSpan>,
    pub(super) count: Option<ProbeCount>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct UnixFile {
    pub(super) mode: Option<FileMode>,
    pub(super) user: Option<User>,
    pub(super) group: Option<Group>,
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
pub(super) enum InstancePolicy {
    /// One instance a request.
    #[default]
    Fresh,
    /// Warm instances, one request at a time.
    Reused,
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
    /// The folder itself. Its path is of no use once the manifest is read: what it leads to may be
    /// another's to say.
    #[serde(skip)]
    pub folder: Option<Arc<GrantedFolder>>,
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
pub(super) struct Network(pub(super) IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(|network| Self(canonical(network)))
            .map_err(|_| format!("{text:?} is no network; write one like \"10.0.0.0/8\", \"::1\" or \"127.0.0.1\""))
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`, as IPv4 clients are known by their own addresses wherever
/// they come.
fn canonical(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) => match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
            (Some(ip), Some(length)) => Ipv4Net::new(ip, length).map_or(network, IpNet::V4),
            _ => network,
        },
        IpNet::V4(_) => network,
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
pub(super) struct OneOrMore<T>(pub(super) Vec<T>);

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

/// The most addresses that the section inside a plugin may list.
const OWN_ADDRESSES: usize = 16;

/// The author of a layer, which decides what it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestOrigin<'a> {
    /// A file of the operator's: may ask for anything.
    Operator(&'a Path),
    /// The section inside this plugin: loopback addresses, and no grant.
    Plugin(&'a str),
}

/// What the host itself says of a client, or may say one day: UCSPI's variables, and those that
/// servers with TLS set.
const OF_THE_HOST: [&str; 10] = [
    "TCPLOCAL",
    "TCPREMOTE",
    "TCP6LOCAL",
    "TCP6REMOTE",
    "UDPLOCAL",
    "UDPREMOTE",
    "UNIXLOCAL",
    "UNIXREMOTE",
    "SSLLOCAL",
    "SSLREMOTE",
];

/// Where OpenSSL and others look for certificates: no server says anything of a client by these.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Whether the operator may set a variable: a guest that reads one of the host's has to find what
/// the host says there.
fn check_variable(name: &str, value: &str) -> Result<(), &'static str> {
    let of_the_host = name == "PROTO"
        || OF_THE_HOST.iter().any(|start| name.starts_with(start))
        || (name.starts_with("SSL_") && !CERTIFICATES.contains(&name));
    if of_the_host {
        Err("the host says this of each client; choose another name")
    } else if name.is_empty() || name.contains(['=', '\0']) {
        Err("no variable has such a name; write one without `=`")
    } else if value.contains('\0') {
        Err("a NUL character ends a variable; leave it out")
    } else {
        Ok(())
    }
}

impl ManifestFile {
    /// Reads one layer.
    ///
    /// # Errors
    /// Text that is no manifest, or, from a plugin, one that asks for what only the operator may
    /// give.
    pub fn parse(text: &str, origin: ManifestOrigin<'_>) -> Result<Self, ConfigError> {
        match origin {
            ManifestOrigin::Operator(path) => {
                let file: Self = parse(text, &path.display().to_string())?;
                file.based_in(path)
            }
            ManifestOrigin::Plugin(name) => {
                let place = format!("the manifest inside {name}");
                let file: Self = parse(text, &place)?;
                file.within_a_plugins_rights(&place)?;
                Ok(file)
            }
        }
    }

    /// Takes what the operator's file at `path` grants: folders, which are relative to it and have
    /// to be there, and variables.
    pub(super) fn based_in(mut self, path: &Path) -> Result<Self, ConfigError> {
        let base = path.parent().unwrap_or(Path::new(""));
        let file = path.display();
        let dirs = self.grants.dirs.as_deref_mut().unwrap_or_default();
        if dirs.len() > FOLDERS {
            let said = format_args!("{} folders, of which {FOLDERS} are the most", dirs.len()).to_string();
            return Err(ConfigError::new(format_args!("{file}: grants.dirs"), said));
        }
        for place in 0..dirs.len() {
            let (before, rest) = dirs.split_at_mut(place);
            let grant = &mut rest[0];
            grant.host = base.join(&grant.host);
            let folder = GrantedFolder::open(&grant.host, path, grant.access == Access::ReadWrite);
            let beside = before.iter().filter_map(|other| other.folder.as_deref());
            let folder = folder.map_err(|error| format!("{} {error}", grant.host.display())).and_then(|folder| {
                for other in beside {
                    folder.is_out_of_reach(other)?;
                    other.is_out_of_reach(&folder)?;
                }
                Ok(folder)
            });
            let folder = folder.map_err(|error| ConfigError::new(format_args!("{file}: grants.dirs.host"), error))?;
            grant.folder = Some(folder);
        }
        for (name, value) in self.grants.env.iter().flatten() {
            if let Err(error) = check_variable(name, value) {
                return Err(ConfigError::new(format_args!("{file}: grants.env.{}", name.escape_debug()), error));
            }
        }
        Ok(self)
    }

    fn within_a_plugins_rights(&self, place: &str) -> Result<(), ConfigError> {
        let operators = |key: &str, wrong: String| {
            let wrong = format_args!("{wrong}; only the operator's own file may ask for it").to_string();
            Err(ConfigError::new(format_args!("{place}: {key}"), wrong))
        };
        let count = self.listen.as_ref().map_or(0, |list| list.0.len());
        if count > OWN_ADDRESSES {
            return operators("listen", format!("{count} addresses, more than {OWN_ADDRESSES}"));
        }
        if self.allow_reuse_port.is_some() {
            // A plugin that shares a port gets some of the other's clients.
            return operators("allow-reuse-port", "a port is shared with others".to_owned());
        }
        for (key, size) in [("receive-buffer", self.receive_buffer), ("send-buffer", self.send_buffer)] {
            if size.is_some() {
                return operators(key, "it is memory of the kernel's".to_owned());
            }
        }
        if let Some(wide) = self
            .addresses()
            .find(|address| !matches!(address, ListenAddress::Tcp(addr) | ListenAddress::Udp(addr) if addr.ip().is_loopback()))
        {
            return operators("listen", format!("{wide} is not loopback"));
        }
        if self.grants != GrantsFile::default() {
            return Err(ConfigError::new(format_args!("{place}: grants"), "only the operator's own file may grant"));
        }
        Ok(())
    }

    /// The addresses that it names.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listen.iter().flat_map(|list| &list.0)
    }

    pub(super) fn has_address(&self) -> bool {
        self.listen.is_some()
    }

    /// The same with these addresses instead of its own.
    pub fn listening_at(self, addresses: Vec<ListenAddress>) -> Self {
        Self { listen: Some(OneOrMore(addresses)), ..self }
    }

    /// This layer where it says something, else `base`.
    pub(super) fn over(self, base: Self) -> Self {
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
            max_connections_per_source: self.max_connections_per_source.or(base.max_connections_per_source),
            max_rate_per_source: self.max_rate_per_source.or(base.max_rate_per_source),
            instance_on_first_byte: self.instance_on_first_byte.or(base.instance_on_first_byte),
            allow: self.allow.or(base.allow),
            deny: self.deny.or(base.deny),
            args: self.args.or(base.args),
            max_packet_size: self.max_packet_size.or(base.max_packet_size),
            max_children: self.max_children.or(base.max_children),
            max_generations: self.max_generations.or(base.max_generations),
            daemon_threads: self.daemon_threads.or(base.daemon_threads),
            block_on_close: self.block_on_close.or(base.block_on_close),
            allow_reuse_address: self.allow_reuse_address.or(base.allow_reuse_address),
            allow_reuse_port: self.allow_reuse_port.or(base.allow_reuse_port),
            disable_nagle_algorithm: self.disable_nagle_algorithm.or(base.disable_nagle_algorithm),
            receive_buffer: self.receive_buffer.or(base.receive_buffer),
            send_buffer: self.send_buffer.or(base.send_buffer),
            service_interval: self.service_interval.or(base.service_interval),
            keepalive: KeepaliveFile {
                idle: self.keepalive.idle.or(base.keepalive.idle),
                interval: self.keepalive.interval.or(base.keepalive.interval),
                count: self.keepalive.count.or(base.keepalive.count),
            },
            unix: UnixFile {
                mode: self.unix.mode.or(base.unix.mode),
                user: self.unix.user.or(base.unix.user),
                group: self.unix.group.or(base.unix.group),
            },
            reuse: ReuseFile {
                max_instances: self.reuse.max_instances.or(base.reuse.max_instances),
                max_age: self.reuse.max_age.or(base.reuse.max_age),
                max_requests: self.reuse.max_requests.or(base.reuse.max_requests),
            },
            timeouts: TimeoutsFile {
                setup: self.timeouts.setup.or(base.timeouts.setup),
                idle: self.timeouts.idle.or(base.timeouts.idle),
                gone: self.timeouts.gone.or(base.timeouts.gone),
                handle: self.timeouts.handle.or(base.timeouts.handle),
                finish: self.timeouts.finish.or(base.timeouts.finish),
                drain: self.timeouts.drain.or(base.timeouts.drain),
                replaced: self.timeouts.replaced.or(base.timeouts.replaced),
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

#[cfg(test)]
mod tests {
    use super::check_variable;

    #[test]
    fn no_variable_that_tells_of_a_client_can_be_set() {
        let ends = ["LOCAL", "REMOTE"].into_iter().flat_map(|end| {
            let inet = ["TCP", "TCP6", "UDP", "SSL"].into_iter();
            let inet = inet.flat_map(move |proto| ["IP", "PORT", "HOST", "INFO"].map(|of| format!("{proto}{end}{of}")));
            inet.chain(["PATH", "UID", "GID", "PID"].map(|of| format!("UNIX{end}{of}")))
        });
        for name in ends.chain(["PROTO", "SSL_PROTOCOL", "SSL_CLIENT_S_DN", "SSL_TLS_SNI"].map(str::to_owned)) {
            assert!(check_variable(&name, "x").is_err(), "{name}");
        }
        for name in ["", "A=B", "A\0B"] {
            assert!(check_variable(name, "x").is_err(), "{name:?}");
        }
        assert!(check_variable("A", "x\0TCPREMOTEIP=6.6.6.6").is_err());
        for name in ["A", "HOME", "PROTOCOL", "TCP", "SSL_CERT_FILE", "SSL_CERT_DIR", "tcpremoteip"] {
            assert_eq!(check_variable(name, "x"), Ok(()), "{name}");
        }
    }
}
