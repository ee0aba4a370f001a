//! Clients that mean harm, or might as well: whatever they do, their sessions end within their limits, everything they held
//! is given back, and the others are answered meanwhile.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::guests::{Guest, shipped};
use crate::harness::observe::until;
use crate::harness::{CONCURRENCIES, Client, Family, Folder, Wharf, answer, answers, ask_url, fixture};

/// How many of them there are at once.
const CROWD: usize = 4;

/// A plugin with hostile clients, and one beside it.
struct Scene {
    way: String,
    url: String,
    calm: String,
    wharf: Wharf,
}

impl Scene {
    /// A client of the plugin beside, which is answered as ever.
    #[track_caller]
    fn others_are_answered(&self) {
        assert_eq!(ask_url(&self.calm, "x"), answer("A"), "{}", self.way);
    }

    #[track_caller]
    fn ended(&self, name: &str, phase: &str, cause: &str) {
        let (phase, cause) = (format!("phase={phase}"), format!("cause=\"{cause}"));
        self.wharf.logs(&["session failed", "plugin=odd", name, &phase, &cause]);
    }
}

/// Serves `guest` in every way there is, each by itself. Once the scenario's clients have gone, the host has all
/// descriptors back that it had given them, and all processes and threads.
fn every_way(guest: &Guest, settings: &str, scenario: impl Fn(&Scene)) {
    for family in Family::STREAMS {
        for concurrency in CONCURRENCIES {
            let folder = Folder::new();
            let listen = family.listen(&folder, "odd");
            folder.manifest("odd", &format!("{listen}concurrency = '{concurrency}'\n{settings}")).plugin("odd", guest);
            let calm = family.listen(&folder, "calm");
            folder.manifest("calm", &format!("{calm}concurrency = '{concurrency}'")).plugin("calm", &answers("A"));
            let wharf = Wharf::serve(&folder);
            let (url, calm) = (wharf.url("odd"), wharf.url("calm"));
            let scene = Scene { way: format!("{family:?} {concurrency}"), url, calm, wharf };
            // What is opened with a first session stays open.
            scene.others_are_answered();
            until("its first child is gone", || scene.wharf.children().is_empty());
            let before = scene.wharf.descriptors();
            scenario(&scene);
            scene.others_are_answered();
            let wharf = &scene.wharf;
            until("everything is given back", || {
                wharf.descriptors() <= before && wharf.children().is_empty() && wharf.threads_named("odd") == 0
            });
            let log = wharf.log();
            assert!(!log.iter().any(|line| line.contains("ERROR")), "{}: {log:#?}", scene.way);
            assert_eq!(scene.wharf.stop().last().map(String::as_str), Some("stopped"), "{}", scene.way);
        }
    }
}

#[test]
fn who_drips_for_ever_has_as_long_as_the_handler_may_take() {
    // Each byte is answered, so that no wait is an idle one.
    every_way(&shipped("echo"), "timeouts.handle = '300ms'", |scene| {
        let drippers: Vec<Client> = (0..CROWD).map(|_| Client::dial(&scene.url)).collect();
        let names: Vec<String> = drippers.iter().map(Client::name).collect();
        thread::scope(|scope| {
            let drips = drippers.into_iter().map(|mut client| {
                scope.spawn(move || {
                    while client.stream.write_all(b"x").is_ok() && matches!(client.stream.read(&mut [0; 1]), Ok(1)) {}
                })
            });
            let drips: Vec<_> = drips.collect();
            while !drips.iter().all(thread::ScopedJoinHandle::is_finished) {
                scene.others_are_answered();
            }
        });
        for name in names {
            scene.ended(&name, "handle", "timeout: ");
        }
    });
}

