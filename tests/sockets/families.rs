//! One scenario over the whole table: every family of sockets times every kind of concurrency, with clients in Rust
//! and with clients in Python, a hundred at once.

use std::process::Command;
use std::sync::Barrier;
use std::thread;

use crate::harness::guests::{root, rust, shipped};
use crate::harness::{CONCURRENCIES, Client, DatagramClient, Family, Folder, Wharf, ask_url};

const CLIENTS: usize = 100;

/// One cell of the table: the shipped plugin that answers in upper case, and where it listens.
struct Cell {
    _folder: Folder,
    wharf: Wharf,
    url: String,
}

impl Cell {
    fn serve(family: Family, concurrency: &str) -> Self {
        let folder = Folder::new();
        let plugin = if family.is_stream() { "upper" } else { "upper-udp" };
        let manifest = format!("{}concurrency = '{concurrency}'", family.listen(&folder, plugin));
        folder.manifest(plugin, &manifest).plugin(plugin, &shipped(plugin));
        let wharf = Wharf::serve(&folder);
        let url = wharf.url(plugin);
        Self { _folder: folder, wharf, url }
    }

    /// Nothing of it may have been anybody's fault, and nothing may be left of it.
    fn stop(self) {
        let Self { _folder, wharf, url } = self;
        let log = wharf.log();
        assert!(!log.iter().any(|line| line.contains("WARN") || line.contains("ERROR")), "{url}: {log:#?}");
        let events = wharf.stop();
        assert_eq!(events.last().map(String::as_str), Some("stopped"), "{url}");
    }
}

/// Every cell, by itself.
fn every_cell(scenario: impl Fn(Family, &str)) {
    for family in Family::ALL {
        for concurrency in CONCURRENCIES {
            scenario(family, concurrency);
        }
    }
}

#[test]
fn a_hundred_clients_at_once_are_answered() {
    every_cell(|family, concurrency| {
        let cell = Cell::serve(family, concurrency);
        let everybody_is_here = Barrier::new(CLIENTS);
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (url, everybody_is_here) = (&cell.url, &everybody_is_here);
                scope.spawn(move || {
                    let (question, answer) = (format!("  hello from {number}\n"), format!("HELLO FROM {number}"));
                    if family.is_stream() {
                        let mut client = Client::dial(url);
                        everybody_is_here.wait();
                        client.send(question).ends();
                        assert_eq!(client.rest(), answer, "{family:?} {concurrency}");
                    } else {
                        let client = DatagramClient::to(url);
                        everybody_is_here.wait();
                        client.send(question).hears(answer);
                    }
                });
            }
        });
        cell.stop();
    });
}

#[test]
fn a_hundred_python_clients_at_once_are_answered_by_every_family_with_every_concurrency() {
    every_cell(|family, concurrency| {
        let cell = Cell::serve(family, concurrency);
        let script = root().join("tests/clients/at_once.py");
        let python = Command::new("python3").arg(script).args([&cell.url, &CLIENTS.to_string()]).output();
        let python = python.expect("python3 runs");
        let said = String::from_utf8_lossy(&python.stdout);
        let complained = String::from_utf8_lossy(&python.stderr);
        assert_eq!(said, format!("{CLIENTS} answered\n"), "{family:?} {concurrency}: {complained}");
        assert!(python.status.success(), "{family:?} {concurrency}: {complained}");
        cell.stop();
    });
}

#[test]
fn every_family_tells_its_handlers_both_ends_of_the_socket() {
    every_cell(|family, concurrency| {
        let folder = Folder::new();
        let guest = rust(if family.is_stream() { "server-facts" } else { "misbehave-udp" });
        let manifest = format!("{}concurrency = '{concurrency}'", family.listen(&folder, "facts"));
        folder.manifest("facts", &manifest).plugin("facts", &guest);
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("facts");
        let (name, facts) = if family.is_stream() {
            let client = Client::dial(&url);
            (client.name(), client.rest())
        } else {
            let client = DatagramClient::to(&url);
            (client.name(), String::from_utf8(client.send("ends").receive()).expect("UTF-8"))
        };
        let (_, server) = url.split_once("://").expect("a URL");
        let (theirs, ours) = facts.trim().split_once(' ').expect("two ends");
        assert_eq!(ours, server, "{family:?} {concurrency}");
        assert_eq!(format!("client={}", theirs.trim_matches(['(', ')'])), name, "{family:?} {concurrency}");
        wharf.stop();
    });
}

#[test]
fn one_plugin_serves_several_families_at_once() {
    let folder = Folder::new();
    let name = format!("unix://@{}", folder.parent().display());
    let listen = [&Family::Tcp.address(&folder, "upper"), &Family::Unix.address(&folder, "upper"), &name];
    folder.manifest("upper", &format!("listen = {listen:?}")).plugin("upper", &shipped("upper"));
    let wharf = Wharf::serve(&folder);
    for family in ["tcp:", "unix:///", "unix://@"] {
        let url = wharf.url("upper");
        assert!(url.starts_with(family), "{url}");
        assert_eq!(ask_url(&url, "hello"), "HELLO", "{url}");
    }
    wharf.stop();
}
