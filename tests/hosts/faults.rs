//! Faults around the host: what it lives on is taken away under it, and given back. It serves on,
//! or ends with one clear line.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Signal};

use crate::harness::limits::namespaces_are_allowed;
use crate::harness::observe::until;
use crate::harness::{Client, Folder, Launch, Wharf, answer, answers, ask, fixture};

/// A plugin that says `ok` to each message.
const POLITE: &str = "traps_in_handle";

#[track_caller]
fn talks(client: &mut Client) {
    client.send("x").hears("ok\n");
}

/// What the log has with all of these in it, by now.
fn logged(wharf: &Wharf, parts: &[&str]) -> usize {
    wharf.log().iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}

fn says_loaded(wharf: &Wharf, text: &str) {
    assert_eq!(wharf.event("loaded", "answers").generation, answers(text).generation());
}

// Descriptors

#[test]
fn without_descriptors_sessions_go_on_and_what_comes_waits() {
    let folder = Folder::new();
    folder.plugin("polite", &fixture(POLITE)).plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (polite, address) = (wharf.address("polite"), wharf.address("answers"));
    says_loaded(&wharf, "A");
    let mut inside = Client::connect(polite);
    talks(&mut inside);

    wharf.leave_descriptors(0);
    // The kernel has them; nobody tells them to go.
    let mut outside = Client::connect(polite);
    outside.send("x");
    wharf.logs(&["ERROR", "can't accept", &polite.to_string()]);
    folder.plugin("answers", &answers("B")).plugin("late", &answers("L"));
    wharf.logs(&["WARN", "can't be read", "Too many open files"]);
    wharf.signal(Signal::HUP);
    talks(&mut inside);

    wharf.limit(Resource::Nofile, None);
    outside.hears("ok\n");
    says_loaded(&wharf, "B");
    assert_eq!(ask(address, "x"), answer("B"));
    assert_eq!(ask(wharf.address("late"), "x"), answer("L"));
    talks(&mut inside);
    drop((inside, outside));
    assert!(!wharf.stop().iter().any(|line| line.starts_with("unloaded")), "a folder that can't be read is not empty");
}

#[test]
fn what_one_session_lacks_a_descriptor_for_is_its_own_loss() {
    let folder = Folder::new();
    fs::create_dir(folder.parent().join("data")).expect("create a folder");
    fs::write(folder.parent().join("data/file"), "there").expect("write");
    let grant = format!("[[grants.dirs]]\nhost = '{}'\nguest = '/data'", folder.parent().join("data").display());
    folder.plugin("looks", &fixture("looks_around")).settings("looks", &grant);
    folder.plugin("apart", &answers("A")).settings("apart", "concurrency = 'process'");
    let wharf = Wharf::serve(&folder);
    let (looks, apart) = (wharf.address("looks"), wharf.address("apart"));
    let idle = wharf.descriptors();
    let is_idle = || wharf.descriptors() <= idle;
    assert_eq!(ask(looks, "r file"), "there");
    assert_eq!(ask(apart, "x"), answer("A"));

    // One is for the connection. None is left for the folder, or for what a child is told.
    until("the sessions are gone", is_idle);
    wharf.leave_descriptors(1);
    assert_eq!(ask(looks, "r file"), "errno 08", "there is no folder to begin with");
    wharf.logs(&["ERROR", "plugin=looks", "can't be opened", "Too many open files"]);
    until("the session is gone", is_idle);
    Client::connect(apart).sees_the_end();
    wharf.logs(&["ERROR", "host fault", "plugin=apart", "phase=process", "Too many open files"]);

    wharf.limit(Resource::Nofile, None);
    assert_eq!(ask(looks, "r file"), "there");
    assert_eq!(ask(apart, "x"), answer("A"));
    wharf.stop();
}

// Memory

#[test]
fn a_host_without_room_for_its_sandboxes_says_what_would_be_right() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let mut wharf = Launch::after("ulimit -v 50000000", ["serve".as_ref(), folder.path()]).start();
    assert_eq!(wharf.ended(), 1);
    let log = wharf.log();
    assert_eq!(log.len(), 1, "{log:#?}");
    for part in ["wharf: no room for ", " sandboxes", "ulimit -v", "max-connections", "wharf.toml"] {
        assert!(log[0].contains(part), "{part:?} in {log:?}");
    }
    assert_eq!(wharf.events(), [""; 0]);
}

