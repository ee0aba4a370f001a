//! `instance-on-first-byte`: who says nothing has no sandbox.

use rustix::net::{RecvFlags, recv};

use crate::harness::client::raise_descriptor_limit;
use crate::harness::guests::{Guest, shipped};
use crate::harness::observe::until;
use crate::harness::{CONCURRENCIES, Client, DatagramClient, Family, Folder, Wharf, answer, answers, ask_url, fixture};

const KEY: &str = "instance-on-first-byte = true\n";

/// Serves `guest` in every way there is, each by itself. What a scenario returns is dropped when the host has stopped.
fn every_way<T>(guest: &Guest, settings: &str, scenario: impl Fn(&str, &str, &Wharf, &Folder) -> T) {
    for family in Family::STREAMS {
        for concurrency in CONCURRENCIES {
            let folder = Folder::new();
            let listen = family.listen(&folder, "waits");
            let manifest = format!("{listen}concurrency = '{concurrency}'\n{KEY}{settings}");
            folder.manifest("waits", &manifest).plugin("waits", guest);
            let wharf = Wharf::serve(&folder);
            let kept = scenario(&wharf.url("waits"), concurrency, &wharf, &folder);
            wharf.stop();
            drop(kept);
        }
    }
}

/// Whether something has come that was not read yet.
fn has_heard(client: &Client) -> bool {
    recv(&client.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok()
}

#[test]
fn setup_runs_when_the_first_byte_has_come_which_is_not_lost() {
    every_way(&answers("A"), "", |url, concurrency, wharf, _| {
        let mut silent = Client::dial(url);
        if concurrency != "serial" {
            // Behind it, and served.
            assert_eq!(ask_url(url, "x"), answer("A"), "{url} {concurrency}");
        }
        until("nobody is served", || wharf.children().is_empty() && wharf.threads_named("waits") == 0);
        assert!(!has_heard(&silent), "{url} {concurrency}");
        silent.send("x");
        assert_eq!(silent.rest(), answer("A"), "{url} {concurrency}");
    });
    every_way(&shipped("echo"), "", |url, concurrency, _, _| {
        assert_eq!(ask_url(url, "every byte"), "every byte", "{url} {concurrency}");
        let mut client = Client::dial(url);
        client.send("o").hears("o").send("thers").hears("thers").ends();
        assert_eq!(client.rest(), "", "{url} {concurrency}");
    });
}

#[test]
fn the_end_is_as_good_as_a_byte() {
    every_way(&answers("A"), "", |url, concurrency, _, _| {
        assert_eq!(ask_url(url, ""), answer("A"), "{url} {concurrency}");
    });
}

#[test]
fn who_says_nothing_is_closed_when_the_idle_time_is_over() {
    every_way(&answers("A"), "timeouts.idle = '50ms'", |url, concurrency, wharf, _| {
        let silent: Vec<Client> = (0..5).map(|_| Client::dial(url)).collect();
        for client in silent {
            let name = client.name();
            assert_eq!(client.rest(), "", "{url} {concurrency}");
            wharf.logs(&["session failed", "plugin=waits", &name, "phase=first-byte", "cause=\"timeout: "]);
        }
    });
}

#[test]
fn who_says_nothing_holds_up_no_stop_and_no_reload_beyond_the_drain_time() {
    let settings = "timeouts.drain = '50ms'\ntimeouts.replaced = '50ms'";
    every_way(&answers("A"), settings, |url, concurrency, wharf, folder| {
        wharf.event("loaded", "waits");
        let before = wharf.descriptors();
        let silent = Client::dial(url);
        until("it is accepted", || wharf.descriptors() > before);
        let name = silent.name();
        folder.plugin("waits", &answers("B"));
        wharf.event("loaded", "waits");
        wharf.logs(&["session failed", "plugin=waits", &name, "phase=first-byte", "cause=\"drain"]);
        assert_eq!(silent.rest(), "", "{url} {concurrency}");
        assert_eq!(ask_url(url, "x"), answer("B"), "{url} {concurrency}");
        // For the stop.
        Client::dial(url)
    });
}

#[test]
fn clients_that_reset_before_they_speak_are_nobodys_trouble() {
    every_way(&shipped("upper"), "", |url, concurrency, wharf, _| {
        for _ in 0..30 {
            Client::dial(url).resets();
        }
        assert_eq!(ask_url(url, "hello"), "HELLO", "{url} {concurrency}");
        let log = wharf.log();
        assert!(!log.iter().any(|line| line.contains("ERROR")), "{log:#?}");
    });
}

#[test]
fn who_says_nothing_is_one_of_its_sources_sessions() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", &format!("{KEY}max-connections-per-source = 1"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("answers");
    let mut silent = Client::dial(&url);
    Client::dial(&url).sees_the_end();
    wharf.logs(&["client refused", "by=max-connections-per-source"]);
    silent.send("x");
    assert_eq!(silent.rest(), answer("A"));
    until("its place is free", || Client::dial(&url).served("x", &answer("A")));
    wharf.stop();
}

