//! Fresh sandboxes that are put back into their first state rather than made anew: nothing tells
//! one from the other. And guests whose client is quiet, whose memory is packed: they find it as it
//! was.

use std::path::Path;
use std::thread;

use wit_component::ComponentEncoder;

use crate::harness::guests::{Guest, example, fixture_as_module, rust, shipped, toolchain};
use crate::harness::observe::until;
use crate::harness::{Client, Family, Folder, Launch, Scene, Wharf, answers};

/// What `wharf check` says of a plugin's sandboxes.
fn sandbox(guest: &Guest) -> String {
    let folder = Folder::new();
    folder.plugin("guest", guest);
    let file = folder.path().join("guest").with_extension(guest.extension);
    let mut wharf = Launch::new([Path::new("check"), &file]).own_cache().start();
    assert_eq!(wharf.ended(), 0);
    let said =
        wharf.events().into_iter().find_map(|line| Some(line.trim().strip_prefix("sandbox ")?.trim().to_owned()));
    said.expect("a line about sandboxes")
}

const PUT_BACK: &str = "put back after each request";
const MADE: &str = "made for each request";

#[test]
fn those_whose_state_is_known_are_put_back_and_all_others_are_made_anew() {
    // What Rust's std asks of the host depends on who built it.
    let by_rust = match toolchain().as_str() {
        "debian" => PUT_BACK,
        // It imports WASI 0.2.
        "rustup" => MADE,
        other => panic!("a wasm toolchain {other}"),
    };
    for name in ["echo", "frames"] {
        assert_eq!(sandbox(&shipped(name)), by_rust, "{name}, built by {}'s toolchain", toolchain());
    }
    for guest in [example("lines"), rust("stream-request")] {
        assert_eq!(sandbox(&guest), by_rust, "built by {}'s toolchain", toolchain());
    }
    assert_eq!(sandbox(&fixture_as_module("answers")), PUT_BACK);
    // It can change its tables; it has hooks; it is two modules.
    for guest in [fixture_as_module("hostile/fills_table"), rust("hooks"), answers("A")] {
        assert_eq!(sandbox(&guest), MADE);
    }
}

#[test]
fn one_whose_wasi_answers_by_itself_is_not_given_the_hosts() {
    let module = fixture_as_module("closes_stdout");
    assert_eq!(sandbox(&module), PUT_BACK, "the adapter is the host's own");
    let adapter = "(module (func (export \"fd_close\") (param i32) (result i32) (i32.const 7)))";
    let component = ComponentEncoder::default()
        .module(&module.assembled().bytes)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", &wat::parse_str(adapter).expect("WAT")))
        .and_then(|mut encoder| encoder.encode())
        .expect("a component");
    let component = Guest::wasm(component);
    assert_eq!(sandbox(&component), MADE);
    let scene = Scene::of("guest", &component).over(Family::Unix).serve();
    scene.client().send("x").hears("7").ends();
    scene.stop();
}

/// One session with this secret: how much it found of others.
fn found(url: &str, secret: u64) -> u64 {
    let mut client = Client::dial(url);
    client.send(secret.to_le_bytes());
    let found = client.heard(8);
    assert_eq!(client.rest(), "");
    u64::from_le_bytes(found.try_into().expect("8 bytes"))
}

const TRAPS: u64 = u64::MAX;
const FAILS: u64 = u64::MAX - 1;

