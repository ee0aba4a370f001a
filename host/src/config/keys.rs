//! Every key of a manifest and of `wharf.toml`: what it takes, its default, and what it means. The
//! settings page and the JSON schema are made of this.

use serde_json::{Map, Value, json};

/// What a key takes.
#[derive(Clone, Copy)]
enum Takes {
    Addresses,
    /// One of these words.
    Word(&'static [&'static str]),
    Flag,
    /// A whole number, from this on.
    Count(u64),
    Duration,
    Seconds,
    Size,
    Networks,
    Texts,
    Mode,
    Owner,
    Folders,
    Variables,
}

struct Key {
    /// With its table's name before it.
    name: &'static str,
    takes: Takes,
    /// As TOML. None where the default is no value that could be written.
    default: Option<&'static str>,
    /// What the page says of that.
    otherwise: &'static str,
    means: &'static str,
}

const fn key(name: &'static str, takes: Takes, default: &'static str, means: &'static str) -> Key {
    Key { name, takes, default: Some(default), otherwise: "", means }
}

const fn without_default(name: &'static str, takes: Takes, otherwise: &'static str, means: &'static str) -> Key {
    Key { name, takes, default: None, otherwise, means }
}

use Takes::{Addresses, Count, Duration, Flag, Folders, Mode, Networks, Owner, Seconds, Size, Texts, Variables, Word};

const MANIFEST: [Key; 43] = [
    without_default("listen", Addresses, "", "one address, or a list of up to 1024"),
    key(
        "backlog",
        Count(1),
        "1024",
        "connections that the kernel holds until they are accepted: socketserver's `request_queue_size`",
    ),
    key("allow-reuse-address", Flag, "true", "`SO_REUSEADDR`, for TCP"),
    key(
        "allow-reuse-port",
        Flag,
        "false",
        "`SO_REUSEPORT`, to share a port with another process. Within one host, an address has one plugin",
    ),
    key("disable-nagle-algorithm", Flag, "true", "`TCP_NODELAY`"),
    without_default("receive-buffer", Size, "the kernel's", "`SO_RCVBUF` of TCP and UDP sockets, such as `\"1MiB\"`"),
    without_default("send-buffer", Size, "the kernel's", "`SO_SNDBUF` of TCP and UDP sockets"),
    key("max-packet-size", Count(1), "8192", "bytes of a datagram that are received. The rest is cut off"),
    key(
        "keepalive.idle",
        Seconds,
        "\"60s\"",
        "how long a TCP connection is quiet before the kernel probes it. Whole seconds",
    ),
    key("keepalive.interval", Seconds, "\"15s\"", "the time between two probes. Whole seconds"),
    key("keepalive.count", Count(0), "4", "probes without an answer before the connection is reset; 0 sends none"),
    key("unix.mode", Mode, "\"0600\"", "the mode of a Unix socket's file"),
    without_default("unix.user", Owner, "the host's", "its owner, by name or number"),
    without_default("unix.group", Owner, "the host's", "its group, by name or number"),
    key(
        "concurrency",
        Word(&["task", "serial", "thread", "process"]),
        "\"task\"",
        "where sessions run: `\"task\"`, `\"serial\"`, `\"thread\"` or `\"process\"`; see [Concurrency](../explanation/concurrency.md)",
    ),
    key(
        "instance",
        Word(&["fresh", "reused"]),
        "\"fresh\"",
        "`\"fresh\"`: each request has a sandbox in its first state. `\"reused\"`: warm ones serve one request after the other",
    ),
    key("reuse.max-instances", Count(1), "16", "how many warm sandboxes are kept"),
    key("reuse.max-age", Duration, "\"10m\"", "how long one is used"),
    key("reuse.max-requests", Count(1), "10000", "how many requests one serves"),
    key(
        "instance-on-first-byte",
        Flag,
        "false",
        "whether a connection gets its sandbox, thread or process only when its client's first byte, or its end, has come",
    ),
    key("service-interval", Duration, "\"500ms\"", "how often the hook `service-actions` is called, for each listener"),
    key("daemon-threads", Flag, "false", "whether a stop leaves sessions in threads behind"),
    key("block-on-close", Flag, "true", "whether a stop waits for sessions in threads and processes"),
    without_default("args", Texts, "none", "the guest's arguments"),
    without_default(
        "allow",
        Networks,
        "everybody",
        "addresses and networks that may connect: `[\"10.0.0.0/8\", \"::1\"]`",
    ),
    without_default("deny", Networks, "nobody", "addresses and networks that may not. `deny` wins over `allow`"),
    key("max-connections", Count(1), "1024", "sessions at once, on each listener"),
    key("max-children", Count(1), "40", "the same for child processes"),
    without_default(
        "max-connections-per-source",
        Count(1),
        "no limit",
        "sessions at once of one source, on each listener",
    ),
    without_default(
        "max-rate-per-source",
        Count(1),
        "no limit",
        "new requests a second of one source, on each listener, and as many at once after a pause",
    ),
    key("max-generations", Count(1), "8", "generations that may have sessions at once, the current one included"),
    key("timeouts.setup", Duration, "\"10s\"", "making the sandbox, `verify-request` and `setup`"),
    key(
        "timeouts.idle",
        Duration,
        "\"5m\"",
        "waiting for a quiet client, from when a byte last passed, over all waits until the next one passes",
    ),
    key(
        "timeouts.gone",
        Duration,
        "\"30s\"",
        "a session whose client has gone and whose handler is busy with something else",
    ),
    key("timeouts.handle", Duration, "\"1d\"", "`handle` as a whole"),
    key("timeouts.finish", Duration, "\"10s\"", "`finish`"),
    key(
        "timeouts.drain",
        Duration,
        "\"30s\"",
        "sessions whose server stops: the host stops, or the plugin is removed. See [when its time runs \
         out](guests.md#when-its-time-runs-out)",
    ),
    without_default("timeouts.replaced", Duration, "no limit", "sessions whose plugin was replaced"),
    key(
        "limits.memory",
        Size,
        "\"64MiB\"",
        "linear memory of one session. The host's own records of it may take as much again",
    ),
    key("limits.cpu", Duration, "\"10s\"", "CPU time between two dealings with the client, to 10 ms"),
    without_default(
        "grants.dirs",
        Folders,
        "none",
        "folders that the guest may see, 64 at most: a `[[grants.dirs]]` for each",
    ),
    without_default("grants.env", Variables, "none", "variables of the guest's environment"),
    without_default(
        "grants.send-to",
        Networks,
        "none",
        "networks that a datagram handler may send to, besides its client",
    ),
];

