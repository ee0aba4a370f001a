//! A new host binary in the place of the one that serves: nobody is refused, reset or answered
//! wrongly, and what can't take over changes nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::{Pid, Signal};

use crate::harness::binary::Binary;
use crate::harness::guests::{shipped, stays};
use crate::harness::observe::{kill, until};
use crate::harness::{
    Client, DatagramClient, Family, Folder, Launch, Successor, Wharf, answer, answers, ask, ask_url, fixture,
    in_every_mode,
};

/// The file that a process runs.
fn program_of(pid: Pid) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).expect("it runs")
}

in_every_mode! {
    concurrencies:
        sessions_end_in_the_host_they_began_in;
}

#[test]
fn clients_notice_nothing_of_several_upgrades() {
    const UPGRADES: usize = 4;
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let unix = Family::Unix.address(&folder, "upper");
    folder.manifest("upper", &format!("listen = ['{unix}', 'tcp://127.0.0.1:0']")).plugin("upper", &shipped("upper"));
    let unixgram = Family::Unixgram.address(&folder, "udp");
    folder
        .manifest("udp", &format!("listen = ['udp://127.0.0.1:0', '{unixgram}']"))
        .plugin("udp", &shipped("upper-udp"));
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let answering = wharf.address("answers");
    let upper: Vec<String> = (0..2).map(|_| wharf.url("upper")).collect();
    let datagrams: Vec<String> = (0..2).map(|_| wharf.url("udp")).collect();

    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut successors = Vec::new();
    thread::scope(|scope| {
        let again = |exchange: &dyn Fn()| {
            while !done.load(Ordering::SeqCst) {
                exchange();
                served.fetch_add(1, Ordering::SeqCst);
            }
        };
        let mut clients = Vec::new();
        for _ in 0..2 {
            clients.push(scope.spawn(move || again(&|| assert_eq!(ask(answering, "x"), answer("A")))));
            for url in &upper {
                clients.push(scope.spawn(move || again(&|| assert_eq!(ask_url(url, "hello"), "HELLO"))));
            }
            for url in &datagrams {
                clients.push(scope.spawn(move || {
                    let client = DatagramClient::to(url);
                    again(&|| {
                        client.send("hello").hears("HELLO");
                    });
                }));
            }
        }
        // A client's panic has to end the others, not to wait for them.
        let stop = Stop(&done);
        for number in 1..=UPGRADES {
            binary.replace();
            signal_last(&wharf, &successors, Signal::USR2);
            successors.push(wharf.upgraded());
            assert_eq!(program_of(successors[number - 1].pid()), binary.path(), "the new file runs");
            let before = served.load(Ordering::SeqCst);
            while served.load(Ordering::SeqCst) < before + clients.len() {
                assert!(clients.iter().all(|client| !client.is_finished()), "a client failed");
                thread::yield_now();
            }
        }
        drop(stop);
    });
    assert_eq!(wharf.exited(), 0, "the first had nothing left to do");
    signal_last(&wharf, &successors, Signal::TERM);
    wharf.all_ended();
    let count = |word: &str| wharf.events().iter().filter(|line| line.split(' ').next() == Some(word)).count();
    assert_eq!(count("listening"), 5 * (UPGRADES + 1), "each says where it listens");
    assert_eq!((count("closed"), count("draining"), count("stopped")), (5, 1, 1), "only the last one stops");
    let mut addresses: Vec<String> = wharf.events().into_iter().filter(|line| line.starts_with("listening ")).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 5, "at the same addresses each time: {addresses:#?}");
    for url in [unix, unixgram] {
        let path = url.split_once("://").expect("a URL").1;
        assert!(!Path::new(path).exists(), "the last one removed its file");
    }
}