#[test]
fn who_reads_a_byte_at_a_time_has_as_long_as_the_handler_may_take() {
    every_way(&fixture("floods"), "timeouts.handle = '300ms'", |scene| {
        let over = AtomicBool::new(false);
        let readers: Vec<Client> = (0..CROWD).map(|_| Client::dial(&scene.url)).collect();
        let names: Vec<String> = readers.iter().map(Client::name).collect();
        thread::scope(|scope| {
            for mut client in readers {
                let over = &over;
                scope.spawn(move || {
                    // Nothing more is to come from it, for which a close would wait.
                    client.ends();
                    while !over.load(Ordering::Relaxed) && matches!(client.stream.read(&mut [0; 1]), Ok(1)) {}
                });
            }
            scene.others_are_answered();
            for name in names {
                scene.ended(&name, "handle", "timeout: ");
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn who_never_reads_has_the_idle_time_and_the_guest_hears_of_it() {
    every_way(&fixture("floods"), "timeouts.idle = '100ms'", |scene| {
        let mut deaf: Vec<Client> = (0..CROWD).map(|_| Client::dial(&scene.url)).collect();
        for client in &mut deaf {
            client.ends();
        }
        scene.others_are_answered();
        for client in &deaf {
            scene.ended(&client.name(), "handle", "error: timed-out");
        }
    });
}

#[test]
fn who_stops_in_the_middle_of_a_request_has_the_idle_time() {
    every_way(&fixture("tells_errors"), "timeouts.idle = '100ms'", |scene| {
        let mut silent: Vec<Client> = (0..CROWD).map(|_| Client::dial(&scene.url)).collect();
        for client in &mut silent {
            client.send("half a req");
        }
        scene.others_are_answered();
        for client in silent {
            let name = client.name();
            assert_eq!(client.rest(), "begin", "{}", scene.way);
            scene.ended(&name, "handle", "error: timed-out");
        }
    });
}

/// A moment in a session at which a client may go, and how it is brought there.
struct Step {
    name: &'static str,
    guest: &'static str,
    reach: fn(&mut Client),
    /// What the log has of it, where it has something.
    ended: Option<(&'static str, &'static str)>,
}

const STEPS: [Step; 5] = [
    Step { name: "connected", guest: "answers", reach: |_| {}, ended: None },
    Step {
        name: "half a request",
        guest: "tells_errors",
        // What it leaves unread makes its close a reset on a Unix socket, too.
        reach: |client| _ = client.hears("be").send("half a req"),
        ended: Some(("handle", "error: connection-reset")),
    },
    Step {
        name: "half an answer",
        guest: "floods",
        reach: |client| _ = client.send("x").hears("I talk"),
        // A broken pipe where it was sending, a reset where it waited to.
        ended: Some(("handle", "error: ")),
    },
    Step { name: "finish", guest: "waits_in_finish", reach: |client| _ = client.hears("fini"), ended: None },
    Step {
        name: "close",
        guest: "answers",
        reach: |client| {
            client.send("x").hears(answer("A"));
            // Its end has come: what is left is the host's wait for the client's.
            assert_eq!(client.heard(1), b"");
            client.send("more");
        },
        ended: None,
    },
];

#[test]
fn who_resets_at_any_step_ends_its_own_session() {
    for Step { name: step, guest, reach, ended } in STEPS {
        let guest = if guest == "answers" { answers("A") } else { fixture(guest) };
        every_way(&guest, "", |scene| {
            for _ in 0..CROWD {
                let mut client = Client::dial(&scene.url);
                let name = client.name();
                reach(&mut client);
                client.resets();
                scene.others_are_answered();
                if let Some((phase, cause)) = ended {
                    scene.ended(&name, phase, cause);
                }
            }
            let told = scene.wharf.log().iter().filter(|line| line.contains("session failed")).count();
            assert!(ended.is_some() || told == 0, "{step}: {}", scene.way);
        });
    }
}

#[test]
fn a_crowd_that_holds_every_place_has_them_for_the_idle_time() {
    const PLACES: usize = 4;
    let settings = format!("max-connections = {PLACES}\ntimeouts.idle = '100ms'");
    every_way(&fixture("tells_errors"), &settings, |scene| {
        let silent: Vec<Client> = (0..3 * PLACES).map(|_| Client::dial(&scene.url)).collect();
        let mut last = Client::dial(&scene.url);
        last.ends();
        scene.others_are_answered();
        for client in silent {
            let name = client.name();
            assert_eq!(client.rest(), "begin", "{}", scene.way);
            scene.ended(&name, "handle", "error: timed-out");
        }
        assert_eq!(last.rest(), "begin", "{}", scene.way);
    });
}
