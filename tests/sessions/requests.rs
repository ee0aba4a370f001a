//! `wharf run --requests N`: socketserver's `handle_request`, as often as asked for.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::harness::guests::{Guest, rust, shipped};
use crate::harness::{Client, DatagramClient, Family, Folder, Launch, Wharf, answer, answers, ask_url, in_every_mode};

/// A plugin's file, with settings beside it.
fn file(folder: &Folder, guest: &Guest, settings: &str) -> PathBuf {
    let name = format!("plugin.{}", guest.extension);
    folder.manifest("plugin", settings).file(&name, &guest.bytes);
    folder.path().join(name)
}

/// `wharf run` with these options, and where it listens.
fn run(folder: &Folder, guest: &Guest, settings: &str, options: &[&str]) -> (Wharf, String) {
    let wharf = Launch::new(["run".as_ref(), file(folder, guest, settings).as_os_str()]).args(options).start();
    let url = wharf.url("plugin");
    (wharf, url)
}

/// Waits for a clean end, as after a SIGTERM.
#[track_caller]
fn ends_well(mut wharf: Wharf) -> Vec<String> {
    assert_eq!(wharf.ended(), 0, "exit status");
    let events = wharf.events();
    let tail: Vec<&str> = events.iter().rev().take(3).rev().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(tail, ["draining", "closed", "stopped"], "{events:#?}");
    events
}

in_every_mode! {
    all:
        the_given_number_of_requests_is_served;
    streams:
        clients_beyond_the_number_are_not_served;
}

fn the_given_number_of_requests_is_served(family: Family, concurrency: &str) {
    let folder = Folder::new();
    let settings = format!("{}concurrency = '{concurrency}'", family.listen(&folder, "plugin"));
    let guest = shipped(if family.is_stream() { "upper" } else { "upper-udp" });
    let (wharf, url) = run(&folder, &guest, &settings, &["--requests", "3"]);
    for _ in 0..3 {
        assert!(!wharf.events().iter().any(|line| line.starts_with("draining")), "not yet");
        if family.is_stream() {
            assert_eq!(ask_url(&url, "hello"), "HELLO", "{family:?} {concurrency}");
        } else {
            DatagramClient::to(&url).send("hello").hears("HELLO");
        }
    }
    ends_well(wharf);
    if family.is_stream() {
        assert!(Client::try_dial(&url).is_err(), "nobody listens any more");
    }
}

fn clients_beyond_the_number_are_not_served(family: Family, concurrency: &str) {
    const SERVED: usize = 5;
    let folder = Folder::new();
    let settings = format!("{}concurrency = '{concurrency}'", family.listen(&folder, "plugin"));
    let (wharf, url) = run(&folder, &answers("A"), &settings, &["--requests", &SERVED.to_string()]);
    // Some may come too late to be connected at all.
    let clients: Vec<Client> = (0..SERVED * 4).filter_map(|_| Client::try_dial(&url).ok()).collect();
    assert!(clients.len() >= SERVED);
    let served = clients.into_iter().filter_map(|client| client.served("x", &answer("A")).then_some(())).count();
    assert_eq!(served, SERVED, "{family:?} {concurrency}");
    ends_well(wharf);
}

#[test]
fn requests_on_all_addresses_count() {
    let folder = Folder::new();
    let file = file(&folder, &answers("A"), "");
    let unix = Family::Unix.address(&folder, "plugin");
    let listen =
        ["--requests", "4", "--listen", "tcp://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0", "--listen", &unix];
    let mut wharf = Launch::new(["run".as_ref(), file.as_os_str()]).args(listen).start();
    let urls = [wharf.url("plugin"), wharf.url("plugin"), wharf.url("plugin")];
    for url in urls.iter().chain(&urls[..1]) {
        assert_eq!(ask_url(url, "x"), answer("A"));
    }
    assert_eq!(wharf.ended(), 0);
}

