//! Granted folders, against plugins that do to their files what they may: a grant stays the folder
//! that the operator granted, and file work that does not come to its end is its own plugin's
//! trouble.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::harness::guests::answers;
use crate::harness::observe::until;
use crate::harness::{Client, Folder, Wharf, ask, fixture};

const WAYS: [&str; 3] = ["task", "thread", "process"];

fn grant(host: &str, access: &str) -> String {
    format!("[[grants.dirs]]\nhost = '{host}'\nguest = '/{host}'\naccess = 'read-{access}'\n")
}

/// A folder in the plugin folder, with a file `notes` in it that says this.
fn notes(folder: &Folder, name: &str, text: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(&path).expect("create a folder");
    fs::write(path.join("notes"), text).expect("write");
}

#[test]
fn a_grant_within_another_stays_the_folder_that_was_granted() {
    for way in WAYS {
        let folder = Folder::new();
        notes(&folder, "data/sub", "inside");
        notes(&folder, "outside", "of the host");
        let way = format!("concurrency = '{way}'\n");
        folder.plugin("both", &fixture("moves"));
        folder.settings("both", &format!("{way}{}{}", grant("data", "write"), grant("data/sub", "only")));
        folder.plugin("other", &fixture("moves")).settings("other", &format!("{way}{}", grant("data/sub", "only")));
        let wharf = Wharf::serve(&folder);
        let [both, other] = ["both", "other"].map(|plugin| wharf.address(plugin));
        assert_eq!(ask(both, "r4-notes\0"), "inside");
        assert_eq!(ask(both, "m33sub\0gone"), "errno 00", "it may");
        assert_eq!(ask(both, "s-3../outside\0sub"), "errno 00", "it may");
        assert!(folder.path().join("data/sub").is_symlink());
        let stays = || {
            assert_eq!(ask(both, "r4-notes\0"), "inside", "{way}");
            assert_eq!(ask(other, "r3-notes\0"), "inside", "{way}");
        };
        stays();
        // Nor when the manifests are read again: the link is none of the operator's.
        wharf.event("loaded", "both");
        wharf.event("loaded", "other");
        wharf.signal(Signal::HUP);
        for plugin in ["both", "other"] {
            let kept = wharf.event("kept", plugin);
            assert!(
                kept.reason.contains("is a link on the way") && kept.reason.contains("read-write"),
                "{}",
                kept.reason
            );
        }
        stays();
        wharf.stop();
    }
}

#[test]
fn a_folder_that_the_operator_replaced_is_granted_from_the_next_reload_on() {
    for way in WAYS {
        let folder = Folder::new();
        notes(&folder, "releases/1", "first");
        notes(&folder, "releases/2", "second");
        notes(&folder, "data", "old");
        let current = folder.path().join("current");
        symlink("releases/1", &current).expect("link");
        folder.plugin("reads", &fixture("moves"));
        // A link of the operator's own is no obstacle.
        let grants = format!("{}{}", grant("data", "only"), grant("current", "only"));
        folder.settings("reads", &format!("concurrency = '{way}'\n{grants}"));
        let wharf = Wharf::serve(&folder);
        let address = wharf.address("reads");
        wharf.event("loaded", "reads");
        let read = || [ask(address, "r3-notes\0"), ask(address, "r4-notes\0")];
        assert_eq!(read(), ["old", "first"]);
        fs::rename(folder.path().join("data"), folder.path().join("before")).expect("rename");
        notes(&folder, "data", "new");
        symlink("releases/2", folder.path().join("next")).expect("link");
        fs::rename(folder.path().join("next"), &current).expect("rename");
        assert_eq!(read(), ["old", "first"], "{way}");
        wharf.signal(Signal::HUP);
        wharf.event("loaded", "reads");
        assert_eq!(read(), ["new", "second"], "{way}");
        wharf.stop();
    }
}

#[test]
fn links_and_renames_between_grants_widen_none_of_them() {
    for way in WAYS {
        let folder = Folder::new();
        notes(&folder, "ro", "read me");
        notes(&folder, "rw", "write me");
        notes(&folder, "outside", "of the host");
        folder.plugin("moves", &fixture("moves"));
        let grants = format!("{}{}", grant("ro", "only"), grant("rw", "write"));
        folder.settings("moves", &format!("concurrency = '{way}'\n{grants}"));
        let wharf = Wharf::serve(&folder);
        let address = wharf.address("moves");
        for question in [
            "h34notes\0stolen",
            "h43notes\0planted",
            "h33notes\0twice",
            "m34notes\0stolen",
            "m43notes\0planted",
            "h44../outside/notes\0stolen",
            "h44notes\0../outside/planted",
            "m44../outside/notes\0stolen",
            "m44notes\0../outside/planted",
            "s-3notes\0planted",
        ] {
            let answer = ask(address, question);
            assert!(answer.starts_with("errno ") && answer != "errno 00", "{way}: {question}: {answer}");
        }
        // Within one folder it may, and a link to a link that leads out is one that leads out.
        assert_eq!(ask(address, "h44notes\0twice"), "errno 00");
        assert_eq!(ask(address, "s-4../outside/notes\0out"), "errno 00");
        assert_eq!(ask(address, "h44out\0out_again"), "errno 00");
        for question in ["r4-out\0", "r4-out_again\0"] {
            let answer = ask(address, question);
            assert!(answer.starts_with("errno ") && answer != "errno 00", "{way}: {question}: {answer}");
        }
        let names = |of: &str| fs::read_dir(folder.path().join(of)).expect("it is there").count();
        assert_eq!(["ro", "outside", "rw"].map(names), [1, 1, 4]);
        wharf.stop();
    }
}