#[test]
fn a_session_that_gets_no_memory_is_a_host_fault_for_itself_alone() {
    let folder = Folder::new();
    // One in the pool, whose memory is there and has to be made writable; one that maps its own.
    folder.plugin("polite", &fixture(POLITE));
    for concurrency in ["thread", "process"] {
        folder.settings(concurrency, &format!("concurrency = '{concurrency}'")).plugin(concurrency, &answers("A"));
    }
    folder.plugin("big", &fixture("big_memory")).settings("big", "[limits]\nmemory = '256MiB'");
    let wharf = Wharf::serve(&folder);
    let addresses = [wharf.address("polite"), wharf.address("big")];
    let apart = ["thread", "process"].map(|plugin| (plugin, wharf.address(plugin)));
    let mut inside = Client::connect(addresses[0]);
    talks(&mut inside);
    assert_eq!(ask(addresses[1], "x"), "");

    wharf.limit(Resource::Data, Some(wharf.status("VmData") << 10));
    let mut refused = 0;
    for (plugin, address) in ["polite", "big"].into_iter().zip(addresses) {
        // Some get what others before them gave back.
        let mut served = Vec::new();
        loop {
            let mut client = Client::connect(address);
            let name = client.name();
            client.send("x");
            if plugin == "polite" && !client.heard(1).is_empty() {
                served.push(client);
                continue;
            }
            client.sees_the_end();
            let log = wharf.logs(&["ERROR", "host fault", &format!("plugin={plugin}"), &name, "phase=instance"]);
            assert!(log.contains("Cannot allocate memory"), "{log}");
            refused += 1;
            break;
        }
        talks(&mut inside);
    }
    assert_eq!(refused, 2);
    // No thread for a session or to start a child with, either. Its stack is not all that it takes,
    // and std would abort.
    for (plugin, address) in apart {
        let client = Client::connect(address);
        let name = client.name();
        client.sees_the_end();
        let (plugin, phase) = (format!("plugin={plugin}"), format!("phase={plugin}"));
        wharf.logs(&["ERROR", "host fault", &plugin, "generation=", &name, &phase, "Cannot allocate memory"]);
        talks(&mut inside);
    }
    // No thread to load with has a stack.
    folder.plugin("late", &answers("L"));
    let late = wharf.event("refused", "late");
    assert!(late.reason.contains("the host failed to load it"), "{}", late.reason);

    wharf.limit(Resource::Data, None);
    assert_eq!(ask(wharf.address("late"), "x"), answer("L"), "it is tried again without a change");
    talks(&mut Client::connect(addresses[0]));
    assert_eq!(ask(addresses[1], "x"), "");
    talks(&mut inside);
    for (_, address) in apart {
        assert_eq!(ask(address, "x"), answer("A"));
    }
    assert_eq!(logged(&wharf, &["host fault"]), 4, "{:#?}", wharf.log());
    wharf.signal(Signal::USR1);
    for plugin in ["thread", "process"] {
        wharf.logs(&["counted sessions=2", &format!("{plugin}.host=1"), &format!("plugin={plugin}")]);
    }
    drop(inside);
    wharf.stop();
}

// Disk

/// Two plugins that are compiled and can't be kept: served all the same, which is said once.
#[track_caller]
fn serves_without_keeping(wharf: Wharf, error: &str) {
    for (plugin, text) in [("a", "A"), ("b", "B")] {
        assert_eq!(ask(wharf.address(plugin), "x"), answer(text));
    }
    wharf.logs(&["WARN", "can't be kept for the next run", error]);
    assert_eq!(logged(&wharf, &["can't be kept"]), 1, "{:#?}", wharf.log());
    wharf.stop();
}

#[test]
fn a_cache_that_can_not_be_written_is_done_without() {
    let folder = Folder::new();
    folder.plugin("a", &answers("A")).plugin("b", &answers("B"));
    let cache = folder.parent().join("cache");
    // Of 512 bytes each. SIGXFSZ comes with it, which would end the process.
    let launch = |first: &str| Launch::after(first, ["serve".as_ref(), folder.path()]).cache(&cache).start();
    serves_without_keeping(launch("ulimit -f 8"), "File too large");
    assert_eq!(fs::read_dir(&cache).expect("it was made").count(), 0, "nothing is left of it");

    let wharf = launch("true");
    for (plugin, text) in [("a", "A"), ("b", "B")] {
        assert_eq!(ask(wharf.address(plugin), "x"), answer(text));
    }
    assert_eq!(
        fs::read_dir(&cache).expect("it is there").count(),
        4,
        "code and facts of two are kept, now that there is room"
    );
    wharf.stop();

    if namespaces_are_allowed("a full disk under the cache") {
        let full = folder.parent().join("full");
        fs::create_dir(&full).expect("create a folder");
        let mount = format!("mount -t tmpfs -o size=8k,mode=0700 none '{}'", full.display());
        let serve = ["serve".as_ref(), folder.path()];
        serves_without_keeping(Launch::in_namespaces(&mount, serve).cache(&full).start(), "No space left");
    }
}

// A host that stood still

#[test]
fn what_came_while_it_was_stopped_is_served_and_in_time() {
    const IDLE: Duration = Duration::from_secs(1);
    let folder = Folder::new();
    folder.plugin("polite", &fixture(POLITE)).settings("polite", "[timeouts]\nidle = '1s'");
    let wharf = Wharf::serve(&folder);
    let address: SocketAddr = wharf.address("polite");
    // On a machine that is busy, the time of some may be over before the host is stopped: once
    // more, then.
    let waiting = (0..20).find_map(|_| {
        let began = Instant::now();
        let mut waiting: Vec<Client> = (0..30).map(|_| Client::connect(address)).collect();
        waiting.iter_mut().for_each(talks);
        wharf.signal(Signal::STOP);
        until("it stands still", || fs::read_to_string(wharf.proc("stat")).is_ok_and(|stat| stat.contains(") T ")));
        if began.elapsed() < IDLE {
            return Some(waiting);
        }
        wharf.signal(Signal::CONT);
        None
    });
    let mut waiting = waiting.expect("a machine that lets a process run once in a second");
    let stopped = Instant::now();
    // All of them in time, and it learns of that when their time is long over.
    waiting.iter_mut().for_each(|client| _ = client.send("x"));
    let mut new: Vec<Client> = (0..30).map(|_| Client::connect(address)).collect();
    new.iter_mut().for_each(|client| _ = client.send("x"));
    until("their time is over", || stopped.elapsed() > 2 * IDLE);
    wharf.signal(Signal::CONT);
    for client in waiting.iter_mut().chain(&mut new) {
        client.hears("ok\n");
    }
    for client in waiting.into_iter().chain(new) {
        assert_eq!(client.rest(), "", "and who says nothing more is told to go");
    }
    wharf.stop();
}