#[test]
fn the_last_requests_are_served_to_their_end() {
    for concurrency in ["task", "thread", "process"] {
        let folder = Folder::new();
        let settings = format!("{}concurrency = '{concurrency}'", Family::Tcp.listen(&folder, "plugin"));
        let (wharf, url) = run(&folder, &answers("A"), &settings, &["--requests", "2"]);
        let mut clients = [Client::dial(&url), Client::dial(&url)];
        for client in &mut clients {
            client.hears("A ");
        }
        wharf.says("draining 2");
        wharf.event("closed", "plugin");
        for mut client in clients {
            client.send("x");
            assert_eq!(client.rest(), "A A ", "{concurrency}");
        }
        ends_well(wharf);
    }
}

#[test]
fn requests_that_fail_and_requests_that_are_refused_count() {
    let folder = Folder::new();
    let settings = "listen = 'tcp://127.0.0.1:0'\ndeny = '127.0.0.3'";
    let (wharf, url) = run(&folder, &rust("hooks"), settings, &["--requests", "3"]);
    let address = url.trim_start_matches("tcp://").parse().expect("an address");
    // By the host's rules, by verify-request, by its handler.
    for source in [[127, 0, 0, 3], [127, 0, 0, 2], [127, 0, 0, 1]] {
        let mut client = Client::connect_from(source.into(), address);
        if source == [127, 0, 0, 1] {
            client.send("no luck\n");
        }
        assert_eq!(client.rest(), "");
    }
    ends_well(wharf);
}

#[test]
fn a_timeout_ends_the_wait_for_the_next_request() {
    for family in Family::ALL {
        let folder = Folder::new();
        let guest = shipped(if family.is_stream() { "upper" } else { "upper-udp" });
        let settings = family.listen(&folder, "plugin");
        for requests in [0, 2] {
            let (wharf, url) = run(&folder, &guest, &settings, &["--requests", "100", "--timeout", "700ms"]);
            for _ in 0..requests {
                if family.is_stream() {
                    assert_eq!(ask_url(&url, "hello"), "HELLO");
                } else {
                    DatagramClient::to(&url).send("hello").hears("HELLO");
                }
            }
            wharf.logs(&["INFO", "no request for 700ms"]);
            ends_well(wharf);
        }
    }
}

#[test]
fn a_timeout_lets_the_sessions_that_are_open_finish() {
    let folder = Folder::new();
    let options = ["--requests", "100", "--timeout", "300ms"];
    let (wharf, url) = run(&folder, &answers("A"), "listen = 'tcp://127.0.0.1:0'", &options);
    let mut client = Client::dial(&url);
    client.hears("A ");
    wharf.logs(&["no request for 300ms"]);
    wharf.says("draining 1");
    client.send("x");
    assert_eq!(client.rest(), "A A ");
    ends_well(wharf);
}

#[test]
fn a_stop_does_not_wait_for_the_requests_that_are_missing() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let options = ["--requests", "100", "--timeout", "1h"];
        let (wharf, url) = run(&folder, &answers("A"), "listen = 'tcp://127.0.0.1:0'", &options);
        assert_eq!(ask_url(&url, "x"), answer("A"));
        wharf.signal(signal);
        ends_well(wharf);
    }
}

#[test]
fn wrong_numbers_are_told_what_would_be_right() {
    let folder = Folder::new();
    let file = file(&folder, &answers("A"), "listen = 'tcp://127.0.0.1:0'");
    for (options, part) in [
        (vec!["--requests", "0"], "1.."),
        (vec!["--requests", "many"], "many"),
        (vec!["--requests", "-1"], "-1"),
        (vec!["--requests", "1", "--timeout", "5 parsecs"], "10s"),
        (vec!["--timeout", "5s"], "--requests"),
    ] {
        let mut wharf = Launch::new(["run".as_ref(), file.as_os_str()]).args(&options).start();
        assert_eq!(wharf.ended(), 2, "{options:?}");
        let log = wharf.log();
        assert!(log.len() == 1 && log[0].starts_with("wharf: ") && log[0].contains(part), "{options:?}: {log:#?}");
        assert!(wharf.events().is_empty());
    }
}
