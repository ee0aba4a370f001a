//! Warm instances: `instance = "reused"`.

use std::time::{Duration, Instant};

use crate::harness::guests::Guest;
use crate::harness::{Client, Folder, Scene, Wharf, ask_url, fixture};

/// Asks one client after the other. Each begins when the one before it has seen its end, so that
/// one instance may do.
fn answers(url: &str, clients: usize) -> Vec<String> {
    (0..clients).map(|_| ask_url(url, "x").trim().to_owned()).collect()
}

fn serving(settings: &str) -> Scene {
    let scene = Scene::of("counts", &fixture("counts_requests")).with(settings).serve();
    scene.event("loaded", "counts");
    scene
}

#[test]
fn an_instance_is_fresh_unless_the_manifest_says_reused() {
    for (settings, expected) in [("", ["1", "1", "1"]), ("instance = 'reused'", ["1", "2", "3"])] {
        let scene = serving(settings);
        assert_eq!(answers(&scene.url, 3), expected, "{settings}");
        scene.stop();
    }
}

#[test]
fn an_instance_serves_no_more_requests_than_it_may() {
    let scene = serving("instance = 'reused'\nreuse.max-requests = 2");
    assert_eq!(answers(&scene.url, 5), ["1", "2", "1", "2", "1"]);
    scene.stop();
}

#[test]
fn an_instance_that_is_too_old_serves_nobody_anymore() {
    let scene = serving("instance = 'reused'\nreuse.max-age = '1ms'");
    for _ in 0..3 {
        let mut client = scene.client();
        client.send("x").hears("1 ");
        // It was made before that.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2) {
            client.send("x").hears("1 ");
        }
        client.ends();
        assert_eq!(client.rest(), "");
    }
    scene.stop();
}

#[test]
fn an_instance_serves_one_request_at_a_time_and_as_many_are_kept_as_may_be() {
    let scene = serving("instance = 'reused'\nreuse.max-instances = 1");
    assert_eq!(answers(&scene.url, 1), ["1"]);
    // Two at once: one has the warm instance, the other a new one.
    let mut clients = [scene.client(), scene.client()];
    let mut heard = clients.each_mut().map(|client| client.send("x").heard(2));
    heard.sort_unstable();
    assert_eq!(heard, [b"1 ", b"2 "]);
    for mut client in clients {
        client.ends();
        assert_eq!(client.rest(), "");
    }
    // One of the two was kept. Two at once again: the one that is not warm is new.
    let mut clients = [scene.client(), scene.client()];
    let mut heard = clients.each_mut().map(|client| client.send("x").heard(2));
    heard.sort_unstable();
    assert!(heard[0] == b"1 " && heard[1] != b"1 ", "{heard:?}");
    drop(clients);
    scene.stop();
}

#[test]
fn an_instance_that_trapped_is_never_used_again() {
    let scene = serving("instance = 'reused'");
    assert_eq!(answers(&scene.url, 2), ["1", "2"]);
    assert_eq!(scene.ask("!"), "");
    scene.logs(&["session failed", "plugin=counts", "phase=handle", "trap: "]);
    assert_eq!(answers(&scene.url, 2), ["1", "2"]);
    scene.stop();
}

#[test]
fn a_new_generation_begins_with_new_instances() {
    let scene = serving("instance = 'reused'");
    assert_eq!(answers(&scene.url, 2), ["1", "2"]);
    let Guest { bytes, .. } = fixture("counts_requests");
    scene
        .folder
        .plugin("counts", &Guest::wat(format!("{}\n;; another", String::from_utf8(bytes).expect("WAT is text"))));
    scene.event("loaded", "counts");
    assert_eq!(answers(&scene.url, 2), ["1", "2"]);
    scene.stop();
}

#[test]
fn what_a_reused_instance_prints_is_logged_with_the_client_it_serves() {
    let folder = Folder::new();
    folder.shipped("lifecycle");
    let toml = std::fs::read_to_string(folder.path().join("lifecycle.toml")).expect("a manifest");
    folder.manifest("lifecycle", &format!("instance = 'reused'\n{toml}"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("lifecycle");
    for _ in 0..3 {
        let mut client = Client::connect(address);
        let name = client.name();
        client.send("x").hears("x");
        client.sees_the_end();
        wharf.logs(&["is connect!", &name, "stream=stdout"]);
        wharf.logs(&["client is disconnect!", &name, "stream=stdout"]);
    }
    wharf.stop();
}

#[test]
fn a_command_can_not_be_reused() {
    let folder = Folder::new();
    folder.plugin("command", &Guest::wat("(module (memory (export \"memory\") 1) (func (export \"_start\")))"));
    folder.settings("command", "instance = 'reused'");
    let wharf = Wharf::serve(&folder);
    wharf.event("refused", "command");
    wharf.stop();
}

#[test]
fn no_instance_goes_on_into_another_generation_or_under_other_settings() {
    let settings = |round: usize| format!("instance = 'reused'\nreuse.max-instances = 32\nargs = ['{round}']");
    let folder = Folder::new();
    let guest = fixture("counts_requests").assembled();
    folder.plugin("counts", &guest).settings("counts", &settings(0));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("counts");
    wharf.event("loaded", "counts");
    for round in 1..=20 {
        // Some are warm, and some at work, while what they were made for is replaced: they end
        // afterwards.
        ask_url(&url, "x");
        let mut working: Vec<Client> = (0..8).map(|_| Client::dial(&url)).collect();
        for client in &mut working {
            client.send("x");
            client.heard(2);
        }
        ask_url(&url, "x");
        if round % 2 == 0 {
            folder.plugin("counts", &guest.with_manifest(&format!("# {round}")));
        } else {
            folder.settings("counts", &settings(round));
        }
        wharf.event("loaded", "counts");
        for mut client in working {
            client.ends();
            assert_eq!(client.rest(), "", "round {round}");
        }
        assert_eq!(answers(&url, 3), ["1", "2", "3"], "round {round}");
    }
    wharf.stop();
}
