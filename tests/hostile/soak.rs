//! Everything at once: a folder that never stands still, plugins and clients that mean harm, faults
//! from outside, new host processes; and clients who must not notice any of it.
//!
//! `cargo xtask soak --minutes N [--seed N]` runs it for minutes and shows the table; among all
//! tests it has some seconds.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Resource, Signal};

use crate::harness::guests::{rust, shipped};
use crate::harness::hostile::HOSTILE;
use crate::harness::observe::{kill, status};
use crate::harness::walk::{SUBJECT, Seed, Walk};
use crate::harness::{Client, DatagramClient, Folder, Launch, Successor, Wharf, answer, ask_url, fixture, limits};
use crate::plugins::churn::{Known, sees, talks};

/// How long it goes on in a run of all tests.
const SECONDS: u64 = 10;
/// How long a fault lasts.
const FAULT: Duration = Duration::from_millis(100);
/// How much more memory the host may have at the end, in KiB: room for what allocators keep, not
/// for a leak of a session's.
const GROWTH: u64 = 64 << 10;

/// What the guest in Rust is told to do, beside what [`HOSTILE`] has.
const COMMANDS: [&str; 9] =
    ["panic", "exit 3", "error no", "spin", "recurse", "grow", "never-read", "print hello", "sends 9999999"];
/// What ends each of them soon. CPU time is counted in stretches that a busy machine may lengthen:
/// with a few of them, a plugin's trial could fail by chance, and an upgrade with it.
const LIMITS: &str = "limits.cpu = '200ms'\nlimits.memory = '16MiB'\n[timeouts]\nidle = '200ms'\nhandle = '1s'\n";

/// What was counted.
#[derive(Default)]
struct Tally {
    replaced: AtomicU64,
    steady: AtomicU64,
    datagrams: AtomicU64,
    hostile_sessions: AtomicU64,
    hostile_clients: AtomicU64,
    lost: AtomicU64,
}

impl Tally {
    /// One session that has to go as it should: a panic is one that did not, and has been printed.
    fn of(&self, counted: &AtomicU64, session: impl FnOnce()) {
        let counted = if catch_unwind(AssertUnwindSafe(session)).is_ok() { counted } else { &self.lost };
        counted.fetch_add(1, Relaxed);
    }
}

/// What a client does again and again.
type Act<'a> = Box<dyn Fn(&mut Rng) + Send + Sync + 'a>;

/// What is done to the host from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// SIGSTOP, and SIGCONT after a while.
    Stop,
    /// No descriptor more than it has, for a while.
    Descriptors,
    /// Its compiled code is removed.
    Cache,
    /// SIGHUP and SIGUSR1.
    Signals,
    /// SIGUSR2: another process takes over.
    Upgrade,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Stop, Self::Descriptors, Self::Cache, Self::Signals, Self::Upgrade];
}

/// The host, whichever process it is by now.
struct Host {
    wharf: Wharf,
    /// All of them: those before the last may still have sessions.
    successors: Vec<Successor>,
    cache: PathBuf,
}

impl Host {
    fn pid(&self) -> Pid {
        self.successors.last().map_or_else(|| self.wharf.pid(), Successor::pid)
    }

    fn inject(&mut self, fault: Fault) {
        let pid = self.pid();
        match fault {
            Fault::Stop => {
                kill(pid, Signal::STOP);
                thread::sleep(FAULT);
                kill(pid, Signal::CONT);
            }
            Fault::Descriptors => {
                limits::leave_descriptors(pid, 0);
                thread::sleep(FAULT);
                limits::limit(pid, Resource::Nofile, None);
            }
            Fault::Cache => _ = fs::remove_dir_all(&self.cache),
            Fault::Signals => {
                kill(pid, Signal::HUP);
                kill(pid, Signal::USR1);
            }
            Fault::Upgrade => {
                kill(pid, Signal::USR2);
                self.successors.push(self.wharf.upgraded());
                // What the new process said of all that it found there is nothing that a change led
                // to.
                self.wharf.forget_events();
            }
        }
    }