#[test]
fn nothing_of_a_session_is_left_in_a_sandbox_that_was_put_back() {
    let guest = fixture_as_module("leaves_traces");
    assert_eq!(sandbox(&guest), PUT_BACK);
    let scene = Scene::of("guest", &guest).over(Family::Unix).with("limits.memory = '448KiB'").serve();
    thread::scope(|scope| {
        for client in 0..4_u64 {
            let url = &scene.url;
            scope.spawn(move || {
                for session in 0..500 {
                    // Odd ones do not grow, and are not to see that the one before did.
                    let secret = match session % 50 {
                        30 => TRAPS,
                        40 => FAILS,
                        _ => client << 32 | 0xa5a5_0000 | session,
                    };
                    assert_eq!(found(url, secret), 0, "session {session} found what another left");
                }
            });
        }
    });
    scene.logs(&["session failed", "phase=handle", "cause=\"trap: "]);
    scene.logs(&["session failed", "phase=handle", "cause=\"error: failed"]);
    scene.stop();
    // The fixture can find what it looks for.
    let scene = Scene::of("guest", &guest).over(Family::Unix).with("instance = 'reused'").serve();
    assert_eq!(found(&scene.url, 1), 0);
    assert!(found(&scene.url, 1) > 10_000, "an instance that is reused has what it left");
    scene.stop();
}

#[test]
fn each_session_is_initialised_once() {
    let scene = Scene::of("guest", &fixture_as_module("initializes")).over(Family::Unix).serve();
    for _ in 0..5 {
        scene.client().send("x").hears("1").ends();
    }
    scene.stop();
    let scene =
        Scene::of("guest", &fixture_as_module("initializes")).over(Family::Unix).with("instance = 'reused'").serve();
    for _ in 0..5 {
        scene.client().send("x").hears("1").ends();
    }
    scene.stop();
}

#[test]
fn what_a_session_did_to_its_wasi_is_no_other_ones() {
    let guest = fixture_as_module("closes_stdout");
    let scene = Scene::of("guest", &guest).over(Family::Unix).serve();
    for _ in 0..5 {
        scene.client().send("x").hears("0").ends();
    }
    scene.stop();
    // The fixture can tell: 8 is EBADF.
    let scene = Scene::of("guest", &guest).over(Family::Unix).with("instance = 'reused'").serve();
    let mut said = Vec::new();
    for _ in 0..3 {
        let mut client = scene.client();
        client.send("x");
        said.extend(client.heard(1));
        assert_eq!(client.rest(), "");
    }
    assert_eq!(said, b"088");
    scene.stop();
}

#[test]
fn a_quiet_guest_holds_little_and_finds_its_memory_as_it_was() {
    const CLIENTS: usize = 200;
    let scene = Scene::of("guest", &fixture_as_module("remembers")).over(Family::Unix).serve();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| scene.client()).collect();
    let mut sums = [0_u32; CLIENTS];
    let mut message = |clients: &mut [Client], round: u8| {
        for (number, client) in clients.iter_mut().enumerate() {
            let byte = (number as u8).wrapping_mul(31).wrapping_add(round);
            sums[number] += u32::from(byte);
            client.send([byte]).hears(sums[number].to_le_bytes());
        }
    };
    // 20 places in as many pages, some of them in memory that was grown.
    for round in 0..20 {
        message(&mut clients, round);
    }
    let awake = scene.status("VmRSS");
    for round in 20..23 {
        until("their memory is given back", || scene.status("VmRSS") + (CLIENTS * 60) as u64 <= awake);
        message(&mut clients, round);
        assert!(scene.status("VmRSS") + (CLIENTS * 30) as u64 > awake, "it is theirs again");
    }
    scene.stop();
}

#[test]
fn a_guest_may_be_stopped_while_its_memory_is_packed() {
    let folder = Folder::new();
    let listen = Family::Unix.listen(&folder, "guest");
    folder
        .manifest("guest", &format!("{listen}timeouts.handle = '5s'"))
        .plugin("guest", &fixture_as_module("remembers"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("guest");
    let mut clients: Vec<Client> = (0..100).map(|_| Client::dial(&url)).collect();
    for client in &mut clients {
        client.send([7]).hears(7_u32.to_le_bytes());
    }
    let awake = wharf.status("VmRSS");
    // Two pages each, and a little that the host takes meanwhile.
    until("their memory is given back", || wharf.status("VmRSS") + 100 * 6 <= awake);
    for client in clients {
        assert_eq!(client.rest(), "");
    }
    wharf.logs(&["session failed", "phase=handle", "cause=\"timeout: "]);
    wharf.stop();
}
