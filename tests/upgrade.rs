//! A new host binary in the place of the one that serves: nobody is refused, reset or answered wrongly, and what can't take
//! over changes nothing.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::guests::shipped;
use crate::harness::observe::{kill, sockets, until};
use crate::harness::{
    CONCURRENCIES, Client, DatagramClient, Family, Folder, Launch, Successor, Wharf, answer, answers, ask, ask_url,
    fixture,
};

/// The binary at a path where another can be put in its place.
struct Binary {
    folder: TempDir,
}

impl Binary {
    fn new() -> Self {
        let binary = Self { folder: tempfile::tempdir().expect("create a temporary folder") };
        binary.replace();
        binary
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("wharf")
    }

    /// Puts the binary there, a file of its own, by renaming.
    fn replace(&self) {
        self.put(|new| {
            fs::copy(env!("CARGO_BIN_EXE_wharf"), new).expect("copy the binary");
        });
    }

    /// Puts a shell script there that does this.
    fn replace_by_script(&self, script: &str) {
        self.put(|new| {
            fs::write(new, format!("#!/bin/sh\n{script}\n")).expect("write");
            fs::set_permissions(new, fs::Permissions::from_mode(0o755)).expect("make it executable");
        });
    }

    fn put(&self, make: impl Fn(&Path)) {
        let new = self.folder.path().join("new");
        make(&new);
        fs::rename(&new, self.path()).expect("rename it into place");
    }

    fn serve(&self, folder: &Folder) -> Wharf {
        Launch::program(&self.path(), ["serve".as_ref(), folder.path()]).start()
    }
}

/// The file that a process runs.
fn program_of(pid: Pid) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).expect("it runs")
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

#[test]
fn sessions_end_in_the_host_they_began_in() {
    for concurrency in CONCURRENCIES {
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
    folder.plugin("answers", &answers("A")).settings("answers", "[timeouts]\ndrain = '200ms'");
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

/// That an upgrade fails for a reason with all of these in it, that nobody notices, and that the next one succeeds.
#[track_caller]
fn serves_on(wharf: &Wharf, address: SocketAddr, parts: &[&str]) {
    let before = wharf.events();
    let mut session = Client::connect(address);
    session.hears("A ");
    wharf.signal(Signal::USR2);
    let line = wharf.logs(&["upgrade failed: this host serves on"]);
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
    session.send("go on");
    assert_eq!(session.rest(), "A A ");
    assert_eq!(ask(address, "x"), answer("A"));
    assert_eq!(wharf.events(), before, "stdout has nothing of it");
    assert!(wharf.children().is_empty(), "and no process is left");
}

#[test]
fn what_is_no_host_changes_nothing() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let address = wharf.address("answers");

    binary.replace_by_script("exit 1");
    serves_on(&wharf, address, &["ended before it was ready", "exit status: 1"]);
    binary.replace_by_script("kill -9 $$");
    serves_on(&wharf, address, &["ended before it was ready", "signal: 9"]);
    binary.put(|new| fs::write(new, "nonsense").expect("write"));
    serves_on(&wharf, address, &["can't be started", "ermission denied"]);
    fs::remove_file(binary.path()).expect("remove");
    serves_on(&wharf, address, &["can't be started", "No such file"]);

    binary.replace();
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    assert_eq!(wharf.exited(), 0);
    assert_eq!(ask(address, "x"), answer("A"));
    successor.signal(Signal::TERM);
    wharf.all_ended();
}

#[test]
fn a_successor_that_can_not_serve_the_same_changes_nothing() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).plugin("second", &answers("B"));
    let binary = Binary::new();
    let wharf = binary.serve(&folder);
    let (address, _) = (wharf.address("answers"), wharf.address("second"));

    // The one that serves has said so already, and goes by the old ones.
    folder.file("wharf.toml", "rescna = '1s'");
    wharf.logs(&["host-wide settings stay as they were", "rescna"]);
    serves_on(&wharf, address, &["ended before it was ready", "exit status: 2"]);
    wharf.logs(&["wharf.toml", "did you mean `rescan`"]);
    folder.remove("wharf.toml");

    folder.file("second.wat", "(component)");
    wharf.event("kept", "second");
    serves_on(&wharf, address, &["it refuses plugin second, which serves: "]);

    // Whatever the folder has by now: a plugin is taken away by removing it, not by an upgrade.
    fs::rename(folder.path(), folder.parent().join("away")).expect("rename");
    wharf.logs(&["the folder can't be read"]);
    serves_on(&wharf, address, &["it does not find plugin answers, which serves"]);
    wharf.stop();
}

#[test]
fn what_was_refused_before_stops_no_upgrade() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).file("nonsense.wasm", "nonsense");
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let address = wharf.address("answers");
    wharf.event("refused", "nonsense");
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    wharf.event("refused", "nonsense");
    assert_eq!(wharf.exited(), 0);
    assert_eq!(ask(address, "x"), answer("A"));
    successor.signal(Signal::TERM);
    wharf.all_ended();
}

/// Begins an upgrade to a program that does nothing; its process.
#[track_caller]
fn hanging(binary: &Binary, wharf: &Wharf) -> Pid {
    binary.replace_by_script("exec sleep 600");
    wharf.signal(Signal::USR2);
    begun(wharf)
}

