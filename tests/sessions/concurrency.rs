//! Sessions as threads and as processes: how many there are, what a stop does to them, what becomes
//! of one that dies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::harness::guests::{rust, shipped, stays};
use crate::harness::hostile::{HOSTILE, Hostile};
use crate::harness::observe::{kill, sockets, ticks, until};
use crate::harness::{Client, DatagramClient, Family, Folder, Scene, Wharf, answers, ask_url, fixture};

/// Those that give each session something of the kernel's.
const MIX_INS: [&str; 2] = ["thread", "process"];

/// A served plugin that says `A ` in each step, and waits for its client before the second.
fn answering(family: Family, settings: &str) -> Scene {
    Scene::of("answers", &answers("A")).over(family).with(settings).serve()
}

/// Clients that are well inside of their sessions.
fn inside(url: &str, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| Client::dial(url)).collect();
    for client in &mut clients {
        client.hears("A ");
    }
    clients
}

/// Lets them finish, as they may.
#[track_caller]
fn finish(clients: Vec<Client>) {
    for mut client in clients {
        client.send("go on");
        assert_eq!(client.rest(), "A A ");
    }
}

fn sessions(wharf: &Wharf, concurrency: &str) -> usize {
    match concurrency {
        "thread" => wharf.threads_named("answers"),
        _ => wharf.children().len(),
    }
}

#[test]
fn every_session_has_a_thread_or_a_process_of_its_own_and_leaves_none_behind() {
    for family in Family::STREAMS {
        for concurrency in MIX_INS {
            let scene = answering(family, &format!("concurrency = '{concurrency}'"));
            assert_eq!(sessions(&scene, concurrency), 0, "{concurrency}");
            for count in [1, 20] {
                let clients = inside(&scene.url, count);
                assert_eq!(sessions(&scene, concurrency), count, "{concurrency}");
                finish(clients);
                until("they are gone", || sessions(&scene, concurrency) == 0);
            }
            scene.stop();
        }
    }
}

#[test]
fn the_others_have_neither() {
    for concurrency in ["task", "serial"] {
        let scene = answering(Family::Tcp, &format!("concurrency = '{concurrency}'"));
        let clients = inside(&scene.url, 1);
        assert_eq!(scene.threads_named("answers") + scene.children().len(), 0, "{concurrency}");
        finish(clients);
        scene.stop();
    }
}

#[test]
fn a_thread_and_a_process_run_their_guests_themselves() {
    for concurrency in MIX_INS {
        let folder = Folder::new();
        folder.plugin("answers", &fixture("spins_in_handle"));
        folder
            .settings("answers", &format!("concurrency = '{concurrency}'\nlimits.cpu = '1h'\ntimeouts.drain = '1ms'"));
        let wharf = Wharf::serve(&folder);
        let mut client = Client::dial(&wharf.url("answers"));
        client.send("x").hears("ok\n").send("!");
        until("it has used CPU time of its own", || match concurrency {
            "thread" => wharf.ticks_of_threads_named("answers") > 25,
            _ => wharf.children().into_iter().any(|child| ticks(child) > 25),
        });
        wharf.stop();
    }
}

#[test]
fn a_change_of_concurrency_is_for_new_sessions() {
    let scene = answering(Family::Unix, "concurrency = 'task'");
    scene.event("loaded", "answers");
    let mut all = inside(&scene.url, 1);
    for (concurrency, threads, children) in [("thread", 1, 0), ("process", 1, 1), ("task", 1, 1)] {
        let manifest = format!("{}concurrency = '{concurrency}'", Family::Unix.listen(&scene.folder, "answers"));
        scene.folder.manifest("answers", &manifest);
        scene.event("loaded", "answers");
        all.extend(inside(&scene.url, 1));
        assert_eq!(scene.threads_named("answers"), threads, "{concurrency}");
        assert_eq!(scene.children().len(), children, "{concurrency}");
    }
    finish(all);
    scene.stop();
}

#[test]
fn a_socket_stays_where_it_is_when_a_session_process_ends() {
    for family in Family::STREAMS {
        let scene = answering(family, "concurrency = 'process'");
        for _ in 0..5 {
            assert_eq!(scene.ask("x"), "A A A ");
            until("it is gone", || scene.children().is_empty());
        }
        scene.stop();
    }
}