const HOST: [Key; 2] = [
    without_default(
        "max-connections",
        Count(1),
        "what the machine allows, 10,000 at most",
        "sessions at once over all plugins. It is read at the start",
    ),
    key("rescan", Duration, "\"30s\"", "how often the folder is looked at when no change was reported"),
];

/// The JSON schema (draft 2020-12) of `NAME.toml`, by which editors complete and check it.
pub fn manifest_schema() -> Value {
    file("The manifest of a wharf plugin: NAME.toml", properties(&MANIFEST))
}

/// The same of `wharf.toml`.
pub fn host_schema() -> Value {
    let mut properties = properties(&HOST);
    // An address belongs to one plugin.
    let mut defaults = table(self::properties(&MANIFEST[1..]));
    defaults["description"] = "any key of a manifest but `listen`, for every plugin".into();
    properties.insert("defaults".to_owned(), defaults);
    file("Settings of a wharf host: wharf.toml", properties)
}

fn file(title: &str, properties: Map<String, Value>) -> Value {
    let mut file = table(properties);
    file["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    file["title"] = title.into();
    file
}

fn table(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Keys with a dot are in tables, one deep.
fn properties(keys: &[Key]) -> Map<String, Value> {
    let mut all = Map::new();
    for key in keys {
        match key.name.split_once('.') {
            None => _ = all.insert(key.name.to_owned(), key.schema()),
            Some((table, name)) => {
                let table = all.entry(table).or_insert_with(|| self::table(Map::new()));
                table["properties"][name] = key.schema();
            }
        }
    }
    all
}

impl Key {
    fn schema(&self) -> Value {
        let mut schema = self.takes.schema();
        schema["description"] = self.means.into();
        if let Some(default) = self.default {
            schema["default"] = default.parse::<toml::Value>().map_or(Value::Null, |value| json!(value));
        } else if !self.otherwise.is_empty() {
            schema["description"] = format!("{} (without it: {})", self.means, self.otherwise).into();
        }
        schema
    }
}

impl Takes {
    fn schema(self) -> Value {
        let one_or_more = |item: Value| json!({ "anyOf": [item, { "type": "array", "items": item }] });
        match self {
            Addresses => one_or_more(json!({ "type": "string", "pattern": "^(tcp|udp|unix|unixgram)://" })),
            Word(words) => json!({ "enum": words }),
            Flag => json!({ "type": "boolean" }),
            Count(least) => json!({ "type": "integer", "minimum": least }),
            Duration => {
                json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|sec|m|min|h|hr|d|day|days)", "examples": ["500ms", "30s", "1h"] })
            }
            Seconds => json!({ "type": "string", "pattern": "^[0-9]+ *(s|sec|m|min|h)", "examples": ["60s"] }),
            Size => json!({ "anyOf": [
                { "type": "string", "pattern": "^[0-9]+ *(KiB|MiB|GiB)?$" },
                { "type": "integer", "minimum": 0 },
            ], "examples": ["64MiB"] }),
            Networks => one_or_more(json!({ "type": "string", "examples": ["10.0.0.0/8", "::1"] })),
            Texts => json!({ "type": "array", "items": { "type": "string" } }),
            Mode => json!({ "type": "string", "pattern": "^0?[0-7]{1,3}$" }),
            Owner => json!({ "type": "string" }),
            Folders => json!({ "type": "array", "items": {
                "type": "object",
                "properties": {
                    "host": { "type": "string", "description": "its path, relative to the manifest" },
                    "guest": { "type": "string", "description": "where the guest sees it" },
                    "access": { "enum": ["read-only", "read-write"], "default": "read-only" },
                },
                "required": ["host", "guest"],
                "additionalProperties": false,
            } }),
            Variables => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        }
    }
}

/// The rows of the settings page, each as `| KEY | DEFAULT | MEANS |`.
#[cfg(test)]
fn rows() -> impl Iterator<Item = String> {
    MANIFEST.iter().chain(&HOST).map(|key| {
        let Key { name, default, otherwise, means, .. } = key;
        let otherwise = match default {
            Some(default) if default.starts_with('"') => format!("`{default}`"),
            Some(default) => (*default).to_owned(),
            None => (*otherwise).to_owned(),
        };
        format!("| `{name}` | {otherwise} | {means} |").replace("|  |", "| |")
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ManifestFile, ManifestOrigin, Settings};
    use super::*;

    fn parsed(text: &str) -> Result<ManifestFile, String> {
        let origin = ManifestOrigin::Operator(Path::new("/plugins/upper.toml"));
        ManifestFile::parse(text, origin).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_that_a_manifest_without_them_has() {
        let listen = "listen = 'tcp://127.0.0.1:9999'\n";
        let written = MANIFEST.iter().filter_map(|key| Some(format!("{} = {}\n", key.name, key.default?)));
        let written = parsed(&(listen.to_owned() + &written.collect::<String>())).expect("every key is known");
        let resolve = |file| Settings::resolve("upper", file, ManifestFile::default(), ManifestFile::default());
        assert_eq!(resolve(written).unwrap(), resolve(parsed(listen).unwrap()).unwrap());
    }

    #[test]
    fn every_key_that_a_manifest_may_have_is_here_and_no_other() {
        for table in ["", "keepalive", "unix", "reuse", "timeouts", "limits", "grants"] {
            let dot = if table.is_empty() { "" } else { "." };
            let error = parsed(&format!("{table}{dot}no-such-key = 1")).unwrap_err();
            let (_, known) = error.split_once("known are ").expect("what is known");
            let known = known.lines().next().unwrap_or_default().split(", ").map(|key| format!("{table}{dot}{key}"));
            let tables = ["keepalive", "unix", "reuse", "timeouts", "limits", "grants"];
            let mut known: Vec<String> = known.filter(|key| !tables.contains(&key.as_str())).collect();
            let within = |key: &&Key| key.name.split_once('.').map_or("", |(table, _)| table) == table;
            let mut here: Vec<_> = MANIFEST.iter().filter(within).map(|key| key.name.to_owned()).collect();
            known.sort();
            here.sort();
            assert_eq!(here, known);
        }
    }

    #[test]
    fn the_settings_page_says_the_same() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/settings.md"));
        let missing: Vec<String> = rows().filter(|row| !page.lines().any(|line| line == row)).collect();
        assert!(missing.is_empty(), "docs/reference/settings.md lacks these rows:\n{}", missing.join("\n"));
    }
}
