//! Clients that connect and leave without a byte, as health checks do: they are counted, and
//! nobody's failed sessions.

use rustix::process::Signal;

use crate::harness::guests::{Guest, fixture_with_hooks, program, shipped};
use crate::harness::languages::examples;
use crate::harness::observe::until;
use crate::harness::{Client, Family, Folder, Wharf, fixture, in_every_mode};

/// Connects and leaves, once in each way there is: how many these are.
fn probe(url: &str) -> usize {
    Client::dial(url).resets();
    drop(Client::dial(url));
    let mut client = Client::dial(url);
    client.ends();
    assert_eq!(client.rest(), "");
    3
}

/// Waits until so many of a plugin's sessions were counted, all of them probes, and nothing else
/// was.
#[track_caller]
fn are_counted(wharf: &Wharf, plugin: &str, probes: usize) {
    let counted = format!("counted sessions={probes} probes={probes} plugin={plugin}");
    until("all are counted", || {
        wharf.signal(Signal::USR1);
        wharf.logs(&["counted sessions=", &format!(" plugin={plugin}")]).ends_with(&counted)
    });
}

#[track_caller]
fn nothing_is_said(wharf: &Wharf) {
    let log = wharf.log();
    let found = log.iter().find(|line| ["WARN", "ERROR", "session failed"].iter().any(|bad| line.contains(bad)));
    assert_eq!(found, None);
}

/// Each in its own way, they fail without a message; the last does not.
fn guests() -> [(&'static str, Guest); 4] {
    [
        ("handler", fixture("wants_a_message")),
        ("component", fixture_with_hooks("wants_a_message")),
        ("program", program("upper")),
        ("none", shipped("upper")),
    ]
}

in_every_mode! {
    streams:
        a_client_that_leaves_without_a_byte_is_no_failed_session,
        a_client_that_sent_a_byte_is_no_probe;
}

fn a_client_that_leaves_without_a_byte_is_no_failed_session(family: Family, concurrency: &str) {
    for first_byte in [false, true] {
        let folder = Folder::new();
        for (name, guest) in guests() {
            let listen = family.listen(&folder, name);
            let key = format!("concurrency = '{concurrency}'\ninstance-on-first-byte = {first_byte}\n");
            folder.manifest(name, &format!("{listen}{key}")).plugin(name, &guest);
        }
        let wharf = Wharf::serve(&folder);
        for (name, _) in guests() {
            let probes = probe(&wharf.url(name));
            are_counted(&wharf, name, probes);
        }
        nothing_is_said(&wharf);
        wharf.stop();
    }
}

fn a_client_that_sent_a_byte_is_no_probe(family: Family, concurrency: &str) {
    let folder = Folder::new();
    for name in ["tells_errors", "fails_alone"] {
        let listen = family.listen(&folder, name);
        folder.manifest(name, &format!("{listen}concurrency = '{concurrency}'\n")).plugin(name, &fixture(name));
    }
    let wharf = Wharf::serve(&folder);
    let mut client = Client::dial(&wharf.url("tells_errors"));
    client.hears("be").send("x");
    let name = client.name();
    client.resets();
    wharf.logs(&["INFO", "client left", "plugin=tells_errors", &name, "cause=\"error: connection-reset"]);
    // It is not told of its client's end before it fails.
    let mut client = Client::dial(&wharf.url("fails_alone"));
    client.ends();
    wharf.logs(&["WARN", "session failed", "plugin=fails_alone", &client.name()]);
    wharf.stop();
}

#[test]
fn no_language_makes_a_failed_session_of_a_probe() {
    let folder = Folder::new();
    for (language, guest) in examples() {
        folder.settings(language.name, "").plugin(language.name, guest);
    }
    let wharf = Wharf::serve(&folder);
    for (language, _) in examples() {
        let probes = probe(&wharf.url(language.name));
        are_counted(&wharf, language.name, probes);
    }
    nothing_is_said(&wharf);
    wharf.stop();
}