/// Waits until an upgrade has begun; the new process.
#[track_caller]
fn begun(wharf: &Wharf) -> Pid {
    let line = wharf.logs(&["upgrade begun", "pid="]);
    let pid = line.split("pid=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    Pid::from_raw(pid.expect("a process's number")).expect("not 0")
}

#[test]
fn one_upgrade_at_a_time_and_the_operator_may_end_it() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let binary = Binary::new();
    let wharf = binary.serve(&folder);
    let address = wharf.address("answers");
    let pid = hanging(&binary, &wharf);
    wharf.signal(Signal::USR2);
    wharf.logs(&["an upgrade is under way already"]);
    assert_eq!(ask(address, "x"), answer("A"), "it serves meanwhile");
    // What changes meanwhile has to wait.
    folder.plugin("answers", &answers("B"));
    kill_process(pid, Signal::TERM).expect("it runs");
    wharf.logs(&["upgrade failed: this host serves on", "signal: 15"]);
    wharf.event("loaded", "answers");
    wharf.event("loaded", "answers");
    assert_eq!(ask(address, "x"), answer("B"));
    wharf.stop();
}

#[test]
fn a_stop_during_an_upgrade_ends_both() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let binary = Binary::new();
    let mut wharf = binary.serve(&folder);
    let address = wharf.address("answers");
    let mut session = Client::connect(address);
    session.hears("A ");
    hanging(&binary, &wharf);
    wharf.signal(Signal::TERM);
    wharf.says("draining 1");
    session.send("go on");
    assert_eq!(session.rest(), "A A ");
    wharf.says("stopped");
    assert_eq!(wharf.ended(), 0, "nobody else holds its stdout");
}

#[test]
fn a_successor_is_nothing_without_the_host_before_it() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let binary = Binary::new();
    let wharf = binary.serve(&folder);
    wharf.event("listening", "answers");
    // It comes too late: its parent is another by then.
    binary.replace_by_script(&format!(
        "while read -r pid name state parent rest < /proc/$$/stat && [ $parent = $WHARF_UPGRADE ]; do sleep 0.02; done
        exec {} \"$@\"",
        env!("CARGO_BIN_EXE_wharf")
    ));
    wharf.signal(Signal::USR2);
    wharf.logs(&["upgrade begun"]);
    let before = wharf.events();
    wharf.signal(Signal::KILL);
    wharf.logs(&["the running host's sockets can't be taken over", "is gone"]);
    wharf.all_ended();
    assert_eq!(wharf.events(), before);
}

#[test]
fn a_successor_that_is_left_alone_while_it_loads_ends() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let binary = Binary::new();
    let wharf = binary.serve(&folder);
    wharf.event("listening", "answers");
    folder.settings("spins", "limits.cpu = '1h'").plugin("spins", &fixture("spins_at_start"));
    wharf.signal(Signal::USR2);
    let successor = begun(&wharf);
    until("it has the listener", || !sockets(successor).is_disjoint(&sockets(wharf.pid())));
    let before = wharf.events();
    wharf.signal(Signal::KILL);
    wharf.logs(&["the running host did not give way"]);
    wharf.all_ended();
    assert_eq!(wharf.events(), before);
}

/// What says this to the host that started it, as a successor does, and ends; `!` waits until it is told to go.
fn impostor(binary: &Binary, says: &[&str]) {
    binary.replace_by_script(&format!(
        "exec python3 - 3<&0 <<'END'
import socket
host = socket.socket(fileno=3)
for said in {says:?}:
    if said == '!':
        while host.recv(1) != b'!': pass
    else:
        host.sendall(len(said).to_bytes(4, 'little') + said.encode())
END"
    ));
}

#[test]
fn a_successor_that_does_not_do_as_agreed_changes_nothing() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let file = Family::Unix.address(&folder, "answers");
    folder.manifest("answers", &format!("listen = ['tcp://127.0.0.1:0', '{file}']"));
    let binary = Binary::new();
    let wharf = binary.serve(&folder);
    let urls = [wharf.url("answers"), wharf.url("answers")];
    let tcp = urls.iter().find_map(|url| url.strip_prefix("tcp://")?.parse().ok()).expect("an address");
    let loaded = "news = 'loaded'\nplugin = 'answers'";
    let (ready, serving) = ("news = 'ready'", "news = 'serving'\ntaken = [0, 1, 7]");
    for (says, part) in [
        (vec![], "ended before it was ready, exit status: 0"),
        (vec!["nonsense"], "it can't be understood"),
        (vec!["news = 'unheard of'"], "it can't be understood"),
        (vec![loaded, ready, "!"], "ended before it was ready, exit status: 0"),
        (vec![loaded, serving], "it did not wait to be told"),
        (vec![ready], "it does not find plugin answers"),
        (vec!["news = 'refused'\nplugin = 'answers'\nreason = 'a\\nb'"], "refuses plugin answers"),
    ] {
        impostor(&binary, &says);
        serves_on(&wharf, tcp, &[part]);
        assert_eq!(ask_url(&file, "x"), answer("A"));
    }
    wharf.stop();
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

    // At a start that would end it. One that serves goes on trying, and so does who takes its place.
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
        [binary.folder.path().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").expect("set"))),
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