#[test]
fn programs_wait_for_it_and_datagrams_do_not() {
    let folder = Folder::new();
    let path = crate::harness::guests::root().join("tests/guests/programs/upper.wat");
    let program = Guest::wat(std::fs::read_to_string(path).expect("a program of that name"));
    folder.plugin("program", &program).plugin("packets", &shipped("upper-udp"));
    folder.manifest("packets", &Family::Udp.listen(&folder, "packets")).settings("program", "");
    folder.file("wharf.toml", format!("[defaults]\n{KEY}"));
    let wharf = Wharf::serve(&folder);
    let mut client = Client::dial(&wharf.url("program"));
    client.send("first").hears("FIRST").send("second").hears("SECOND").ends();
    assert_eq!(client.rest(), "");
    DatagramClient::to(&wharf.url("packets")).send("hello").hears("HELLO");
    wharf.stop();
}

#[test]
fn two_thousand_idle_connections_hold_no_sandbox() {
    const CLIENTS: usize = 2000;
    raise_descriptor_limit();
    let grown = [KEY, ""].map(|key| {
        let folder = Folder::new();
        // It says nothing before it has heard something.
        folder.plugin("polite", &fixture("traps_in_handle"));
        folder.settings("polite", &format!("{key}max-connections = 3000\nbacklog = 3000"));
        folder.plugin("calm", &answers("A"));
        let wharf = Wharf::serve(&folder);
        let (url, calm) = (wharf.url("polite"), wharf.url("calm"));
        let descriptors = wharf.descriptors();
        // What is made once is made.
        assert_eq!(ask_url(&url, "x"), "ok\n");
        let memory = || wharf.status("VmRSS") + wharf.status("VmPTE");
        let before = memory();
        let mut idle: Vec<Client> = (0..CLIENTS).map(|_| Client::dial(&url)).collect();
        until("all are accepted", || wharf.descriptors() >= descriptors + CLIENTS);
        // As many sessions as could be begun have been: whoever comes now is behind them.
        assert_eq!(ask_url(&url, "x"), "ok\n");
        assert_eq!(ask_url(&calm, "x"), answer("A"));
        let grown = memory().saturating_sub(before);
        // None of them was lost, and each has its sandbox once it speaks.
        for client in &mut idle {
            client.send("x");
        }
        for client in &mut idle {
            client.hears("ok\n");
        }
        let awake = memory().saturating_sub(before);
        assert!(awake > 10 * CLIENTS as u64, "{awake} KiB for {CLIENTS} sandboxes");
        drop(idle);
        wharf.stop();
        grown
    });
    let [without_a_sandbox, with_one] = grown;
    assert!(without_a_sandbox * 4 < with_one, "{without_a_sandbox} KiB without sandboxes, {with_one} KiB with them");
}
