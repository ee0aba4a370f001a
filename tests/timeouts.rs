//! Waits that end: the operator's timeouts and the guest's own.

use crate::harness::{Client, Folder, Wharf, answer, answers, ask, fixture};

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
    let folder = Folder::new();
    folder.plugin("never_reads", &fixture("never_reads")).settings("never_reads", "[timeouts]\nidle = '200ms'");
    folder.settings("never_reads", "max-connections = 1\n[timeouts]\nidle = '200ms'");
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("never_reads");
    let mut deaf = Client::connect(address);
    deaf.send("!").ends();
    // Its place is free again for the next one, though it has read nothing and is still there.
    let mut next = Client::connect(address);
    next.send("x").hears("ok\n");
    drop(deaf);
    wharf.stop();
}

#[test]
fn an_idle_timeout_counts_from_each_message_anew() {
    let folder = Folder::new();
    // Shorter than the session as a whole, longer than each wait in it.
    folder.plugin("traps", &fixture("traps_in_handle")).settings("traps", "[timeouts]\nidle = '1s'");
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (address, other) = (wharf.address("traps"), wharf.address("answers"));
    let mut client = Client::connect(address);
    let begin = std::time::Instant::now();
    while begin.elapsed().as_millis() < 1500 {
        client.send("x").hears("ok\n");
        assert_eq!(ask(other, "x"), answer("A"));
    }
    client.ends();
    assert_eq!(client.rest(), "");
    assert!(!wharf.log().iter().any(|line| line.contains("session failed")));
    wharf.stop();
}

#[test]
fn a_guest_bounds_its_own_waits() {
    let folder = Folder::new();
    folder.plugin("sets", &fixture("sets_timeout"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("sets");
    assert_eq!(Client::connect(address).rest(), "timed-out");
    wharf.stop();
}
