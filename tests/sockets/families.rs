//! One scenario over the whole table: every family of sockets times every kind of concurrency, with
//! clients in Rust and with clients in Python, a hundred at once.

use std::process::Command;
use std::sync::Barrier;
use std::thread;

use crate::harness::guests::{root, rust, shipped};
use crate::harness::{Client, DatagramClient, Family, Folder, Scene, Wharf, ask_url, in_every_mode};

const CLIENTS: usize = 100;

/// The shipped plugin that answers in upper case.
fn upper(family: Family, concurrency: &str) -> Scene {
    let plugin = if family.is_stream() { "upper" } else { "upper-udp" };
    Scene::of(plugin, &shipped(plugin)).over(family).concurrency(concurrency).serve()
}

/// Nothing of it may have been anybody's fault, and nothing may be left of it.
#[track_caller]
fn stops_well(scene: Scene) {
    let log = scene.log();
    assert!(!log.iter().any(|line| line.contains("WARN") || line.contains("ERROR")), "{log:#?}");
    let events = scene.stop();
    assert_eq!(events.last().map(String::as_str), Some("stopped"));
}

in_every_mode! {
    all:
        a_hundred_clients_at_once_are_answered,
        a_hundred_python_clients_at_once_are_answered,
        a_handler_is_told_both_ends_of_its_socket;
}

fn a_hundred_clients_at_once_are_answered(family: Family, concurrency: &str) {
    let scene = upper(family, concurrency);
    let everybody_is_here = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (url, everybody_is_here) = (&scene.url, &everybody_is_here);
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
    stops_well(scene);
}

fn a_hundred_python_clients_at_once_are_answered(family: Family, concurrency: &str) {
    let scene = upper(family, concurrency);
    let script = root().join("tests/clients/at_once.py");
    let python = Command::new("python3").arg(script).args([&scene.url, &CLIENTS.to_string()]).output();
    let python = python.expect("python3 runs");
    let said = String::from_utf8_lossy(&python.stdout);
    let complained = String::from_utf8_lossy(&python.stderr);
    assert_eq!(said, format!("{CLIENTS} answered\n"), "{family:?} {concurrency}: {complained}");
    assert!(python.status.success(), "{family:?} {concurrency}: {complained}");
    stops_well(scene);
}

fn a_handler_is_told_both_ends_of_its_socket(family: Family, concurrency: &str) {
    let guest = rust(if family.is_stream() { "server-facts" } else { "misbehave-udp" });
    let scene = Scene::of("facts", &guest).over(family).concurrency(concurrency).serve();
    let (name, facts) = if family.is_stream() {
        let client = scene.client();
        (client.name(), client.rest())
    } else {
        let client = scene.datagram_client();
        (client.name(), String::from_utf8(client.send("ends").receive()).expect("UTF-8"))
    };
    let (_, server) = scene.url.split_once("://").expect("a URL");
    let (theirs, ours) = facts.trim().split_once(' ').expect("two ends");
    assert_eq!(ours, server, "{family:?} {concurrency}");
    assert_eq!(format!("client={}", theirs.trim_matches(['(', ')'])), name, "{family:?} {concurrency}");
    scene.stop();
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
