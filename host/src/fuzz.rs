//! What fuzzers run: a function for each reader of what others wrote. It panics where the reader
//! did, and where the reader broke its word. `fuzz/targets` has them run without end,
//! `tests/project/fuzzing.rs` for a moment at every run of the tests. No part of the library's
//! interface.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{scaffold::Language, scaffold::Name};
use crate::config::{HostConfig, ListenAddress, ManifestFile, ManifestOrigin, Settings, Size, Span};
use crate::plugin::{Loader, cache, identify};
use crate::sandbox::Engines;

mod differential;

pub use differential::{Sample, TOTALS, Totals, concealed, differential};

/// Where the operator's file of a fuzzer would be.
const BESIDE: &str = "/nowhere/fuzz.toml";

/// As `NAME.toml`, as the section inside a plugin, and as `[defaults]`: no author gets more than is
/// due.
pub fn manifest(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let nothing = ManifestFile::default;
    match ManifestFile::parse(text, ManifestOrigin::Operator(Path::new(BESIDE))) {
        Ok(file) => {
            one_line(Settings::resolve("fuzz", file.clone(), nothing(), nothing()));
            one_line(Settings::resolve("fuzz", nothing(), nothing(), file));
        }
        Err(error) => plain(&error),
    }
    let inside = match ManifestFile::parse(text, ManifestOrigin::Plugin("fuzz")) {
        Ok(inside) => inside,
        Err(error) => return plain(&error),
    };
    let Some(settings) = one_line(Settings::resolve("fuzz", nothing(), inside, nothing())) else { return };
    let loopback = |address: &ListenAddress| matches!(address, ListenAddress::Tcp(addr) | ListenAddress::Udp(addr) if addr.ip().is_loopback());
    assert!(settings.listen.iter().all(loopback), "it listens beyond loopback: {:?}", settings.listen);
    assert_eq!(settings.grants, Default::default(), "it grants itself something");
    let here = "listen = 'tcp://127.0.0.1:1'";
    let operators = ManifestFile::parse(here, ManifestOrigin::Operator(Path::new(BESIDE))).expect("a manifest");
    let limits = Settings::resolve("fuzz", operators, nothing(), nothing()).expect("settings").limits;
    assert!(settings.limits.memory <= limits.memory && settings.limits.cpu <= limits.cpu, "{:?}", settings.limits);
}

/// As `wharf.toml`.
pub fn host_config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    one_line(HostConfig::parse(text, Path::new("/nowhere/wharf.toml")));
}

/// As an address: one that is read prints as text that is read as the same, in one line.
pub fn addresses(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match text.parse::<ListenAddress>() {
        Ok(address) => {
            plain(&address);
            assert_eq!(address.to_string().parse(), Ok(address.clone()), "{address} is read as another");
            assert_eq!(address.counterpart().counterpart(), address);
            assert_ne!(address.counterpart().is_stream(), address.is_stream());
        }
        Err(error) => plain(&error),
    }
}

/// As a value of each key that is no plain number or switch.
pub fn quantities(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some(Span(span)) = one_line(text.parse()) {
        assert!((Duration::from_millis(1)..=Duration::from_secs(365 * 24 * 60 * 60)).contains(&span), "{span:?}");
        assert_eq!(humantime::format_duration(span).to_string().parse(), Ok(Span(span)));
    }
    if let Some(size) = one_line(text.parse::<Size>()) {
        assert_eq!(size.to_string().trim_end_matches(" bytes").parse(), Ok(size));
    }
    let value = toml::Value::String(text.to_owned());
    for key in [
        "allow",
        "deny",
        "unix.mode",
        "unix.user",
        "unix.group",
        "timeouts.idle",
        "limits.memory",
        "concurrency",
        "instance",
        "grants.send-to",
    ] {
        let line = format!("listen = 'tcp://127.0.0.1:1'\n{key} = {value}");
        let file = one_line(ManifestFile::parse(&line, ManifestOrigin::Operator(Path::new(BESIDE))));
        let Some(file) = file else { continue };
        let nothing = ManifestFile::default();
        let settings =
            Settings::resolve("fuzz", file, nothing.clone(), nothing).expect("an operator's key, and an address");
        assert!(settings.socket.unix.mode <= 0o777);
        let _ = settings.admits(([127, 0, 0, 1], 1).into());
    }
}

/// As the name of a new plugin: one that is taken is a file's name, and can't leave the folder.
pub fn names(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for language in Language::value_variants() {
        if let Some(name) = one_line(Name::parse(text, *language)) {
            assert_eq!(name.to_string(), text);
            assert!(text.starts_with(|c: char| c.is_ascii_alphabetic()));
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        }
    }
}

/// As an entry of the cache, under some name; then as the code in an entry, which no change of a
/// bit, no cut and no other name may leave believed.
pub fn cache(data: &[u8]) {
    const NAME: &str = "fuzz.code";
    if let Ok(code) = cache::unsealed(data, NAME) {
        let entry = [&cache::header(NAME, &code)[..], &code].concat();
        assert_eq!(entry, data, "an entry that was not written as it is");
    }
    let header = cache::header(NAME, data);
    let mut entry = [&header[..], data].concat();
    assert_eq!(cache::unsealed(&*entry, NAME).expect("as it was written"), data);
    assert!(cache::unsealed(&*entry, "other.code").is_err(), "the name is not part of the seal");
    // The input says where, so that a fuzzer finds its way to each place.
    let place = data.iter().fold(data.len(), |place, byte| place.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let place = place % (entry.len() * 8);
    assert!(cache::unsealed(&entry[..place / 8], NAME).is_err(), "an entry of {} bytes was believed", place / 8);
    entry[place / 8] ^= 1 << (place % 8);
    assert!(cache::unsealed(&*entry, NAME).is_err(), "believed with another bit {place}");
}

/// As a plugin's file, of which is told what it is.
pub fn recognise(data: &[u8]) {
    match identify(data) {
        Ok(kind) => assert!(["stream-handler", "datagram-handler", "command"].contains(&kind), "{kind}"),
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// As a plugin's file, all the way to an instance on trial.
pub fn load(data: &[u8]) {
    static HOST: LazyLock<(Runtime, Arc<Loader>)> = LazyLock::new(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let engines = Engines::new(4).expect("room for four instances");
        (runtime, Arc::new(Loader::new(engines, None, false).working_here()))
    });
    let (runtime, loader) = &*HOST;
    let datagrams = data.windows(16).any(|window| window == b"datagram-handler");
    let scheme = if datagrams { "udp" } else { "tcp" };
    let text = format!("listen = '{scheme}://127.0.0.1:1'\ntimeouts.setup = '2s'\nlimits.cpu = '100ms'");
    let beside = ManifestFile::parse(&text, ManifestOrigin::Operator(Path::new(BESIDE))).expect("a manifest");
    if let Err(refusal) = runtime.block_on(loader.load("fuzz", data.to_vec(), beside, ManifestFile::default())) {
        let reason = refusal.to_string();
        assert!(!reason.starts_with("the host failed"), "{reason}");
    }
}

/// What was read; an error has to be one line of plain text.
fn one_line<T, E: std::fmt::Display>(read: Result<T, E>) -> Option<T> {
    read.inspect_err(|error| plain(error)).ok()
}

fn plain(said: &dyn std::fmt::Display) {
    let said = said.to_string();
    assert!(!said.is_empty() && !said.contains(char::is_control), "not one line of plain text: {said:?}");
}