    /// Memory that it has, in KiB.
    fn memory(&self) -> u64 {
        status(self.pid(), "VmRSS")
    }
}

#[test]
fn everything_at_once_costs_nobody_a_session() {
    let seed = Seed::chosen();
    let seconds = std::env::var("WHARF_SOAK_SECONDS").map_or(SECONDS, |n| n.parse().expect("a number of seconds"));
    eprintln!("WHARF_SEED={}", seed.0);
    let mut random = Rng::with_seed(seed.0);
    let folder = Folder::new();
    let mut walk = Walk::begin(&folder, seed);
    folder.shipped("echo");
    folder.manifest("upper-udp", "listen = 'udp://127.0.0.1:0'").plugin("upper-udp", &shipped("upper-udp"));
    folder.settings("misbehave", LIMITS).plugin("misbehave", &rust("misbehave"));
    for hostile in &HOSTILE {
        folder.settings(hostile.fixture, LIMITS).plugin(hostile.fixture, &fixture(hostile.fixture));
    }
    let cache = folder.parent().join("cache");
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).cache(&cache).start();
    let (tcp, unix) = (wharf.url(SUBJECT), wharf.url(SUBJECT));
    let [echo, upper, misbehave] = ["echo", "upper-udp", "misbehave"].map(|plugin| wharf.url(plugin));
    let hostile: Vec<String> = HOSTILE.iter().map(|hostile| wharf.url(hostile.fixture)).collect();
    let mut host = Host { wharf, successors: Vec::new(), cache };
    let (known, tally) = (Known::beginning(&walk), Tally::default());
    let (mut changes, mut injected, mut first_memory) = (0_u64, [0_u64; Fault::ALL.len()], None);
    let began = Instant::now();

    let mut acts: Vec<Act<'_>> = Vec::new();
    for url in [&tcp, &unix, &tcp, &unix] {
        acts.push(Box::new(|_| tally.of(&tally.replaced, || talks(url, &known))));
    }
    for _ in 0..2 {
        acts.push(Box::new(|random| tally.of(&tally.steady, || stays(&echo, random))));
        acts.push(Box::new(|random| tally.of(&tally.datagrams, || sends(&upper, random))));
        acts.push(Box::new(|random| {
            let number = random.usize(..=HOSTILE.len());
            let (url, says) = match hostile.get(number) {
                Some(url) => (url, "!"),
                None => (&misbehave, *random.choice(&COMMANDS).expect("there are some")),
            };
            tally.of(&tally.hostile_sessions, || is_ended(url, says));
        }));
    }
    acts.push(Box::new(|random| {
        means_harm(&echo, random);
        tally.hostile_clients.fetch_add(1, Relaxed);
    }));
    thread::scope(|scope| {
        for act in &acts {
            let (seed, known) = (random.u64(..), &known);
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed);
                while !known.is_over() {
                    act(&mut random);
                }
            });
        }
        let known = &known;
        // Whatever goes wrong here ends the others, too.
        let _over = known.over_at_the_end();
        while began.elapsed() < Duration::from_secs(seconds) {
            let fault = *random.choice(&Fault::ALL).expect("there are some");
            if walk.is_at_rest() && random.u8(..4) == 0 {
                if fault == Fault::Descriptors {
                    // A child process for each session is what a host without descriptors can't
                    // have. Whether there are some is sure once a generation of a new name has been
                    // loaded with the settings.
                    let forked = walk.forks();
                    known.writes(walk.newest() + 1);
                    let outcome = walk.end();
                    sees(&host.wharf, host.pid(), &walk, known, outcome);
                    if forked || walk.forks() {
                        continue;
                    }
                }
                eprintln!("{:>8.3} {fault:?}", began.elapsed().as_secs_f64());
                host.inject(fault);
                injected[fault as usize] += 1;
            } else {
                let outcome = walk.step(|what, newest| {
                    eprintln!("{:>8.3} {what} g{newest}", began.elapsed().as_secs_f64());
                    known.writes(newest);
                });
                sees(&host.wharf, host.pid(), &walk, known, outcome);
                changes += 1;
            }
            if first_memory.is_none() && began.elapsed() > Duration::from_secs(seconds) / 4 {
                first_memory = Some(host.memory());
            }
        }
        known.writes(walk.newest() + 1);
        let outcome = walk.end();
        sees(&host.wharf, host.pid(), &walk, known, outcome);
        assert_eq!(ask_url(&tcp, "x"), answer(&format!("g{}", walk.newest())), "it ends as the folder is");
    });

    let (first, last) = (first_memory.unwrap_or_default(), host.memory());
    let count = |counted: &AtomicU64| counted.load(Relaxed);
    let table = [
        ("seed".to_owned(), seed.0.to_string()),
        ("seconds".to_owned(), began.elapsed().as_secs().to_string()),
        ("sessions of the plugin that was replaced".to_owned(), count(&tally.replaced).to_string()),
        ("sessions of many messages".to_owned(), count(&tally.steady).to_string()),
        ("datagrams".to_owned(), count(&tally.datagrams).to_string()),
        ("sessions that a plugin ended badly".to_owned(), count(&tally.hostile_sessions).to_string()),
        ("clients that meant harm".to_owned(), count(&tally.hostile_clients).to_string()),
        ("changes in the folder".to_owned(), changes.to_string()),
    ];
    let faults = Fault::ALL.map(|fault| (format!("fault: {fault:?}"), injected[fault as usize].to_string()));
    let ends = [
        ("sessions lost that should not have been".to_owned(), count(&tally.lost).to_string()),
        ("memory at a quarter of the time, and at the end".to_owned(), format!("{first} and {last} KiB")),
    ];
    for (what, number) in table.into_iter().chain(faults).chain(ends) {
        eprintln!("{what:<50} {number:>24}");
    }
    assert_eq!(count(&tally.lost), 0, "sessions lost");
    assert!(last < first + GROWTH, "{first} KiB grew to {last}");
    // A guest's panic is logged; the host's own stands on stderr as it is.
    assert_eq!(host.wharf.log().iter().find(|line| line.starts_with("thread '")), None);
    kill(host.pid(), Signal::TERM);
    host.wharf.all_ended();
    assert_eq!(host.wharf.events().last().map(String::as_str), Some("stopped"));
}

