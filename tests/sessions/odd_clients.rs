//! Clients that do what clients do, on every family that has connections, with every concurrency.

use std::mem::MaybeUninit;
use std::net::Shutdown;

use crate::harness::guests::{Guest, shipped};
use crate::harness::{CONCURRENCIES, Client, Family, Folder, Wharf, answer, answers, ask_url, fixture};

/// Serves `guest` in every way there is, each by itself. Whatever the odd client does, the next one is answered.
fn every_way(guest: &Guest, settings: &str, scenario: impl Fn(&str, &Wharf)) {
    for family in Family::STREAMS {
        for concurrency in CONCURRENCIES {
            let folder = Folder::new();
            let listen = family.listen(&folder, "odd");
            folder.manifest("odd", &format!("{listen}concurrency = '{concurrency}'\n{settings}")).plugin("odd", guest);
            let calm = family.listen(&folder, "calm");
            folder.manifest("calm", &format!("{calm}concurrency = '{concurrency}'")).plugin("calm", &answers("A"));
            let wharf = Wharf::serve(&folder);
            let (odd, calm) = (wharf.url("odd"), wharf.url("calm"));
            scenario(&odd, &wharf);
            assert_eq!(ask_url(&calm, "x"), answer("A"), "{family:?} {concurrency}");
            let events = wharf.stop();
            assert_eq!(events.last().map(String::as_str), Some("stopped"), "{family:?} {concurrency}");
        }
    }
}

#[test]
fn a_client_that_half_closes_still_gets_its_answer() {
    every_way(&shipped("upper"), "", |url, _| {
        assert_eq!(ask_url(url, "hello"), "HELLO", "{url}");
    });
    every_way(&shipped("echo"), "", |url, _| {
        let long = "x".repeat(64 << 10);
        assert_eq!(ask_url(url, &long), long, "{url}");
        assert_eq!(ask_url(url, ""), "", "{url}");
    });
}

#[test]
fn a_client_that_only_listens_from_the_start_is_answered() {
    every_way(&answers("A"), "", |url, _| {
        let mut client = Client::dial(url);
        client.ends();
        assert_eq!(client.rest(), answer("A"), "{url}");
    });
}

#[test]
fn a_client_that_resets_ends_its_own_session() {
    every_way(&fixture("tells_errors"), "", |url, wharf| {
        for _ in 0..5 {
            let mut client = Client::dial(url);
            let name = client.name();
            // It has not read what was sent to it, which makes its close a reset on a Unix socket, too.
            client.stream.peek(&mut [MaybeUninit::uninit(); 5]).expect("the handler has begun");
            client.send("half a req");
            client.resets();
            wharf.logs(&["session failed", "plugin=odd", &name, "phase=handle", "cause=\"error: connection-reset"]);
        }
        let mut next = Client::dial(url);
        next.hears("begin").ends();
        assert_eq!(next.rest(), "", "{url}");
    });
}

#[test]
fn a_client_that_sends_nothing_is_timed_out() {
    every_way(&fixture("tells_errors"), "timeouts.idle = '50ms'", |url, wharf| {
        let mut client = Client::dial(url);
        client.hears("begin");
        wharf.logs(&["session failed", "plugin=odd", &client.name(), "phase=handle", "cause=\"error: timed-out"]);
        assert_eq!(client.rest(), "", "{url}");
    });
}

#[test]
fn a_client_that_never_reads_is_timed_out() {
    every_way(&fixture("never_reads"), "max-connections = 1\ntimeouts.idle = '50ms'", |url, _| {
        let mut deaf = Client::dial(url);
        deaf.send("!").ends();
        // Its place is free again though it has read nothing and is still there.
        let mut next = Client::dial(url);
        next.send("x").hears("ok\n").ends();
        assert_eq!(next.rest(), "", "{url}");
        drop(deaf);
    });
}

#[test]
fn clients_that_connect_and_leave_are_nobodys_trouble() {
    every_way(&shipped("upper"), "", |url, wharf| {
        for _ in 0..50 {
            drop(Client::dial(url));
        }
        for _ in 0..50 {
            Client::dial(url).resets();
        }
        assert_eq!(ask_url(url, "hello"), "HELLO", "{url}");
        let log = wharf.log();
        assert!(!log.iter().any(|line| line.contains("ERROR")), "{log:#?}");
    });
}

#[test]
fn a_client_that_leaves_before_its_answer_ends_its_own_session() {
    every_way(&shipped("upper"), "", |url, _| {
        for _ in 0..20 {
            Client::dial(url).send("hello");
        }
        assert_eq!(ask_url(url, "hello"), "HELLO", "{url}");
    });
}

#[test]
fn a_client_that_is_deaf_before_it_has_spoken_is_heard() {
    every_way(&answers("A"), "", |url, _| {
        let mut client = Client::dial(url);
        // Out of order: it stops reading first, and speaks and ends afterwards.
        client.hears("A ");
        client.stream.shutdown(Shutdown::Read).expect("shut down reading");
        // Only a Unix socket's server learns of it: it can't send any more.
        client.send("x").ends();
        assert_eq!(ask_url(url, "x"), answer("A"), "{url}");
    });
}

#[test]
fn a_client_that_sends_in_drips_is_heard_whole() {
    every_way(&shipped("echo"), "", |url, _| {
        let mut client = Client::dial(url);
        for byte in b"one byte after the other" {
            client.send([*byte]).hears([*byte]);
        }
        client.ends();
        assert_eq!(client.rest(), "", "{url}");
    });
}