#[test]
fn at_the_cap_the_others_wait_in_the_backlog() {
    const CAP: usize = 3;
    for family in Family::STREAMS {
        for settings in [
            "concurrency = 'thread'\nmax-connections = 3",
            "concurrency = 'process'\nmax-children = 3",
            "concurrency = 'process'\nmax-connections = 3",
        ] {
            let scene = answering(family, settings);
            let mut clients = inside(&scene.url, CAP);
            // These connect all the same, and wait their turn.
            clients.extend((0..20).map(|_| scene.client()));
            let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                for (number, mut client) in clients.into_iter().enumerate() {
                    let (inside, most, scene) = (&inside, &most, &scene);
                    scope.spawn(move || {
                        if number >= CAP {
                            client.hears("A ");
                        }
                        // Counted only well inside of the session, so that a count beyond the cap
                        // is a real one; looking for children takes long enough for whoever is let
                        // in by mistake to be counted, too.
                        let sessions = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(sessions.max(scene.children().len()), Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        finish(vec![client]);
                    });
                }
            });
            let most = most.into_inner();
            assert!((1..=CAP).contains(&most), "{most} at once with {settings:?}");
            scene.stop();
        }
    }
}

#[test]
fn forty_children_are_the_most_unless_the_manifest_says_otherwise() {
    let scene = answering(Family::Unix, "concurrency = 'process'");
    let clients = inside(&scene.url, 40);
    // Each takes the place of one that has finished.
    let waiting: Vec<Client> = (0..5).map(|_| scene.client()).collect();
    let mut at_most_forty = 0;
    for client in clients {
        at_most_forty = at_most_forty.max(scene.children().len());
        finish(vec![client]);
    }
    assert_eq!(at_most_forty, 40);
    for mut client in waiting {
        client.hears("A ");
        finish(vec![client]);
    }
    scene.stop();
}

#[test]
fn a_storm_of_clients_that_reset_and_of_children_that_are_killed_leaves_nothing_behind() {
    let scene = answering(Family::Tcp, "concurrency = 'process'\nmax-children = 8");
    finish(inside(&scene.url, 1));
    until("the first child is gone", || scene.children().is_empty());
    let descriptors = scene.descriptors();
    for _ in 0..10 {
        (0..20).map(|_| scene.client()).for_each(Client::resets);
        // Those included that have ended, and that nobody has waited for.
        assert!(scene.children().len() <= 8 + 1, "no more than it may have, and one that is being waited for");
    }
    let clients = inside(&scene.url, 8);
    scene.children().into_iter().for_each(|child| kill(child, Signal::KILL));
    clients.into_iter().for_each(Client::sees_the_end);
    finish(inside(&scene.url, 8));
    until("no child is left, dead or alive", || scene.children().is_empty());
    until("no descriptor is left", || scene.descriptors() <= descriptors);
    scene.stop();
}

#[test]
fn a_datagram_at_the_cap_waits_for_a_place() {
    for settings in [
        "concurrency = 'process'\nmax-children = 1",
        "concurrency = 'thread'\nmax-connections = 1",
        "concurrency = 'task'\nmax-connections = 1",
        "concurrency = 'serial'",
    ] {
        for family in Family::DATAGRAMS {
            let folder = Folder::new();
            let manifest = format!("{}{settings}\nlimits.cpu = '200ms'", family.listen(&folder, "misbehave"));
            folder.manifest("misbehave", &manifest).plugin("misbehave", &rust("misbehave-udp"));
            let wharf = Wharf::serve(&folder);
            let url = wharf.url("misbehave");
            let client = DatagramClient::to(&url);
            client.send("spin").send("error it is my turn");
            let (first, second) = ("cause=\"cpu: ", "cause=\"error: it is my turn\"");
            wharf.logs(&["session failed", &client.name(), second]);
            let log = wharf.log();
            let place = |cause| log.iter().position(|line| line.contains("session failed") && line.contains(cause));
            assert!(place(first).is_some_and(|first| Some(first) < place(second)), "{settings:?} {log:#?}");
            wharf.stop();
        }
    }
}

#[test]
fn a_killed_child_costs_its_own_session_and_no_other() {
    for family in Family::STREAMS {
        let scene = answering(family, "concurrency = 'process'");
        let victim = inside(&scene.url, 1).remove(0);
        let [pid] = scene.children()[..] else { panic!("one child for one session") };
        let beside = inside(&scene.url, 2);
        let name = victim.name();
        kill(pid, Signal::KILL);
        scene.logs(&[
            "WARN",
            "session failed",
            "plugin=answers",
            "generation=",
            &name,
            "phase=process",
            "cause=\"signal: 9\"",
        ]);
        victim.sees_the_end();
        finish(beside);
        assert_eq!(scene.ask("x"), "A A A ");
        until("every child has been waited for", || scene.children().is_empty());
        scene.stop();
    }
}

#[test]
fn a_killed_child_gives_its_place_back() {
    let scene = answering(Family::Tcp, "concurrency = 'process'\nmax-children = 1");
    for _ in 0..3 {
        let victim = inside(&scene.url, 1).remove(0);
        let waiting = scene.client();
        let [pid] = scene.children()[..] else { panic!("one child for one session") };
        kill(pid, Signal::KILL);
        victim.sees_the_end();
        let mut next = waiting;
        next.hears("A ");
        finish(vec![next]);
    }
    scene.stop();
}