#[test]
fn what_is_neither_file_nor_folder_is_not_opened() {
    for way in WAYS {
        let folder = Folder::new();
        notes(&folder, "data", "buy milk");
        let data = folder.path().join("data");
        mknodat(CWD, data.join("fifo"), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
        let _socket = UnixListener::bind(data.join("socket")).expect("a socket");
        symlink("fifo", data.join("link")).expect("link");
        symlink("around", data.join("around")).expect("link");
        folder.plugin("looks", &fixture("looks_around"));
        folder.settings("looks", &format!("concurrency = '{way}'\n{}", grant("data", "write")));
        let wharf = Wharf::serve(&folder);
        let address = wharf.address("looks");
        let children = if way == "process" { 30 } else { 600 };
        let waiting: Vec<Client> = (0..children)
            .map(|_| {
                let mut client = Client::connect(address);
                client.send("r fifo");
                client
            })
            .collect();
        for client in waiting {
            assert_eq!(client.rest(), "errno 58", "{way}");
        }
        for question in ["w fifo", "r link", "r socket"] {
            assert_eq!(ask(address, question), "errno 58", "{way}: {question}");
        }
        assert_eq!(ask(address, "r around"), "errno 32", "a loop of links");
        assert_eq!(ask(address, "r notes"), "buy milk", "{way}");
        wharf.stop();
    }
}

/// Somebody who holds a lease on a file: until it ends, nobody's open of that file does. The kernel
/// breaks it after 45 s.
struct Lease(Child);

impl Lease {
    fn on(file: &Path) -> Self {
        const HOLD: &str = "import fcntl, os, signal, sys\n\
            signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
            file = os.open(sys.argv[1], os.O_RDWR)\n\
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
            print('held', flush=True)\n\
            sys.stdin.read()\n";
        let mut python = Command::new("python3");
        let python = python.args(["-c", HOLD]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut python = python.expect("python3 runs");
        let mut line = String::new();
        let said = python.stdout.take().expect("it is piped");
        BufReader::new(said).read_line(&mut line).expect("it says something");
        assert_eq!(line, "held\n", "this file system has leases");
        Self(python)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long the kernel lets somebody hold on to a lease.
fn lease_time() -> Duration {
    let text = fs::read_to_string("/proc/sys/fs/lease-break-time").expect("the kernel tells");
    Duration::from_secs(text.trim().parse().expect("a number"))
}

#[test]
fn file_work_that_waits_keeps_no_other_plugin_waiting() {
    let folder = Folder::new();
    notes(&folder, "slow", "slow");
    notes(&folder, "fast", "fast");
    folder.plugin("slow", &fixture("moves")).settings("slow", &grant("slow", "only"));
    folder.plugin("fast", &fixture("moves")).settings("fast", &grant("fast", "only"));
    let wharf = Wharf::serve(&folder);
    let (slow, fast) = (wharf.address("slow"), wharf.address("fast"));
    assert_eq!(ask(slow, "r3-notes\0"), "slow");
    let lease = Lease::on(&folder.path().join("slow/notes"));
    let began = Instant::now();
    let waiting: Vec<Client> = (0..600)
        .map(|_| {
            let mut client = Client::connect(slow);
            client.send("r3-notes\0");
            client
        })
        .collect();
    // Sixteen that work for it, and one for each of the two plugins that waits for clocks and
    // sockets.
    until("all its threads are taken", || wharf.threads_named("files") >= 16 + 2);
    assert_eq!(ask(fast, "r3-notes\0"), "fast");
    folder.plugin("late", &answers("L"));
    wharf.event("loaded", "late");
    assert!(wharf.threads_named("files") <= 2 * (16 + 1), "no plugin has more");
    assert!(began.elapsed() < lease_time(), "all that while the others waited");
    wharf.signal(Signal::USR1);
    wharf.logs(&["counted sessions=", "file-work=16 plugin=slow"]);
    drop(lease);
    for client in waiting {
        assert_eq!(client.rest(), "slow");
    }
    wharf.stop();
}

#[test]
fn a_process_ends_with_its_session_whatever_its_files_keep_waiting() {
    let folder = Folder::new();
    notes(&folder, "slow", "slow");
    let settings = format!("concurrency = 'process'\ntimeouts.handle = '500ms'\n{}", grant("slow", "only"));
    folder.plugin("slow", &fixture("moves")).settings("slow", &settings);
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("slow");
    let _lease = Lease::on(&folder.path().join("slow/notes"));
    let began = Instant::now();
    let clients: Vec<Client> = (0..5)
        .map(|_| {
            let mut client = Client::connect(address);
            client.send("r3-notes\0");
            client
        })
        .collect();
    for client in clients {
        wharf.logs(&["session failed", "plugin=slow", &client.name(), "phase=handle", "timeout: "]);
        client.sees_the_end();
    }
    until("all children are gone", || wharf.children().is_empty());
    assert!(began.elapsed() < lease_time(), "not only when the file could be opened");
    wharf.stop();
}
