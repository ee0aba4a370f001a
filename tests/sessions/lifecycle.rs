//! A session, step by step: what is called when, in which instance, and what the client sees of it.

use crate::harness::guests::{rust, shipped};
use crate::harness::{Client, Folder, Scene, Wharf, ask, fixture};

#[test]
fn the_three_steps_run_in_order_in_an_instance_that_no_other_session_sees() {
    for settings in ["concurrency = 'task'", "concurrency = 'serial'"] {
        let scene = Scene::of("counts", &fixture("counts")).with(settings).serve();
        for _ in 0..50 {
            assert_eq!(scene.ask(""), "setup 1 handle 2 finish 3", "{settings}");
        }
        scene.stop();
    }
}

#[test]
fn sessions_at_once_have_an_instance_each() {
    let scene = Scene::of("counts", &fixture("counts")).serve();
    let clients: Vec<Client> = (0..100).map(|_| scene.client()).collect();
    for client in clients {
        assert_eq!(client.rest(), "setup 1 handle 2 finish 3");
    }
    scene.stop();
}

#[test]
fn a_failing_step_decides_which_others_are_called() {
    for (plugin, heard, phase, cause) in [
        ("fails_in_setup", "ok\n", "setup", r#"cause="error: no setup\nforged: this is the same line""#),
        ("fails_in_handle", "ok\nfinished", "handle", r#"cause="error: no handle""#),
        ("fails_in_finish", "ok\n", "finish", r#"cause="error: no finish""#),
        ("traps_in_setup", "ok\n", "setup", r#"cause="trap: "#),
        ("traps_in_handle", "ok\n", "handle", r#"cause="trap: "#),
        ("traps_in_finish", "ok\n", "finish", r#"cause="trap: "#),
    ] {
        let folder = Folder::new();
        let guest = fixture(plugin);
        folder.plugin(plugin, &guest);
        let wharf = Wharf::serve(&folder);
        let mut client = Client::connect(wharf.address(plugin));
        let name = client.name();
        client.send("hello").hears("ok\n").send("!");
        assert_eq!(format!("ok\n{}", client.rest()), heard, "{plugin}");
        let about = [format!("plugin={plugin}"), format!("generation={}", guest.generation())];
        let line =
            wharf.logs(&["WARN", "session failed", &about[0], &about[1], &name, &format!("phase={phase}"), cause]);
        let order = ["session failed", "plugin=", "generation=", "client=", "phase=", "cause="];
        let places: Vec<_> = order.iter().map(|word| line.find(word)).collect();
        assert!(places.is_sorted(), "{line}");
        wharf.stop();
    }
}

#[test]
fn a_client_that_half_closes_is_answered_all_the_same() {
    let folder = Folder::new();
    folder.plugin("upper", &shipped("upper")).plugin("echo", &shipped("echo"));
    let wharf = Wharf::serve(&folder);
    assert_eq!(ask(wharf.address("upper"), "hello"), "HELLO");
    assert_eq!(ask(wharf.address("echo"), "hello"), "hello");
    wharf.stop();
}

#[test]
fn an_early_close_does_not_cost_the_client_its_answer() {
    let scene = Scene::of("upper", &shipped("upper")).serve();
    for size in [2_000, 100_000, 1_000_000] {
        let mut client = scene.client();
        // It reads 1024 of these at most and closes; none of the rest may turn the close into a
        // reset.
        client.send(vec![b'a'; size]);
        let heard = client.rest();
        assert!(!heard.is_empty() && heard.len() <= 1024 && heard.bytes().all(|byte| byte == b'A'), "{heard:?}");
    }
    scene.stop();
}

#[test]
fn a_client_that_never_ends_does_not_keep_its_closed_session() {
    let scene = Scene::of("upper", &shipped("upper")).with("max-connections = 1").serve();
    let mut stubborn = scene.client();
    stubborn.send("first").hears("FIRST");
    // It neither ends nor leaves; the session's place is free again all the same, after a bounded
    // time.
    assert_eq!(scene.ask("second"), "SECOND");
    drop(stubborn);
    scene.stop();
}

#[test]
fn verify_request_turns_clients_away_before_setup() {
    let folder = Folder::new();
    folder.plugin("hooks", &rust("hooks"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("hooks");
    let stranger = Client::connect_from([127, 0, 0, 2].into(), address);
    let name = stranger.name();
    assert_eq!(stranger.rest(), "");
    wharf.logs(&["client refused", "plugin=hooks", &name, "by=verify-request"]);
    // Whoever gets further is heard of: its handler always fails.
    let mut guest = Client::connect(address);
    guest.send("no luck\n");
    wharf.logs(&["session failed", "plugin=hooks", &guest.name(), "phase=handle", "cause=\"error: no luck\""]);
    assert_eq!(guest.rest(), "");
    assert!(!wharf.log().iter().any(|line| line.contains("session failed") && line.contains(&name)), "it was called");
    wharf.stop();
}

#[test]
fn handle_error_is_told_of_errors_and_of_steps_that_were_stopped() {
    let scene = Scene::of("hooks", &rust("hooks")).with("[timeouts]\nhandle = '300ms'").serve();
    for (says, error) in [("no luck\n", "error: no luck"), ("no end of line", "timeout: ")] {
        let mut client = scene.client();
        let name = client.name();
        client.send(says);
        let told = format!("handle_error {}: {error}", name.trim_start_matches("client="));
        scene.logs(&["guest", &told, "plugin=hooks", &name, "stream=stdout"]);
        assert_eq!(client.rest(), "");
    }
    scene.stop();
}

#[test]
fn hooks_that_trap_end_no_more_than_any_other_step() {
    let folder = Folder::new();
    folder.plugin("traps_in_hooks", &fixture("traps_in_hooks"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("traps_in_hooks");
    let mut beside = Client::connect(address);
    beside.send("x").hears("setup ok\n");
    for (source, phase, heard) in [([127, 0, 0, 3], "verify-request", ""), ([127, 0, 0, 1], "handle", "setup ")] {
        let mut client = Client::connect_from(source.into(), address);
        let name = client.name();
        client.hears(heard).send("!");
        // The trap itself, and that of `handle-error`, which is told of it in an instance of its
        // own.
        for phase in [phase, "handle-error"] {
            wharf.logs(&[
                "session failed",
                "plugin=traps_in_hooks",
                &name,
                &format!("phase={phase} "),
                "cause=\"trap: ",
            ]);
        }
        client.sees_the_end();
    }
    beside.send("x").hears("ok\n").ends();
    assert_eq!(beside.rest(), "");
    wharf.stop();
}