#[test]
fn a_hostile_guest_ends_its_own_session_in_a_thread_and_in_a_process() {
    for concurrency in MIX_INS {
        let folder = Folder::new();
        for &Hostile { fixture: name, .. } in &HOSTILE {
            folder.plugin(name, &fixture(name)).settings(
                name,
                &format!(
                    "concurrency = '{concurrency}'\n[limits]\ncpu = '100ms'\nmemory = '4MiB'\n[timeouts]\nsetup = '1h'"
                ),
            );
        }
        let wharf = Wharf::serve(&folder);
        for &Hostile { fixture: name, phase, cause, last_words, at_end } in &HOSTILE {
            let url = wharf.url(name);
            let mut beside = Client::dial(&url);
            beside.send("x").hears("ok\n");
            let mut hostile = Client::dial(&url);
            hostile.send("x").hears("ok\n").send("!");
            if at_end {
                hostile.ends();
            }
            let (plugin, phase, cause) =
                (format!("plugin={name}"), format!("phase={phase}"), format!("cause=\"{cause}"));
            wharf.logs(&["WARN", "session failed", &plugin, "generation=", &hostile.name(), &phase, &cause]);
            assert_eq!(hostile.rest(), last_words, "{name} {concurrency}");
            beside.send("x").hears("ok\n");
        }
        let log = wharf.log();
        assert!(!log.iter().any(|line| line.contains("host fault")), "none of it is the host's fault: {log:#?}");
        assert!(!log.iter().any(|line| line.contains("phase=process")), "every child ended well: {log:#?}");
        wharf.stop();
    }
}

#[test]
fn a_stop_joins_the_sessions_that_it_is_to_wait_for() {
    for family in Family::STREAMS {
        for settings in [
            "concurrency = 'thread'",
            "concurrency = 'process'",
            "concurrency = 'thread'\nblock-on-close = true\ndaemon-threads = false",
            // Not threads.
            "concurrency = 'process'\ndaemon-threads = true",
            "concurrency = 'task'\nblock-on-close = false\ndaemon-threads = true",
        ] {
            for signal in [Signal::TERM, Signal::INT] {
                let mut scene = answering(family, settings);
                let clients = inside(&scene.url, 3);
                scene.signal(signal);
                scene.says("draining 3");
                scene.event("closed", "answers");
                assert!(Client::try_dial(&scene.url).is_err(), "nobody is let in any more");
                assert!(!scene.events().contains(&"stopped".to_owned()), "{settings:?}");
                finish(clients);
                scene.says("stopped");
                assert_eq!(scene.ended(), 0, "{settings:?}");
            }
        }
    }
}

#[test]
fn a_stop_leaves_the_threads_that_it_is_not_to_wait_for_and_they_end_with_it() {
    for family in Family::STREAMS {
        for settings in
            ["block-on-close = false", "daemon-threads = true", "block-on-close = false\ndaemon-threads = true"]
        {
            // A drain that would outlast this test's patience.
            let settings = format!("concurrency = 'thread'\n{settings}\ntimeouts.drain = '1h'");
            let mut scene = answering(family, &settings);
            let clients = inside(&scene.url, 3);
            scene.signal(Signal::TERM);
            scene.says("stopped");
            assert_eq!(scene.ended(), 0, "{settings:?}");
            // And say no more than they had said.
            clients.into_iter().for_each(Client::sees_the_end);
            let log = scene.log();
            assert!(!log.iter().any(|line| line.contains("session failed")), "{log:#?}");
        }
    }
}

#[test]
fn a_stop_leaves_the_processes_that_it_is_not_to_wait_for_and_they_go_on() {
    for family in Family::STREAMS {
        let settings = "concurrency = 'process'\nblock-on-close = false\ntimeouts.drain = '1h'";
        let mut scene = answering(family, settings);
        let clients = inside(&scene.url, 3);
        scene.signal(Signal::TERM);
        scene.says("stopped");
        assert_eq!(scene.exited(), 0);
        finish(clients);
        let log = scene.log();
        assert!(!log.iter().any(|line| line.contains("session failed")), "{log:#?}");
    }
}

#[test]
fn a_second_signal_ends_threads_and_children_at_once() {
    for concurrency in MIX_INS {
        for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT)] {
            let settings = format!("concurrency = '{concurrency}'\ntimeouts.drain = '1h'");
            let mut scene = answering(Family::Tcp, &settings);
            let clients = inside(&scene.url, 3);
            scene.signal(first);
            scene.says("draining 3");
            scene.signal(second);
            assert_eq!(scene.ended(), 1, "{concurrency}");
            clients.into_iter().for_each(Client::sees_the_end);
        }
    }
}

