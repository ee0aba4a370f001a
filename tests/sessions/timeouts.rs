//! Waits that end: the operator's timeouts and the guest's own.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::harness::observe::until;
use crate::harness::{Client, Folder, Scene, Wharf, answer, answers, ask, fixture};

#[test]
fn a_step_that_lasts_too_long_is_stopped() {
    for step in ["setup", "handle", "finish"] {
        let plugin = format!("waits_in_{step}");
        let folder = Folder::new();
        folder.plugin(&plugin, &fixture(&plugin)).settings(&plugin, &format!("[timeouts]\n{step} = '200ms'"));
        let wharf = Wharf::serve(&folder);
        let mut client = Client::connect(wharf.address(&plugin));
        let name = client.name();
        client.hears(step);
        wharf.logs(&[
            "session failed",
            &format!("plugin={plugin}"),
            &name,
            &format!("phase={step}"),
            "cause=\"timeout: ",
        ]);
        assert_eq!(client.rest(), "", "the connection ends, and not by a reset");
        wharf.stop();
    }
}

#[test]
fn a_step_timeout_ends_a_guest_that_does_not_wait_too() {
    for step in ["setup", "handle", "finish"] {
        let plugin = format!("spins_in_{step}");
        let folder = Folder::new();
        folder.plugin(&plugin, &fixture(&plugin));
        folder.settings(&plugin, &format!("[limits]\ncpu = '1h'\n[timeouts]\n{step} = '300ms'"));
        let wharf = Wharf::serve(&folder);
        let mut client = Client::connect(wharf.address(&plugin));
        client.send("!");
        wharf.logs(&["session failed", &client.name(), &format!("phase={step}"), "cause=\"timeout: "]);
        assert_eq!(client.rest(), "");
        wharf.stop();
    }
}

#[test]
fn a_client_that_says_nothing_times_out_in_the_guest() {
    let folder = Folder::new();
    folder.plugin("tells", &fixture("tells_errors")).settings("tells", "[timeouts]\nidle = '200ms'");
    let wharf = Wharf::serve(&folder);
    let mut client = Client::connect(wharf.address("tells"));
    client.hears("begin");
    wharf.logs(&["session failed", "plugin=tells", &client.name(), "phase=handle", "cause=\"error: timed-out"]);
    assert_eq!(client.rest(), "");
    wharf.stop();
}

#[test]
fn a_client_that_reads_nothing_times_out_in_the_guest() {
    let scene = Scene::of("never_reads", &fixture("never_reads"))
        .with("max-connections = 1\n[timeouts]\nidle = '200ms'")
        .serve();
    let mut deaf = scene.client();
    deaf.send("!").ends();
    // Its place is free again for the next one, though it has read nothing and is still there.
    let mut next = scene.client();
    next.send("x").hears("ok\n");
    drop(deaf);
    scene.stop();
}

#[test]
fn an_idle_timeout_counts_from_each_message_anew() {
    let folder = Folder::new();
    // Shorter than the session as a whole, longer than each wait in it.
    const IDLE: Duration = Duration::from_secs(1);
    folder.plugin("traps", &fixture("traps_in_handle")).settings("traps", "[timeouts]\nidle = '1s'");
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (address, other) = (wharf.address("traps"), wharf.address("answers"));
    until("a client that was never quiet for so long has been served throughout", || {
        let mut client = Client::connect(address);
        let begin = Instant::now();
        let (mut last, mut longest) = (begin, Duration::ZERO);
        while begin.elapsed() < 3 * IDLE / 2 {
            let is_answered = client.stream.write_all(b"x").is_ok() && client.stream.read_exact(&mut [0; 3]).is_ok();
            longest = longest.max(last.elapsed());
            if !is_answered {
                // On a machine that let this test stand still, it was quiet for too long.
                assert!(longest >= IDLE, "ended after {:?}, the longest wait was {longest:?}", begin.elapsed());
                return false;
            }
            last = Instant::now();
            assert_eq!(ask(other, "x"), answer("A"));
        }
        true
    });
    wharf.stop();
}

#[test]
fn a_guest_bounds_its_own_waits() {
    let scene = Scene::of("sets", &fixture("sets_timeout")).serve();
    assert_eq!(scene.client().rest(), "timed-out");
    scene.stop();
}

#[test]
fn an_idle_timeout_runs_over_all_waits_since_the_last_byte() {
    let folder = Folder::new();
    // Its own waits would take longer than this test does, and none of them is as long as that.
    folder.plugin("waits", &fixture("waits_again")).settings("waits", "[timeouts]\nidle = '500ms'");
    let wharf = Wharf::serve(&folder);
    let mut client = Client::connect(wharf.address("waits"));
    client.send("x");
    assert_eq!(client.rest(), "");
    assert!(!wharf.log().iter().any(|line| line.contains("session failed")));
    wharf.stop();
}
