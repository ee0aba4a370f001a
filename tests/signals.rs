//! Stopping and rescanning by signal.

use rustix::process::Signal;

use crate::harness::{Client, Folder, Launch, Wharf, answers, ask, fixture};

#[test]
fn a_stop_lets_open_sessions_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A"));
        let mut wharf = Wharf::serve(&folder);
        let address = wharf.address("answers");
        let mut sessions: Vec<Client> = (0..3).map(|_| Client::connect(address)).collect();
        for session in &mut sessions {
            session.hears("A ");
        }
        wharf.signal(signal);
        wharf.says("draining 3");
        wharf.event("closed", "answers");
        assert!(Client::try_connect(address).is_err(), "nobody is let in any more");
        for mut session in sessions {
            assert!(!wharf.events().contains(&"stopped".to_owned()), "a session is still open");
            session.send("go on");
            assert_eq!(session.rest(), "A A ");
        }
        wharf.says("stopped");
        assert_eq!(wharf.ended(), 0);
    }
}

#[test]
fn a_stop_without_sessions_is_immediate() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    // A drain that would outlast this test's patience.
    folder.settings("answers", "[timeouts]\ndrain = '1h'");
    let wharf = Wharf::serve(&folder);
    assert_eq!(ask(wharf.address("answers"), "x"), "A A A ");
    let events = wharf.stop();
    let tail: Vec<&str> = events.iter().rev().take(3).rev().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(tail, ["draining", "closed", "stopped"]);
}

#[test]
fn a_second_signal_stops_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A")).settings("answers", "[timeouts]\ndrain = '1h'");
        let mut wharf = Wharf::serve(&folder);
        let mut session = Client::connect(wharf.address("answers"));
        session.hears("A ");
        wharf.signal(first);
        wharf.says("draining 1");
        wharf.signal(second);
        assert_eq!(wharf.ended(), 1);
        session.sees_the_end();
    }
}

#[test]
fn the_drain_deadline_ends_the_sessions_that_are_left() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", "[timeouts]\ndrain = '200ms'");
    // A guest that only looks busy has to be stopped as well as one that waits.
    folder.plugin("spins", &fixture("spins_in_handle"));
    folder.settings("spins", "[timeouts]\ndrain = '200ms'\n[limits]\ncpu = '1h'");
    let mut wharf = Wharf::serve(&folder);
    let mut waiting = Client::connect(wharf.address("answers"));
    waiting.hears("A ");
    let mut spinning = Client::connect(wharf.address("spins"));
    spinning.send("x").hears("ok\n").send("!");
    let (name, spinner) = (waiting.name(), spinning.name());
    wharf.signal(Signal::TERM);
    wharf.says("draining 2");
    for (plugin, client) in [("plugin=answers", &name), ("plugin=spins", &spinner)] {
        wharf.logs(&["session failed", plugin, client, "phase=handle", "cause=\"drain: "]);
    }
    waiting.sees_the_end();
    spinning.sees_the_end();
    wharf.says("stopped");
    assert_eq!(wharf.ended(), 0);
}

#[test]
fn a_hangup_rescans_the_folder() {
    let folder = Folder::new();
    let (a, b) = (answers("A"), answers("B"));
    let change = folder.plugin_behind_links("answers", &a);
    folder.settings("answers", "").file("wharf.toml", "rescan = '1h'");
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).start();
    let address = wharf.address("answers");
    assert_eq!(wharf.event("loaded", "answers").generation, a.generation());
    change(&b);
    wharf.signal(Signal::HUP);
    assert_eq!(wharf.event("loaded", "answers").generation, b.generation());
    assert_eq!(ask(address, "x"), "B B B ");
    wharf.stop();
}