#[test]
fn an_interrupt_of_the_whole_process_group_lets_sessions_finish() {
    let mut scene = answering(Family::Tcp, "concurrency = 'process'");
    let clients = inside(&scene.url, 3);
    // As a terminal does it: host and children alike.
    scene.children().into_iter().for_each(|child| kill(child, Signal::INT));
    scene.signal(Signal::INT);
    scene.says("draining 3");
    finish(clients);
    assert_eq!(scene.ended(), 0);
    let log = scene.log();
    assert!(!log.iter().any(|line| line.contains("session failed")), "{log:#?}");
}

#[test]
fn the_drain_deadline_stops_threads_and_children() {
    for concurrency in MIX_INS {
        let folder = Folder::new();
        let settings = format!("concurrency = '{concurrency}'\ntimeouts.drain = '200ms'\nlimits.cpu = '1h'");
        folder.plugin("waits", &stays("A")).settings("waits", &settings);
        folder.plugin("spins", &fixture("spins_in_handle")).settings("spins", &settings);
        let mut wharf = Wharf::serve(&folder);
        let waiting = inside(&wharf.url("waits"), 1).remove(0);
        let mut spinning = Client::dial(&wharf.url("spins"));
        spinning.send("x").hears("ok\n").send("!");
        wharf.signal(Signal::TERM);
        wharf.says("draining 2");
        for (plugin, client) in [("plugin=waits", waiting.name()), ("plugin=spins", spinning.name())] {
            wharf.logs(&["session failed", plugin, &client, "phase=handle", "cause=\"drain: "]);
        }
        waiting.sees_the_end();
        spinning.sees_the_end();
        wharf.says("stopped");
        assert_eq!(wharf.ended(), 0, "{concurrency}");
    }
}

#[test]
fn a_replaced_generation_is_drained_from_threads_and_processes() {
    for concurrency in MIX_INS {
        let scene = answering(Family::Unix, &format!("concurrency = '{concurrency}'"));
        scene.event("loaded", "answers");
        let old = inside(&scene.url, 2);
        scene.folder.plugin("answers", &answers("B"));
        scene.event("loaded", "answers");
        assert_eq!(scene.ask("x"), "B B B ", "{concurrency}");
        finish(old);
        scene.stop();
    }
}

#[test]
fn a_process_has_nothing_but_its_session() {
    let folder = Folder::new();
    let secret = folder.parent().join("secret");
    std::fs::write(&secret, "secret").expect("write");
    folder.plugin("misbehave", &rust("misbehave"));
    folder.settings("misbehave", "concurrency = 'process'\nargs = ['a', 'b']\n[grants.env]\nGREETING = 'hello'");
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("misbehave");
    assert_eq!(ask_url(&url, "env GREETING\n"), "hello", "what is granted is there");
    assert_eq!(ask_url(&url, "env PATH\n"), "unset", "what is not, is not");
    assert_eq!(ask_url(&url, "args\n"), "misbehave a b");
    let read = ask_url(&url, format!("read {}\n", secret.display()));
    assert!(read.starts_with("error: "), "{read}");
    assert_eq!(ask_url(&url, "print hello there\n"), "printed");
    wharf.logs(&[
        "INFO",
        "guest: text=\"hello there",
        "plugin=misbehave",
        "generation=",
        "client=127.0.0.1:",
        "stream=stdout",
    ]);
    // Its connection is its own alone: neither the host's listener nor another session's connection
    // is open in it.
    let idle: Vec<Client> = (0..10).map(|_| Client::dial(&url)).collect();
    until("all are served", || wharf.children().len() == idle.len());
    until("they are told apart", || {
        // The host lets go of a connection only when its child is there.
        let mut taken = sockets(wharf.pid());
        wharf.children().into_iter().all(|child| {
            let own = sockets(child);
            let apart = !own.is_empty() && taken.is_disjoint(&own);
            taken.extend(own);
            apart
        })
    });
    for mut client in idle {
        client.send("hello\n");
        assert_eq!(client.rest(), "hello");
    }
    wharf.stop();
}

#[test]
fn the_shipped_plugins_run_as_threads_and_as_processes() {
    for concurrency in MIX_INS {
        let folder = Folder::new();
        for name in ["upper", "echo"] {
            folder.plugin(name, &shipped(name)).settings(name, &format!("concurrency = '{concurrency}'"));
        }
        let wharf = Wharf::serve(&folder);
        assert_eq!(ask_url(&wharf.url("upper"), "hello"), "HELLO", "{concurrency}");
        // As much as fits into the kernel's buffers, since it is all sent before any is read.
        let long = "x".repeat(64 << 10);
        assert_eq!(ask_url(&wharf.url("echo"), &long), long, "{concurrency}");
        wharf.stop();
    }
}
