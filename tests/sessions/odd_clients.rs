//! Clients that do what clients do, on every family that has connections, with every concurrency.

use std::mem::MaybeUninit;
use std::net::Shutdown;

use crate::harness::guests::{Guest, shipped};
use crate::harness::{Family, Scene, answer, answers, ask_url, fixture, in_every_mode};

/// Serves `guest`. Whatever the odd client does, the next one is answered.
fn in_this_mode(family: Family, concurrency: &str, guest: &Guest, settings: &str, scenario: impl Fn(&Scene)) {
    let scene = Scene::of("odd", guest).over(family).concurrency(concurrency).with(settings);
    let scene = scene.beside("calm", answers("A")).serve();
    scenario(&scene);
    assert_eq!(ask_url(&scene.url("calm"), "x"), answer("A"));
    let events = scene.stop();
    assert_eq!(events.last().map(String::as_str), Some("stopped"));
}

in_every_mode! {
    streams:
        a_client_that_half_closes_still_gets_its_answer,
        a_client_that_only_listens_from_the_start_is_answered,
        a_client_that_resets_ends_its_own_session,
        a_client_that_sends_nothing_is_timed_out,
        a_client_that_never_reads_is_timed_out,
        clients_that_connect_and_leave_disturb_nobody,
        a_client_that_leaves_before_its_answer_ends_its_own_session,
        a_client_that_is_deaf_before_it_has_spoken_is_heard,
        a_client_that_sends_in_drips_is_heard_whole;
}

fn a_client_that_half_closes_still_gets_its_answer(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &shipped("upper"), "", |scene| {
        assert_eq!(scene.ask("hello"), "HELLO");
    });
    in_this_mode(family, concurrency, &shipped("echo"), "", |scene| {
        let long = "x".repeat(64 << 10);
        assert_eq!(scene.ask(&long), long);
        assert_eq!(scene.ask(""), "");
    });
}

fn a_client_that_only_listens_from_the_start_is_answered(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &answers("A"), "", |scene| {
        let mut client = scene.client();
        client.ends();
        assert_eq!(client.rest(), answer("A"));
    });
}

fn a_client_that_resets_ends_its_own_session(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &fixture("tells_errors"), "", |scene| {
        for _ in 0..5 {
            let mut client = scene.client();
            let name = client.name();
            // It has not read what was sent to it, which makes its close a reset on a Unix socket,
            // too.
            client.stream.peek(&mut [MaybeUninit::uninit(); 5]).expect("the handler has begun");
            client.send("half a req");
            client.resets();
            scene.logs(&["client left", "plugin=odd", &name, "phase=handle", "cause=\"error: connection-reset"]);
        }
        let mut next = scene.client();
        next.hears("begin").ends();
        assert_eq!(next.rest(), "");
    });
}

fn a_client_that_sends_nothing_is_timed_out(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &fixture("tells_errors"), "timeouts.idle = '50ms'", |scene| {
        let mut client = scene.client();
        client.hears("begin");
        scene.logs(&["session failed", "plugin=odd", &client.name(), "phase=handle", "cause=\"error: timed-out"]);
        assert_eq!(client.rest(), "");
    });
}

fn a_client_that_never_reads_is_timed_out(family: Family, concurrency: &str) {
    in_this_mode(
        family,
        concurrency,
        &fixture("never_reads"),
        "max-connections = 1\ntimeouts.idle = '50ms'",
        |scene| {
            let mut deaf = scene.client();
            deaf.send("!").ends();
            // Its place is free again though it has read nothing and is still there.
            let mut next = scene.client();
            next.send("x").hears("ok\n").ends();
            assert_eq!(next.rest(), "");
            drop(deaf);
        },
    );
}

fn clients_that_connect_and_leave_disturb_nobody(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &shipped("upper"), "", |scene| {
        for _ in 0..50 {
            drop(scene.client());
        }
        for _ in 0..50 {
            scene.client().resets();
        }
        assert_eq!(scene.ask("hello"), "HELLO");
        let log = scene.log();
        assert!(!log.iter().any(|line| line.contains("ERROR")), "{log:#?}");
    });
}

fn a_client_that_leaves_before_its_answer_ends_its_own_session(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &shipped("upper"), "", |scene| {
        for _ in 0..20 {
            scene.client().send("hello");
        }
        assert_eq!(scene.ask("hello"), "HELLO");
    });
}

fn a_client_that_is_deaf_before_it_has_spoken_is_heard(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &answers("A"), "", |scene| {
        let mut client = scene.client();
        // Out of order: it stops reading first, and speaks and ends afterwards.
        client.hears("A ");
        client.stream.shutdown(Shutdown::Read).expect("shut down reading");
        // Only a Unix socket's server learns of it: it can't send any more.
        client.send("x").ends();
        assert_eq!(scene.ask("x"), answer("A"));
    });
}

fn a_client_that_sends_in_drips_is_heard_whole(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &shipped("echo"), "", |scene| {
        let mut client = scene.client();
        for byte in b"one byte after the other" {
            client.send([*byte]).hears([*byte]);
        }
        client.ends();
        assert_eq!(client.rest(), "");
    });
}
