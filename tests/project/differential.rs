//! Random handlers on the real binary, over real sockets, in every way that a session can be
//! served. Each client is answered as the handler's component answers it in a sandbox of its own.
//! `project::fuzzing::random_handlers_do_the_same_in_every_way_that_they_are_run` has many more of
//! them, without sockets.

use std::thread;

use wharf::fuzz::{Sample, concealed};

use crate::harness::guests::Guest;
use crate::harness::{Client, Family, Folder, Wharf};
use crate::project::fuzzing::Dice;

/// What each of its clients says, and what it is answered.
type Conversations = Vec<(Vec<u8>, Vec<u8>)>;

const PROGRAMS: usize = 16;
/// How often each session comes again, so that it finds what the others left, if they leave
/// anything.
const ROUNDS: usize = 5;

/// Programs that are plugins, and what their clients are to hear.
fn programs(seed: u64) -> Vec<(Sample, Conversations)> {
    let mut dice = Dice(seed);
    let mut programs = Vec::new();
    while programs.len() < PROGRAMS {
        let data: Vec<u8> = (0..2000 + dice.below(2000)).map(|_| dice.next() as u8).collect();
        let mut program = Sample::plain(&data);
        if let Some(conversations) = program.conversations() {
            programs.push((program, conversations));
        }
    }
    programs
}

/// All sessions of all programs, several times, by two clients at once; `concurrency` and
/// `instance` are as in a manifest.
fn served(seed: u64, settings: &str) {
    let programs = programs(seed);
    let folder = Folder::new();
    for (number, (program, _)) in programs.iter().enumerate() {
        let name = format!("random-{number}");
        let listen = Family::Unix.listen(&folder, &name);
        folder.manifest(&name, &format!("{listen}{}{settings}", program.settings()));
        folder.plugin(&name, &Guest::wasm(program.wasm()));
    }
    let wharf = Wharf::serve(&folder);
    let urls: Vec<String> = (0..PROGRAMS).map(|number| wharf.url(&format!("random-{number}"))).collect();
    thread::scope(|scope| {
        for client in 0..2 {
            let (programs, urls) = (&programs, &urls);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    for ((program, conversations), url) in programs.iter().zip(urls) {
                        for session in 0..conversations.len() {
                            // Each round in another order.
                            let session = (session * (client + 1) + round) % conversations.len();
                            let (said, expected) = &conversations[session];
                            let mut client = Client::dial(url);
                            client.send(said).ends();
                            let heard = concealed(client.heard(8 << 20));
                            assert!(
                                heard == *expected,
                                "WHARF_SEED={seed}, session {session}, round {round}: heard {heard:?}, not {expected:?}, of {}\n{}",
                                program.name(),
                                program.text()
                            );
                        }
                    }
                }
            });
        }
    });
    wharf.stop();
}

fn seed() -> u64 {
    std::env::var("WHARF_SEED").map_or(2026, |text| text.parse().expect("WHARF_SEED is a number"))
}

#[test]
fn random_handlers_answer_over_sockets_as_their_components_do() {
    served(seed(), "");
}

#[test]
fn random_handlers_answer_in_threads_and_in_processes_as_their_components_do() {
    served(seed() + 1, "concurrency = 'thread'\n");
    served(seed() + 2, "concurrency = 'process'\n");
}
