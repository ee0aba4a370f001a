//! Nothing of one session is left for another to find: not in memory, tables, globals or buffers,
//! however instances are allocated. The one exception is what `instance = "reused"` promises: the
//! plugin's own state, for the plugin itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::harness::guests::Guest;
use crate::harness::{Client, Family, Folder, Wharf, fixture};

/// How many elements a table of the small profile has here, and how many are more than fit into it.
const SMALL: usize = 64;
const LARGE: usize = 5000;

/// The fixture with so many elements in its table, and another fixture for each name.
fn looks_for_residue(name: &str, elements: usize) -> Guest {
    let Guest { bytes, .. } = fixture("hostile/looks_for_residue");
    let text = String::from_utf8(bytes).expect("WAT is text").replace("ELEMENTS", &elements.to_string());
    // Another module to wasmtime, and other bytes to begin with.
    Guest::wat(text.replacen("(data $bytes ", &format!("(data (i32.const 64) \"{name}\") (data $bytes "), 1))
}

/// A host for few sessions at once, so that each place in its pool is used again and again.
fn serving(plugins: &[(&str, usize, &str)]) -> (Folder, Wharf, Vec<String>) {
    let folder = Folder::new();
    folder.file("wharf.toml", "max-connections = 8");
    for (name, elements, settings) in plugins {
        let listen = Family::Unix.listen(&folder, name);
        folder.manifest(name, &format!("{listen}{settings}")).plugin(name, &looks_for_residue(name, *elements));
    }
    let wharf = Wharf::serve(&folder);
    let urls = plugins.iter().map(|(name, ..)| wharf.url(name)).collect();
    (folder, wharf, urls)
}

/// One session with this secret: how much it found of others, and the checksum of what it was made
/// with.
fn session(url: &str, secret: u64) -> (u64, u64) {
    let mut client = Client::dial(url);
    client.send(secret.to_le_bytes());
    let heard = client.heard(16);
    assert_eq!(heard.len(), 16, "it answers");
    // Its instance is gone, or free for the next, before its connection ends.
    assert_eq!(client.rest(), "");
    let word = |at: usize| u64::from_le_bytes(heard[at..at + 8].try_into().expect("8 bytes"));
    (word(0), word(8))
}

/// Bytes that nobody has by chance: the splitmix64 of a number.
fn secret(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[test]
fn no_session_finds_anything_of_another_in_a_hundred_thousand() {
    const SESSIONS: u64 = 100_000;
    const CLIENTS: u64 = 4;
    // Of ten sessions four are of one plugin of the small profile, four of another, and two of one
    // of the large profile.
    const TURNS: [usize; 10] = [0, 1, 0, 1, 2, 1, 0, 1, 0, 2];
    let plugins = [("first", SMALL, ""), ("second", SMALL, "instance = 'fresh'"), ("large", LARGE, "")];
    let (_folder, wharf, urls) = serving(&plugins);
    let made_with: Vec<u64> = urls.iter().map(|url| session(url, secret(SESSIONS)).1).collect();
    assert!(made_with[0] != made_with[1], "the checksum tells plugins apart");
    let number = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = number.fetch_add(1, Relaxed);
                    if number >= SESSIONS {
                        return;
                    }
                    let plugin = TURNS[number as usize % TURNS.len()];
                    let (found, sum) = session(&urls[plugin], secret(number));
                    assert_eq!(found, 0, "session {number} of {} found what another left", plugins[plugin].0);
                    assert_eq!(sum, made_with[plugin], "session {number}: its texts are not as they were");
                }
            });
        }
    });
    assert!(!wharf.log().iter().any(|line| line.contains("session failed")), "nor was anything dropped before it");
    wharf.stop();
}

#[test]
fn a_reused_instance_has_its_own_state_and_nothing_of_another_plugin() {
    let (_folder, wharf, urls) = serving(&[
        ("reused", SMALL, "instance = 'reused'\nreuse.max-requests = 3"),
        ("fresh", SMALL, ""),
        ("reused-large", LARGE, "instance = 'reused'\nreuse.max-requests = 3"),
    ]);
    for round in 0..300 {
        for reused in [&urls[0], &urls[2]] {
            for request in 0..3 {
                let client = || session(reused, secret(round * 3 + request));
                // The fixture can find what it looks for: what the same instance left, and as often
                // as it may.
                assert_eq!(client().0 > 0, request > 0, "request {request} of an instance, round {round}");
                assert_eq!(session(&urls[1], secret(round)).0, 0, "another plugin's, round {round}");
            }
        }
    }
    wharf.stop();
}

#[test]
fn nothing_is_left_of_a_session_that_trapped() {
    const TRAPS: u64 = u64::MAX;
    let (_folder, wharf, urls) = serving(&[("reused", SMALL, "instance = 'reused'"), ("large", LARGE, "")]);
    for round in 0..200 {
        for url in &urls {
            session(url, TRAPS);
            assert_eq!(session(url, secret(round)).0, 0, "round {round}");
        }
    }
    wharf.logs(&["session failed", "plugin=reused", "phase=handle", "cause=\"trap: "]);
    wharf.stop();
}