#[test]
fn clients_that_mean_harm_stop_no_upgrade_and_cost_nobody_else_an_answer() {
    const UPGRADES: usize = 2;
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    for hostile in ["spins_in_handle", "eats_memory", "traps_in_handle"] {
        folder.settings(
            hostile,
            "max-connections = 8\nlimits.cpu = '100ms'\ntimeouts.drain = '200ms'\ntimeouts.idle = '300ms'",
        );
        folder.plugin(hostile, &fixture(hostile));
    }
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let address = wharf.address("answers");
    let bad = ["spins_in_handle", "eats_memory", "traps_in_handle"].map(|plugin| wharf.address(plugin));
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut successors = Vec::new();
    thread::scope(|scope| {
        let again = |exchange: &dyn Fn()| {
            while !done.load(Ordering::SeqCst) {
                exchange();
            }
        };
        let served = &served;
        let good = scope.spawn(move || {
            again(&|| {
                assert_eq!(ask(address, "x"), answer("A"));
                served.fetch_add(1, Ordering::SeqCst);
            });
        });
        // Whatever becomes of these; a refused connection would be a fault all the same.
        for bad in bad {
            scope.spawn(move || again(&|| _ = Client::connect(bad).served("!", "")));
            scope.spawn(move || {
                again(&|| {
                    Client::connect(bad).resets();
                    Client::connect(address).resets();
                });
            });
            // These hold places, and say nothing until they are cut off.
            scope.spawn(move || again(&|| _ = Client::connect(bad).served("", "")));
        }
        let stop = Stop(&done);
        for _ in 0..UPGRADES {
            binary.replace();
            signal_last(&wharf, &successors, Signal::USR2);
            successors.push(wharf.upgraded());
            let before = served.load(Ordering::SeqCst);
            until("somebody is served by it", || {
                assert!(!good.is_finished(), "a client failed");
                served.load(Ordering::SeqCst) > before + 1
            });
        }
        drop(stop);
    });
    assert_eq!(wharf.exited(), 0);
    signal_last(&wharf, &successors, Signal::TERM);
    wharf.all_ended();
    let log = wharf.log();
    assert!(!log.iter().any(|line| line.contains("upgrade failed") || line.contains("ERROR")), "{log:#?}");
}

fn signal_last(wharf: &Wharf, successors: &[Successor], signal: Signal) {
    match successors.last() {
        Some(last) => last.signal(signal),
        None => wharf.signal(signal),
    }
}

/// Ends the clients' loops, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn sessions_end_in_the_host_they_began_in(concurrency: &str) {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", &format!("concurrency = '{concurrency}'"));
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let address = wharf.address("answers");
    let mut session = Client::connect(address);
    session.hears("A ");
    binary.replace();
    if concurrency == "process" {
        // A service manager may send it to all processes of a service.
        wharf.children().into_iter().for_each(|child| kill(child, Signal::USR2));
    }
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    assert_eq!(wharf.address("answers"), address, "the port is the same");
    assert_eq!(ask(address, "x"), answer("A"), "new ones are served by the successor");
    assert!(program_of(wharf.pid()).to_string_lossy().ends_with(" (deleted)"), "the old one is still there");
    session.send("go on");
    assert_eq!(session.rest(), "A A ");
    assert_eq!(wharf.exited(), 0, "{concurrency}");
    assert_eq!(ask(address, "x"), answer("A"));
    successor.signal(Signal::TERM);
    wharf.all_ended();
}

#[test]
fn sessions_that_a_stop_would_leave_behind_have_their_time() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", "concurrency = 'thread'\nblock-on-close = false");
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let mut session = Client::connect(wharf.address("answers"));
    session.hears("A ");
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    session.send("go on");
    assert_eq!(session.rest(), "A A ");
    assert_eq!(wharf.exited(), 0);
    successor.signal(Signal::TERM);
    wharf.all_ended();
}

#[test]
fn the_drain_deadline_holds_in_the_old_host() {
    let folder = Folder::new();
    folder.plugin("answers", &stays("A")).settings("answers", "[timeouts]\ndrain = '200ms'");
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let mut session = Client::connect(wharf.address("answers"));
    session.hears("A ");
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    wharf.logs(&["session failed", &session.name(), "phase=handle", "cause=\"drain: "]);
    session.sees_the_end();
    assert_eq!(wharf.exited(), 0);
    successor.signal(Signal::TERM);
    wharf.all_ended();
    assert!(wharf.events().iter().all(|line| line != "draining 1"), "the old one drains without a word");
}

#[test]
fn a_stop_of_the_host_that_drains_ends_it_at_once() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", "[timeouts]\ndrain = '1h'");
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let address = wharf.address("answers");
    let mut session = Client::connect(address);
    session.hears("A ");
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    wharf.signal(Signal::TERM);
    assert_eq!(wharf.exited(), 1);
    session.sees_the_end();
    assert_eq!(ask(address, "x"), answer("A"), "the successor has nothing to do with it");
    successor.signal(Signal::TERM);
    wharf.all_ended();
}

#[test]
fn a_unix_sockets_file_outlives_the_old_host() {
    for family in [Family::Unix, Family::Unixgram] {
        let folder = Folder::new();
        let plugin = shipped(if family == Family::Unix { "upper" } else { "upper-udp" });
        folder.manifest("upper", &family.listen(&folder, "upper")).plugin("upper", &plugin);
        let path = folder.parent().join("upper.sock");
        let binary = Binary::new();
        let mut wharf = binary.serve(&folder);
        let url = wharf.url("upper");
        let inode = fs::metadata(&path).expect("it is there").ino();
        wharf.signal(Signal::USR2);
        let first = wharf.upgraded();
        assert_eq!(wharf.exited(), 0);
        first.signal(Signal::USR2);
        let second = wharf.upgraded();
        match family {
            Family::Unix => assert_eq!(ask_url(&url, "hello"), "HELLO"),
            _ => {
                DatagramClient::to(&url).send("hello").hears("HELLO");
            }
        }
        assert_eq!(fs::metadata(&path).expect("it is there").ino(), inode);
        second.signal(Signal::TERM);
        wharf.all_ended();
        assert!(!path.exists(), "it goes with the last one");
    }
}

