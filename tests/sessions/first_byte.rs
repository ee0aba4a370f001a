//! `instance-on-first-byte`: who says nothing has no sandbox.

use rustix::net::{RecvFlags, recv};

use crate::harness::client::raise_descriptor_limit;
use crate::harness::guests::{Guest, shipped};
use crate::harness::observe::until;
use crate::harness::{
    Client, DatagramClient, Family, Folder, Scene, Wharf, answer, answers, ask_url, fixture, in_every_mode,
};

const KEY: &str = "instance-on-first-byte = true\n";

/// Serves `guest`. What a scenario returns is dropped when the host has stopped.
fn in_this_mode<T>(family: Family, concurrency: &str, guest: &Guest, settings: &str, scenario: impl Fn(&Scene) -> T) {
    let scene = Scene::of("waits", guest).over(family).concurrency(concurrency).with(KEY).with(settings).serve();
    let kept = scenario(&scene);
    scene.stop();
    drop(kept);
}

/// Whether something has come that was not read yet.
fn has_heard(client: &Client) -> bool {
    recv(&client.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok()
}

in_every_mode! {
    streams:
        setup_runs_when_the_first_byte_has_come_which_is_not_lost,
        the_end_starts_a_session_as_a_byte_does,
        a_silent_client_is_closed_after_the_idle_timeout,
        a_silent_client_delays_a_stop_or_reload_by_the_drain_time_at_most,
        clients_that_reset_before_they_send_disturb_nobody;
}

fn setup_runs_when_the_first_byte_has_come_which_is_not_lost(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &answers("A"), "", |scene| {
        let mut silent = scene.client();
        if concurrency != "serial" {
            // Behind it, and served.
            assert_eq!(scene.ask("x"), answer("A"));
        }
        until("nobody is served", || scene.children().is_empty() && scene.threads_named("waits") == 0);
        assert!(!has_heard(&silent));
        silent.send("x");
        assert_eq!(silent.rest(), answer("A"));
    });
    in_this_mode(family, concurrency, &shipped("echo"), "", |scene| {
        assert_eq!(scene.ask("every byte"), "every byte");
        let mut client = scene.client();
        client.send("o").hears("o").send("thers").hears("thers").ends();
        assert_eq!(client.rest(), "");
    });
}

fn the_end_starts_a_session_as_a_byte_does(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &answers("A"), "", |scene| {
        assert_eq!(scene.ask(""), answer("A"));
    });
}

fn a_silent_client_is_closed_after_the_idle_timeout(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &answers("A"), "timeouts.idle = '50ms'", |scene| {
        let silent: Vec<Client> = (0..5).map(|_| scene.client()).collect();
        for client in silent {
            let name = client.name();
            assert_eq!(client.rest(), "");
            scene.logs(&["session failed", "plugin=waits", &name, "phase=first-byte", "cause=\"timeout: "]);
        }
    });
}

fn a_silent_client_delays_a_stop_or_reload_by_the_drain_time_at_most(family: Family, concurrency: &str) {
    let settings = "timeouts.drain = '50ms'\ntimeouts.replaced = '50ms'";
    in_this_mode(family, concurrency, &answers("A"), settings, |scene| {
        scene.event("loaded", "waits");
        let before = scene.descriptors();
        let silent = scene.client();
        until("it is accepted", || scene.descriptors() > before);
        let name = silent.name();
        scene.folder.plugin("waits", &answers("B"));
        scene.event("loaded", "waits");
        scene.logs(&["session failed", "plugin=waits", &name, "phase=first-byte", "cause=\"drain"]);
        assert_eq!(silent.rest(), "");
        assert_eq!(scene.ask("x"), answer("B"));
        // For the stop.
        scene.client()
    });
}

fn clients_that_reset_before_they_send_disturb_nobody(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &shipped("upper"), "", |scene| {
        for _ in 0..30 {
            scene.client().resets();
        }
        assert_eq!(scene.ask("hello"), "HELLO");
        let log = scene.log();
        assert!(!log.iter().any(|line| line.contains("ERROR")), "{log:#?}");
    });
}

#[test]
fn a_silent_client_counts_for_its_source() {
    let scene = Scene::of("answers", &answers("A")).with(&format!("{KEY}max-connections-per-source = 1")).serve();
    let mut silent = scene.client();
    scene.client().sees_the_end();
    scene.logs(&["client refused", "by=max-connections-per-source"]);
    silent.send("x");
    assert_eq!(silent.rest(), answer("A"));
    until("its place is free", || scene.client().served("x", &answer("A")));
    scene.stop();
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
