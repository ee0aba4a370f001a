//! Clients that mean harm, or might as well: whatever they do, their sessions end within their
//! limits, everything they held is given back, and the others are answered meanwhile.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use socket2::Socket;

use crate::harness::guests::{Guest, shipped};
use crate::harness::observe::until;
use crate::harness::{Client, DEADLINE, Family, Scene, answer, answers, ask_url, fixture, in_every_mode};

/// How many of them there are at once.
const CROWD: usize = 4;

/// A plugin with hostile clients, and one beside it.
struct Odd {
    scene: Scene,
    calm: String,
}

impl Odd {
    fn client(&self) -> Client {
        self.scene.client()
    }

    /// A client of the plugin beside, which is answered as ever.
    #[track_caller]
    fn others_are_answered(&self) {
        assert_eq!(ask_url(&self.calm, "x"), answer("A"));
    }

    #[track_caller]
    fn ended(&self, name: &str, phase: &str, cause: &str) {
        let (phase, cause) = (format!("phase={phase}"), format!("cause=\"{cause}"));
        self.scene.logs(&["plugin=odd", name, &phase, &cause]);
    }
}

/// Serves `guest`. Once the scenario's clients have gone, the host has all descriptors back that it
/// had given them, and all processes and threads.
fn in_this_mode(family: Family, concurrency: &str, guest: &Guest, settings: &str, scenario: impl Fn(&Odd)) {
    let scene = Scene::of("odd", guest).over(family).concurrency(concurrency).with(settings);
    let scene = scene.beside("calm", answers("A")).serve();
    let odd = Odd { calm: scene.url("calm"), scene };
    // What is opened with a first session stays open.
    odd.others_are_answered();
    let scene = &odd.scene;
    until("its first child is gone", || scene.children().is_empty());
    let before = scene.descriptors();
    scenario(&odd);
    odd.others_are_answered();
    until("everything is given back", || {
        scene.descriptors() <= before && scene.children().is_empty() && scene.threads_named("odd") == 0
    });
    let log = scene.log();
    assert!(!log.iter().any(|line| line.contains("ERROR")), "{log:#?}");
    assert_eq!(odd.scene.stop().last().map(String::as_str), Some("stopped"));
}

in_every_mode! {
    streams:
        a_client_that_drips_for_ever_is_ended_by_the_handler_timeout,
        a_client_that_reads_a_byte_at_a_time_is_ended_by_the_handler_timeout,
        a_client_that_never_reads_is_ended_by_the_idle_timeout,
        a_client_that_stops_halfway_is_ended_by_the_idle_timeout,
        a_client_that_resets_at_any_step_ends_its_own_session,
        a_crowd_keeps_every_place_no_longer_than_the_idle_timeout;
}

fn a_client_that_drips_for_ever_is_ended_by_the_handler_timeout(family: Family, concurrency: &str) {
    // Each byte is answered, so that no wait is an idle one.
    in_this_mode(family, concurrency, &shipped("echo"), "timeouts.handle = '300ms'", |odd| {
        let drippers: Vec<Client> = (0..CROWD).map(|_| odd.client()).collect();
        let names: Vec<String> = drippers.iter().map(Client::name).collect();
        let began = Instant::now();
        // A session that never ends would keep its client here for ever.
        let is_in_time = || began.elapsed() < DEADLINE;
        thread::scope(|scope| {
            let drips = drippers.into_iter().map(|mut client| {
                scope.spawn(move || {
                    let drip = |stream: &mut Socket| stream.write_all(b"x").and_then(|()| stream.read(&mut [0; 1]));
                    while is_in_time() && matches!(drip(&mut client.stream), Ok(1)) {}
                })
            });
            let drips: Vec<_> = drips.collect();
            while !drips.iter().all(thread::ScopedJoinHandle::is_finished) {
                odd.others_are_answered();
            }
        });
        for name in names {
            odd.ended(&name, "handle", "timeout: ");
        }
    });
}

fn a_client_that_reads_a_byte_at_a_time_is_ended_by_the_handler_timeout(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &fixture("floods"), "timeouts.handle = '300ms'", |odd| {
        let over = AtomicBool::new(false);
        let began = Instant::now();
        let is_in_time = || began.elapsed() < DEADLINE;
        let readers: Vec<Client> = (0..CROWD).map(|_| odd.client()).collect();
        let names: Vec<String> = readers.iter().map(Client::name).collect();
        thread::scope(|scope| {
            for mut client in readers {
                let over = &over;
                scope.spawn(move || {
                    // Nothing more is to come from it, for which a close would wait.
                    client.ends();
                    while is_in_time()
                        && !over.load(Ordering::Relaxed)
                        && matches!(client.stream.read(&mut [0; 1]), Ok(1))
                    {}
                });
            }
            odd.others_are_answered();
            for name in names {
                odd.ended(&name, "handle", "timeout: ");
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}

fn a_client_that_never_reads_is_ended_by_the_idle_timeout(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &fixture("floods"), "timeouts.idle = '100ms'", |odd| {
        let mut deaf: Vec<Client> = (0..CROWD).map(|_| odd.client()).collect();
        for client in &mut deaf {
            client.ends();
        }
        odd.others_are_answered();
        for client in &deaf {
            odd.ended(&client.name(), "handle", "error: timed-out");
        }
    });
}

fn a_client_that_stops_halfway_is_ended_by_the_idle_timeout(family: Family, concurrency: &str) {
    in_this_mode(family, concurrency, &fixture("tells_errors"), "timeouts.idle = '100ms'", |odd| {
        let mut silent: Vec<Client> = (0..CROWD).map(|_| odd.client()).collect();
        for client in &mut silent {
            client.send("half a req");
        }
        odd.others_are_answered();
        for client in silent {
            let name = client.name();
            assert_eq!(client.rest(), "begin");
            odd.ended(&name, "handle", "error: timed-out");
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

fn a_client_that_resets_at_any_step_ends_its_own_session(family: Family, concurrency: &str) {
    for Step { name: step, guest, reach, ended } in STEPS {
        let guest = if guest == "answers" { answers("A") } else { fixture(guest) };
        in_this_mode(family, concurrency, &guest, "", |odd| {
            for _ in 0..CROWD {
                let mut client = odd.client();
                let name = client.name();
                reach(&mut client);
                client.resets();
                odd.others_are_answered();
                if let Some((phase, cause)) = ended {
                    odd.ended(&name, phase, cause);
                }
            }
            let told = odd.scene.log().iter().filter(|line| line.contains("phase=")).count();
            assert!(ended.is_some() || told == 0, "{step}");
        });
    }
}

fn a_crowd_keeps_every_place_no_longer_than_the_idle_timeout(family: Family, concurrency: &str) {
    const PLACES: usize = 4;
    let settings = format!("max-connections = {PLACES}\ntimeouts.idle = '100ms'");
    in_this_mode(family, concurrency, &fixture("tells_errors"), &settings, |odd| {
        let silent: Vec<Client> = (0..3 * PLACES).map(|_| odd.client()).collect();
        let mut last = odd.client();
        last.ends();
        odd.others_are_answered();
        for client in silent {
            let name = client.name();
            assert_eq!(client.rest(), "begin");
            odd.ended(&name, "handle", "error: timed-out");
        }
        assert_eq!(last.rest(), "begin");
    });
}
