//! Reload under load: a folder that never stands still, and clients who must not notice.
//!
//! `WHARF_SEED=N` repeats a walk whose seed a failed run has printed, `WHARF_CHURN_SECONDS=N` has
//! it go on for so long: minutes, to look for what is rare.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::harness::observe::kill;
use crate::harness::walk::{OTHER, Outcome, SUBJECT, Seed, Walk};
use crate::harness::{Client, Folder, Wharf, answer, ask_url};

/// How long it goes on in a run of all tests.
const SECONDS: u64 = 6;
const CLIENTS: usize = 8;
/// How long, in milliseconds, what is slow to compile takes at the least. What was put back later
/// may have served.
const COMPILED: u64 = 250;

/// What clients and the walk know of each other.
#[derive(Default)]
pub struct Known {
    /// The newest generation that the host has said to be loaded: who connects from now on gets no
    /// older one.
    announced: AtomicU32,
    /// The newest one that it may have seen.
    written: AtomicU32,
    served: AtomicU64,
    /// Sessions of versions that had been put back.
    undone: AtomicU64,
    /// How long, in milliseconds, it took at most to put one back.
    slowest_return: AtomicU64,
    over: AtomicBool,
}

impl Known {
    /// What is known when the walk begins.
    pub fn beginning(walk: &Walk) -> Self {
        let known = Self::default();
        known.announced.store(walk.newest(), SeqCst);
        known.writes(walk.newest());
        known
    }

    /// The generation of this number may serve from now on.
    pub fn writes(&self, newest: u32) {
        self.written.store(newest, SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// What says that it is over when it is dropped, be it by a panic.
    pub fn over_at_the_end(&self) -> impl Drop + '_ {
        Over(self)
    }
}

/// Says that it is over, be it by a panic.
struct Over<'k>(&'k Known);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, SeqCst);
    }
}

#[test]
fn nobody_notices_a_folder_that_never_stands_still() {
    let seed = Seed::chosen();
    let seconds = std::env::var("WHARF_CHURN_SECONDS").map_or(SECONDS, |n| n.parse().expect("a number of seconds"));
    // Shown if it fails.
    eprintln!("WHARF_SEED={}", seed.0);
    let folder = Folder::new();
    let mut walk = Walk::begin(&folder, seed);
    let wharf = Wharf::serve(&folder);
    let tcp = wharf.url(SUBJECT);
    let unix = wharf.url(SUBJECT);
    assert!(tcp.starts_with("tcp:") && unix == walk.socket(1), "{tcp} and {unix}");
    wharf.url(OTHER);
    let known = Known::beginning(&walk);
    let began = Instant::now();
    let mut steps = 0;
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (known, url) = (&known, if number % 2 == 0 { &tcp } else { &unix });
            scope.spawn(move || {
                let _over = known.over_at_the_end();
                while !known.is_over() {
                    talks(url, known);
                }
            });
        }
        let _over = known.over_at_the_end();
        while began.elapsed() < Duration::from_secs(seconds) && !known.is_over() {
            let outcome = walk.step(|what, newest| {
                eprintln!("{:>8.3} {what} g{newest}", began.elapsed().as_secs_f64());
                known.writes(newest);
            });
            sees(&wharf, wharf.pid(), &walk, &known, outcome);
            steps += 1;
        }
        known.writes(walk.newest() + 1);
        let outcome = walk.end();
        sees(&wharf, wharf.pid(), &walk, &known, outcome);
        assert_eq!(ask_url(&tcp, "x"), answer(&format!("g{}", walk.newest())), "it ends as the folder is");
    });
    let served = known.served.load(SeqCst);
    eprintln!("{steps} steps, {} generations, {served} sessions in {:?}", walk.newest(), began.elapsed());
    assert!(served > 100, "{served} sessions");
    if known.slowest_return.load(SeqCst) < COMPILED {
        assert_eq!(known.undone.load(SeqCst), 0, "sessions of a version that was put back before it was loaded");
    }
    let log = wharf.log();
    let wrong = |line: &&String| ["session failed", "host fault", "panicked"].iter().any(|word| line.contains(word));
    assert_eq!(log.iter().find(wrong), None);
    let said = wharf.stop();
    let closed: Vec<_> = said.iter().take_while(|line| !line.starts_with("draining")).collect();
    assert!(
        !closed.iter().any(|line| **line == format!("closed {tcp} {SUBJECT}")),
        "no listener is closed for a reload"
    );
}

/// One session: nobody is refused or reset, all of it is of one generation, and that is a current
/// one.
pub fn talks(url: &str, known: &Known) {
    let announced = known.announced.load(SeqCst);
    let mut client = Client::dial(url);
    client.send("x");
    let heard = client.rest();
    let written = known.written.load(SeqCst);
    let (text, _) = heard.split_once(' ').unwrap_or_else(|| panic!("heard {heard:?}"));
    assert_eq!(heard, answer(text), "all of it is of one generation");
    let number: u32 = text.strip_prefix('g').and_then(|number| number.parse().ok()).expect("a generation's number");
    known.served.fetch_add(1, SeqCst);
    if number >= Walk::UNDONE {
        known.undone.fetch_add(1, SeqCst);
        return;
    }
    assert!((announced..=written).contains(&number), "{number}, where {announced} was announced and {written} written");
}

/// Waits until the host, which is this process by now, has said what it made of a step.
pub fn sees(wharf: &Wharf, host: Pid, walk: &Walk, known: &Known, outcome: Outcome) {
    match outcome {
        Outcome::Unwatched => {}
        Outcome::Loaded(number) => {
            let generation = Walk::generation(number).generation();
            while wharf.event("loaded", SUBJECT).generation != generation {}
            known.announced.store(number, SeqCst);
        }
        Outcome::Kept => _ = wharf.event("kept", SUBJECT),
        Outcome::Second(true) => {
            while wharf.event("listening", SUBJECT).url != walk.socket(2) {}
            talks(&walk.socket(2), known);
        }
        Outcome::Second(false) => {
            assert_eq!(wharf.event("closed", SUBJECT).url, walk.socket(2));
            assert!(Client::try_dial(&walk.socket(2)).is_err(), "nobody is let in any more");
        }
        // It is loaded again with every change of the defaults, but listens once.
        Outcome::Other(true) => _ = wharf.url(OTHER),
        Outcome::Other(false) => _ = wharf.event("unloaded", OTHER),
        Outcome::PutBack(took) => {
            _ = known.slowest_return.fetch_max(u64::try_from(took.as_millis()).expect("a moment"), SeqCst);
        }
        Outcome::Hangup => kill(host, Signal::HUP),
    }
}