#[test]
fn an_address_that_is_wanted_no_more_is_closed_at_the_end() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).file("wharf.toml", "rescan = '1h'");
    // The manifest is a link to a link: what is behind that changes out of any watcher's sight.
    let elsewhere = folder.parent().join("elsewhere");
    fs::create_dir(&elsewhere).expect("create a folder");
    let [one, two] = ["one", "two"].map(|name| format!("unix://{}", elsewhere.join(name).display()));
    let both = format!("listen = ['tcp://127.0.0.1:0', '{one}']");
    let change = |text: &str| {
        let version = elsewhere.join(format!("version-{}", text.len()));
        fs::create_dir(&version).expect("create a folder");
        fs::write(version.join("answers.toml"), text).expect("write");
        let _ = fs::remove_file(elsewhere.join("answers.toml"));
        symlink(version.join("answers.toml"), elsewhere.join("answers.toml")).expect("link");
    };
    change(&both);
    folder.remove("answers.toml");
    symlink(elsewhere.join("answers.toml"), folder.path().join("answers.toml")).expect("link");
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let urls = [wharf.url("answers"), wharf.url("answers")];
    let tcp = urls.iter().find(|url| url.starts_with("tcp://")).expect("it listens there");
    assert_eq!(ask_url(&one, "x"), answer("A"));

    change(&format!("listen = ['tcp://127.0.0.1:0',   '{two}']"));
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    assert_eq!(wharf.exited(), 0);
    assert_eq!(wharf.event("closed", "answers").url, one);
    for url in [tcp, &two] {
        assert_eq!(ask_url(url, "x"), answer("A"));
    }
    assert!(Client::try_dial(&one).is_err(), "nobody listens there");
    assert!(!elsewhere.join("one").exists(), "and its file is gone");
    successor.signal(Signal::TERM);
    wharf.all_ended();
}

#[test]
fn one_plugin_alone_is_upgraded_as_well_unless_its_requests_are_counted() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let plugin = folder.path().join("answers.wat");
    let run: [&std::ffi::OsStr; 4] =
        ["run".as_ref(), plugin.as_ref(), "--listen".as_ref(), "tcp://127.0.0.1:0".as_ref()];
    let binary = Binary::new();
    let mut wharf = Launch::program(&binary.path(), run).start();
    let address = wharf.address("answers");
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    assert_eq!(wharf.exited(), 0);
    assert_eq!(ask(address, "x"), answer("A"));
    successor.signal(Signal::TERM);
    wharf.all_ended();

    // At a start that would end it. One that serves goes on trying, and so does who takes its
    // place.
    let file = Family::Unix.address(&folder, "answers");
    folder.manifest("answers", &format!("listen = '{file}'"));
    let mut wharf = Launch::program(&binary.path(), &run[..2]).start();
    wharf.event("listening", "answers");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let other = taken.local_addr().expect("bound");
    folder.manifest("answers", &format!("listen = ['{file}', 'tcp://{other}']"));
    wharf.event("failed", "answers");
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    assert_eq!(wharf.url("answers"), file);
    wharf.event("failed", "answers");
    assert_eq!(wharf.exited(), 0);
    assert_eq!(ask_url(&file, "x"), answer("A"));
    drop(taken);
    assert_eq!(ask(wharf.address("answers"), "x"), answer("A"));
    successor.signal(Signal::TERM);
    wharf.all_ended();

    let wharf = Launch::program(&binary.path(), run).args(["--requests", "2"]).start();
    let address = wharf.address("answers");
    wharf.signal(Signal::USR2);
    wharf.logs(&["upgrade failed: this host serves on", "--requests"]);
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}

#[test]
fn a_command_of_the_search_path_is_found_again() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let binary = Binary::new();
    let path = std::env::join_paths(
        [binary.folder().to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").expect("set"))),
    );
    let launch = Launch::program(Path::new("wharf"), ["serve".as_ref(), folder.path()]);
    let mut wharf = launch.env("PATH", path.expect("it can be joined")).start();
    wharf.event("listening", "answers");
    binary.replace();
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    assert_eq!(program_of(successor.pid()), binary.path());
    assert_eq!(wharf.exited(), 0);
    successor.signal(Signal::TERM);
    wharf.all_ended();
}