/// A session of many messages, each answered with itself.
fn stays(url: &str, random: &mut Rng) {
    let mut client = Client::dial(url);
    for number in 0..random.u32(1..200) {
        let message = format!("{number} {}", "x".repeat(random.usize(..1000)));
        client.send(&message).hears(&message);
    }
    client.ends();
    assert_eq!(client.rest(), "");
}

fn sends(url: &str, random: &mut Rng) {
    let client = DatagramClient::to(url);
    for _ in 0..random.u32(1..50) {
        let text = format!("x{}", random.u64(..));
        client.send(&text).hears(text.to_uppercase());
    }
}

/// A session that its plugin ends badly: the client sees its end, by a reset or not.
fn is_ended(url: &str, says: &str) {
    let mut client = Client::dial(url);
    // It may be gone before it could be told anything.
    let _ =
        client.stream.write_all(format!("{says}\n").as_bytes()).and_then(|()| client.stream.shutdown(Shutdown::Write));
    let mut buffer = [0; 1 << 12];
    loop {
        match client.stream.read(&mut buffer) {
            Ok(1..) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("{says} at {url} never ended"),
            Ok(0) | Err(_) => return,
        }
    }
}

/// A client that goes away in one of the ways in which that hurts.
fn means_harm(url: &str, random: &mut Rng) {
    let Ok(mut client) = Client::try_dial(url) else { return };
    let way = random.u8(..4);
    if way > 0 {
        let _ = client.stream.write_all(&vec![b'x'; random.usize(1..20_000)]);
    }
    if way > 1 {
        let _ = client.stream.read(&mut [0; 10]);
    }
    if random.bool() {
        client.resets();
    }
}
