//! What a guest calls of the host takes the guest's time and nobody else's, however much is asked
//! for by one call.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::guests::{Guest, root};
use crate::harness::observe::until;
use crate::harness::{Client, DEADLINE, Folder, Wharf, answer, answers, ask, fixture};
use crate::sessions::programs::both;

/// The fixture of WASI 0.2 with this length.
fn of_wasi_0_2(name: &str, length: usize) -> Guest {
    let path = root().join(format!("tests/guests/{name}.wat"));
    Guest::wat(std::fs::read_to_string(path).expect("a fixture").replace("LENGTH", &length.to_string()))
}

/// The guests that do the worst by one call, each in all its forms, and what its end is called.
fn worst() -> Vec<(String, Guest, &'static str)> {
    let mut guests = vec![
        ("prints-as-handler".to_owned(), fixture("hostile/prints_at_once"), "cpu: "),
        ("random-as-handler".to_owned(), fixture("hostile/asks_for_much_randomness"), "cpu: "),
        ("random-of-0-2".to_owned(), of_wasi_0_2("wasi_0_2_randomness", 16 << 20), "cpu: "),
        ("waits-of-0-2".to_owned(), of_wasi_0_2("wasi_0_2_waits", 1000), "cpu: "),
    ];
    let [(_, copies), _] = both("copies");
    guests.push(("copies-as-module".to_owned(), copies, "cpu: "));
    for name in ["prints", "randomness"] {
        guests.extend(both(name).map(|(form, guest)| (format!("{name}-as-{form}"), guest, "cpu: ")));
    }
    guests
}

/// Settings, the last of them timeouts.
const AT_LEISURE: &str = "memory = '128MiB'\n[[grants.dirs]]\nhost = '.'\nguest = '/'\naccess = 'read-write'\n\
                          [timeouts]\nsetup = '1h'\nhandle = '1h'\n";

/// What no neighbour waits for, on however busy a machine: four calls without a bound have him wait
/// for three times as long.
const PROMPT: Duration = Duration::from_secs(10);

/// The longest of twenty waits for an answer.
fn longest_wait(address: SocketAddr) -> Duration {
    let wait = || {
        let asked = Instant::now();
        assert_eq!(ask(address, "x"), answer("A"));
        asked.elapsed()
    };
    (0..20).map(|_| wait()).max().unwrap_or_default()
}

#[test]
fn neighbours_are_answered_while_guests_have_the_host_work_for_them() {
    for (name, guest, cause) in worst() {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A"));
        folder.plugin(&name, &guest);
        folder.settings(&name, &format!("[limits]\ncpu = '300ms'\n{AT_LEISURE}"));
        let wharf = Wharf::serve(&folder);
        let (address, calm) = (wharf.address(&name), wharf.address("answers"));
        let alone = longest_wait(calm);
        let sessions: Vec<Client> = (0..4)
            .map(|_| {
                let mut client = Client::connect(address);
                client.send("!!");
                client
            })
            .collect();
        let beside = longest_wait(calm);
        assert!(beside < PROMPT + 20 * alone, "{name}: {beside:?}, and {alone:?} alone");
        for session in sessions {
            let cause = format!("cause=\"{cause}");
            wharf.logs(&["session failed", &session.name(), "phase=handle", &cause]);
            session.sees_the_end();
        }
        wharf.stop();
    }
}

#[test]
fn a_stop_waits_for_no_call_of_a_guest_to_end() {
    for (name, guest, _) in worst() {
        let folder = Folder::new();
        folder.plugin(&name, &guest);
        folder.settings(&name, &format!("[limits]\ncpu = '1h'\n{AT_LEISURE}drain = '100ms'"));
        let mut wharf = Wharf::serve(&folder);
        let address = wharf.address(&name);
        let _sessions: Vec<Client> = (0..4)
            .map(|_| {
                let mut client = Client::connect(address);
                client.send("!!");
                client
            })
            .collect();
        until("all four are at it", || {
            wharf.signal(Signal::USR1);
            wharf.log().iter().any(|line| line.contains(" counted sessions=4 "))
        });
        wharf.signal(Signal::TERM);
        wharf.says("draining 4");
        wharf.says("stopped");
        assert_eq!(wharf.ended(), 0, "{name}");
        // A host goes without those that do not end in their time.
        let log = wharf.log();
        assert!(!log.iter().any(|line| line.contains("did not end at the drain deadline")), "{name}: {log:#?}");
    }
}

#[test]
fn who_is_sent_much_at_once_shares_the_thread_with_others() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    for (form, guest) in both("pours") {
        folder.plugin(form, &guest);
    }
    let wharf = Wharf::serve(&folder);
    let calm = wharf.address("answers");
    let [module, component] = ["module", "component"].map(|form| wharf.address(form));
    let alone = longest_wait(calm);
    let readers: Vec<_> = [module, component, module, component]
        .map(|address| {
            let mut stream = TcpStream::connect(address).expect("connect");
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                let mut left = 200_usize << 20;
                while left > 0 {
                    let read = stream.read(&mut buffer).expect("bytes come");
                    assert!(read > 0, "the end came {left} bytes too early");
                    left = left.saturating_sub(read);
                }
            })
        })
        .into();
    while readers.iter().any(|reader| !reader.is_finished()) {
        let beside = longest_wait(calm);
        assert!(beside < PROMPT + 20 * alone, "{beside:?}, and {alone:?} alone");
    }
    readers.into_iter().for_each(|reader| reader.join().expect("it read its bytes"));
    wharf.stop();
}

#[test]
fn what_one_call_may_ask_for_has_a_bound() {
    let folder = Folder::new();
    folder.plugin("random", &of_wasi_0_2("wasi_0_2_randomness", (64 << 20) + 1));
    folder.plugin("waits", &of_wasi_0_2("wasi_0_2_waits", 100_000));
    let wharf = Wharf::serve(&folder);
    for (plugin, cause) in [("random", "trap: more than 67108864 bytes"), ("waits", "resources: ")] {
        let client = Client::connect(wharf.address(plugin));
        wharf.logs(&["session failed", &client.name(), "phase=handle", &format!("cause=\"{cause}")]);
        client.sees_the_end();
    }
    wharf.stop();
}

#[test]
fn a_program_whose_client_has_gone_is_ended_as_by_sigpipe() {
    let folder = Folder::new();
    for name in ["reads_for_ever", "writes_for_ever"] {
        for (form, guest) in both(name) {
            folder.plugin(&format!("{name}-{form}"), &guest);
        }
    }
    let wharf = Wharf::serve(&folder);
    for name in ["reads_for_ever", "writes_for_ever"] {
        for form in ["module", "component"] {
            let plugin = format!("{name}-{form}");
            let mut client = Client::connect(wharf.address(&plugin));
            let said = client.name();
            client.send("x");
            if name == "writes_for_ever" {
                client.hears("all work and no play\n");
                client.resets();
            } else {
                client.ends();
            }
            wharf.logs(&[
                "session failed",
                &said,
                "phase=handle",
                "cause=\"broken-pipe: 10000 reads and writes in a row",
            ]);
        }
    }
    wharf.stop();
}
