//! What users of socketserver, and of servers made with it, complain of, and does not happen here.

use std::thread;

use rustix::process::Signal;

use crate::harness::guests::{rust, shipped, stays};
use crate::harness::observe::until;
use crate::harness::{Client, Family, Folder, Wharf, answer, answers, ask_url, fixture, in_every_mode};

in_every_mode! {
    streams:
        a_shutdown_that_waits_for_the_next_poll;
    concurrencies:
        a_shutdown_called_while_serving_does_not_dead_lock,
        a_handler_error_that_only_a_traceback_on_stderr_tells_of;
}

/// <https://github.com/brandon-rhodes/fopnp/issues/20>
#[test]
fn no_limit_on_threads() {
    const CAP: usize = 4;
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    folder.settings("answers", &format!("concurrency = 'thread'\nmax-connections = {CAP}"));
    folder.plugin("other", &answers("B"));
    let wharf = Wharf::serve(&folder);
    let (url, other) = (wharf.url("answers"), wharf.url("other"));
    let mut clients: Vec<Client> = (0..CAP).map(|_| Client::dial(&url)).collect();
    for client in &mut clients {
        client.hears("A ");
    }
    let flood: Vec<Client> = (0..200).map(|_| Client::dial(&url)).collect();
    // Whoever were let in by mistake had the time that these take.
    for _ in 0..50 {
        assert_eq!(ask_url(&other, "x"), answer("B"));
    }
    assert_eq!(wharf.threads_named("answers"), CAP);
    clients.into_iter().for_each(drop);
    for mut client in flood {
        client.send("x");
        assert_eq!(client.rest(), answer("A"), "and none of the others is lost");
    }
    wharf.stop();
}

/// <https://github.com/python/cpython/issues/81374>
#[test]
fn memory_that_grows_by_one_entry_per_finished_thread() {
    // A thread's own bookkeeping is about a kilobyte in Python, and its stack is far more if it
    // isn't given back.
    const WARM_UP: usize = 500;
    const SESSIONS: usize = 3000;
    const ENTRIES_KB: u64 = 1500;
    // The allocator reserves 64 MiB for each of a few threads at once; a stack for each session
    // would be six gigabytes.
    const STACKS_KB: u64 = 2 << 20;
    let folder = Folder::new();
    folder.manifest("upper", &format!("{}concurrency = 'thread'", Family::Unix.listen(&folder, "upper")));
    folder.plugin("upper", &shipped("upper"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("upper");
    let serve = |sessions: usize| {
        for _ in 0..sessions {
            assert_eq!(ask_url(&url, "hello"), "HELLO");
        }
        until("its threads have ended", || wharf.threads_named("upper") == 0);
        (wharf.status("VmRSS"), wharf.status("VmSize"))
    };
    let (resident, mapped) = serve(WARM_UP);
    let (resident_later, mapped_later) = serve(SESSIONS);
    let grown = resident_later.saturating_sub(resident);
    assert!(grown < ENTRIES_KB, "{grown} kB more after {SESSIONS} sessions more");
    let grown = mapped_later.saturating_sub(mapped);
    assert!(grown < STACKS_KB, "{grown} kB more of address space after {SESSIONS} sessions more");
    wharf.stop();
}

/// <https://github.com/python/cpython/issues/75416>
#[test]
fn a_thread_left_behind_at_close() {
    for family in Family::STREAMS {
        let folder = Folder::new();
        let settings = "concurrency = 'thread'\ntimeouts.drain = '200ms'";
        folder.manifest("answers", &format!("{}{settings}", family.listen(&folder, "answers")));
        folder.plugin("answers", &stays("A"));
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("answers");
        let mut clients: Vec<Client> = (0..5).map(|_| Client::dial(&url)).collect();
        for client in &mut clients {
            client.hears("A ");
        }
        assert_eq!(wharf.threads_named("answers"), 5);
        // The server closes, the host goes on; and the clients never leave by themselves.
        folder.remove("answers.wat");
        wharf.event("closed", "answers");
        wharf.event("unloaded", "answers");
        until("no thread is left", || wharf.threads_named("answers") == 0);
        clients.into_iter().for_each(Client::sees_the_end);
        wharf.stop();
    }
}

/// <https://github.com/python/cpython/issues/83978>
fn a_shutdown_called_while_serving_does_not_dead_lock(concurrency: &str) {
    // The handler itself closes its server, by giving it another address.
    let folder = Folder::new();
    let (before, after) = (Family::Unix.listen(&folder, "before"), Family::Unix.address(&folder, "after"));
    let concurrency = format!("concurrency = '{concurrency}'\n");
    let grant = "[[grants.dirs]]\nhost = '.'\nguest = '/plugins'\naccess = 'read-write'";
    folder.manifest("misbehave", &format!("{before}{concurrency}{grant}")).plugin("misbehave", &rust("misbehave"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("misbehave");
    let mut client = Client::dial(&url);
    client.send(format!("write /plugins/misbehave.toml listen = '{after}'\n"));
    assert_eq!(client.rest(), "written", "{concurrency}");
    assert_eq!(wharf.event("closed", "misbehave").url, url);
    assert_eq!(wharf.url("misbehave"), after);
    assert_eq!(ask_url(&after, "hello\n"), "hello");
    wharf.stop();

    // A stop while the serving thread, if there is one, is in the handler.
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", &concurrency);
    let mut wharf = Wharf::serve(&folder);
    let mut client = Client::dial(&wharf.url("answers"));
    client.hears("A ");
    wharf.signal(Signal::TERM);
    wharf.event("closed", "answers");
    client.send("x");
    assert_eq!(client.rest(), "A A ");
    assert_eq!(wharf.ended(), 0, "{concurrency}");
}

/// <https://github.com/python/cpython/issues/88932>
fn a_shutdown_that_waits_for_the_next_poll(family: Family, concurrency: &str) {
    let folder = Folder::new();
    folder.file("wharf.toml", "rescan = '1h'");
    // Every time there is to wait for, longer than this test's patience.
    let times = "service-interval = '1h'\ntimeouts = { setup = '1h', idle = '1h', finish = '1h', drain = '1h' }";
    let listen = family.listen(&folder, "answers");
    folder.manifest("answers", &format!("{listen}concurrency = '{concurrency}'\n{times}"));
    folder.plugin("answers", &answers("A"));
    folder.plugin("hooks", &rust("hooks")).settings("hooks", times);
    let wharf = Wharf::serve(&folder);
    wharf.event("listening", "hooks");
    assert_eq!(ask_url(&wharf.url("answers"), "x"), answer("A"));
    let events = wharf.stop();
    assert_eq!(events.last().map(String::as_str), Some("stopped"), "{family:?} {concurrency}");
}

/// <https://github.com/brian7704/OpenTAKServer/issues/305>,
/// <https://github.com/hashview/hashview/pull/528>
#[test]
fn a_slow_client_in_the_accept_loop_that_stops_everyone_else() {
    const SLOW: usize = 30;
    for family in Family::STREAMS {
        for concurrency in ["task", "thread", "process"] {
            let folder = Folder::new();
            // What a handshake would be: `setup` waits for its client, which says nothing.
            let settings = format!("{}concurrency = '{concurrency}'", family.listen(&folder, "slow"));
            folder.manifest("slow", &settings).plugin("slow", &fixture("waits_in_setup"));
            let settings = format!("{}concurrency = '{concurrency}'", family.listen(&folder, "upper"));
            folder.manifest("upper", &settings).plugin("upper", &shipped("upper"));
            let wharf = Wharf::serve(&folder);
            let (slow, upper) = (wharf.url("slow"), wharf.url("upper"));
            let mut stuck: Vec<Client> = (0..SLOW).map(|_| Client::dial(&slow)).collect();
            let silent: Vec<Client> = (0..SLOW).map(|_| Client::dial(&upper)).collect();
            // Each of those in `setup` has got there past all that came before.
            for client in &mut stuck {
                client.hears("setup");
            }
            assert_eq!(ask_url(&upper, "hello"), "HELLO", "{family:?} {concurrency}");
            let mut swift = Client::dial(&slow);
            swift.hears("setup").send("x");
            assert_eq!(swift.rest(), "", "its setup, handle and finish are done");
            drop((stuck, silent));
            wharf.stop();
        }
    }
}

/// Even where one client at a time is what was asked for, it is no other server's concern.
#[test]
fn a_slow_client_of_one_serial_server_stops_no_other_server() {
    let folder = Folder::new();
    folder.plugin("slow", &fixture("waits_in_setup")).settings("slow", "concurrency = 'serial'");
    folder.plugin("upper", &shipped("upper")).settings("upper", "concurrency = 'serial'");
    let wharf = Wharf::serve(&folder);
    let (slow, upper) = (wharf.url("slow"), wharf.url("upper"));
    let mut stuck = Client::dial(&slow);
    stuck.hears("setup");
    for _ in 0..10 {
        assert_eq!(ask_url(&upper, "hello"), "HELLO");
    }
    drop(stuck);
    wharf.stop();
}

fn a_handler_error_that_only_a_traceback_on_stderr_tells_of(concurrency: &str) {
    let folder = Folder::new();
    let guest = rust("hooks");
    folder.plugin("hooks", &guest).settings("hooks", &format!("concurrency = '{concurrency}'"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("hooks");
    let clients: Vec<Client> = (0..5).map(|_| Client::dial(&url)).collect();
    let generation = format!("generation={}", guest.generation());
    thread::scope(|scope| {
        for (number, mut client) in clients.into_iter().enumerate() {
            let (wharf, generation) = (&wharf, &generation);
            scope.spawn(move || {
                client.send(format!("no luck {number}\n"));
                let (name, cause) = (client.name(), format!("error: no luck {number}"));
                // One line, whose every part is in a place of its own.
                let line = wharf.logs(&["WARN", "session failed", "cause=", &name]);
                let fields = format!("plugin=hooks {generation} {name} phase=handle cause=\"{cause}\"");
                assert!(line.ends_with(&fields), "{line}");
                // And the plugin is told, to do about it what it likes.
                let told = format!("guest: text=\"handle_error {}: {cause}\"", name.trim_start_matches("client="));
                wharf.logs(&[&told, "plugin=hooks", &name]);
                assert_eq!(client.rest(), "");
            });
        }
    });
    let log = wharf.log();
    assert!(!log.iter().any(|line| line.contains("panicked") || line.contains("Traceback")), "{log:#?}");
    wharf.stop();
}
