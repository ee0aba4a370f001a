//! Stopping and rescanning by signal.

use std::io::PipeWriter;
use std::path::Path;

use rustix::process::Signal;

use crate::harness::guests::stays;
use crate::harness::{Client, Folder, Launch, Wharf, answers, ask, fixture};
use crate::sessions::programs::both;

#[test]
fn a_stop_lets_open_sessions_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A"));
        let mut wharf = Wharf::serve(&folder);
        let address = wharf.address("answers");
        let mut sessions: Vec<Client> = (0..3).map(|_| Client::connect(address)).collect();
        for session in &mut sessions {
            session.hears("A ");
        }
        wharf.signal(signal);
        wharf.says("draining 3");
        wharf.event("closed", "answers");
        assert!(Client::try_connect(address).is_err(), "nobody is let in any more");
        for mut session in sessions {
            assert!(!wharf.events().contains(&"stopped".to_owned()), "a session is still open");
            session.send("go on");
            assert_eq!(session.rest(), "A A ");
        }
        wharf.says("stopped");
        assert_eq!(wharf.ended(), 0);
    }
}

#[test]
fn a_stop_without_sessions_is_immediate() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    // A drain that would outlast this test's patience.
    folder.settings("answers", "[timeouts]\ndrain = '1h'");
    let wharf = Wharf::serve(&folder);
    assert_eq!(ask(wharf.address("answers"), "x"), "A A A ");
    let events = wharf.stop();
    let tail: Vec<&str> = events.iter().rev().take(3).rev().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(tail, ["draining", "closed", "stopped"]);
}

#[test]
fn a_second_signal_stops_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A")).settings("answers", "[timeouts]\ndrain = '1h'");
        let mut wharf = Wharf::serve(&folder);
        let mut session = Client::connect(wharf.address("answers"));
        session.hears("A ");
        wharf.signal(first);
        wharf.says("draining 1");
        wharf.signal(second);
        assert_eq!(wharf.ended(), 1);
        session.sees_the_end();
    }
}

#[test]
fn the_drain_deadline_ends_the_sessions_that_are_left() {
    let folder = Folder::new();
    folder.plugin("stays", &stays("A")).settings("stays", "[timeouts]\ndrain = '200ms'");
    // A guest that only looks busy has to be stopped as well as one that waits.
    folder.plugin("spins", &fixture("spins_in_handle"));
    folder.settings("spins", "[timeouts]\ndrain = '200ms'\n[limits]\ncpu = '1h'");
    let mut wharf = Wharf::serve(&folder);
    let mut waiting = Client::connect(wharf.address("stays"));
    waiting.hears("A ");
    let mut spinning = Client::connect(wharf.address("spins"));
    spinning.send("x").hears("ok\n").send("!");
    let (name, spinner) = (waiting.name(), spinning.name());
    wharf.signal(Signal::TERM);
    wharf.says("draining 2");
    for (plugin, client) in [("plugin=stays", &name), ("plugin=spins", &spinner)] {
        wharf.logs(&["session failed", plugin, client, "phase=handle", "cause=\"drain: "]);
    }
    waiting.sees_the_end();
    spinning.sees_the_end();
    wharf.says("stopped");
    assert_eq!(wharf.ended(), 0);
}

#[test]
fn a_session_hears_of_the_end_while_it_can_still_answer() {
    let folder = Folder::new();
    let [(_, upper), (_, component)] = both("upper");
    let guests = [
        ("answers", answers("A"), "A "),
        ("tells", fixture("tells_errors"), "begin"),
        ("upper", upper, "A\n"),
        ("component", component, "A\n"),
    ];
    let mut plugins = Vec::new();
    for concurrency in ["task", "thread", "process"] {
        for (name, guest, hears) in &guests {
            let plugin = format!("{name}-{concurrency}");
            folder.plugin(&plugin, guest);
            folder.settings(&plugin, &format!("concurrency = '{concurrency}'\ntimeouts.drain = '6s'"));
            plugins.push((*name, plugin, *hears));
        }
    }
    let mut wharf = Wharf::serve(&folder);
    let mut sessions = Vec::new();
    for (name, plugin, hears) in plugins {
        let mut client = Client::connect(wharf.address(&plugin));
        if hears == "A\n" {
            client.send("a\n");
        }
        client.hears(hears);
        sessions.push((name, plugin, client));
    }
    wharf.signal(Signal::TERM);
    wharf.says("draining 12");
    for (name, plugin, client) in sessions {
        let last = if name == "answers" { "A A " } else { "" };
        let client_name = client.name();
        assert_eq!(client.rest(), last, "{plugin}");
        if name == "tells" {
            wharf.logs(&["session failed", &client_name, "phase=handle", "cause=\"error: timed-out"]);
        }
    }
    wharf.says("stopped");
    assert_eq!(wharf.ended(), 0);
    let log = wharf.log();
    assert!(!log.iter().any(|line| line.contains("drain: ")), "{log:#?}");
}

#[test]
fn a_hangup_rescans_the_folder() {
    let folder = Folder::new();
    let (a, b) = (answers("A"), answers("B"));
    let change = folder.plugin_of_two_names("answers", &a);
    folder.settings("answers", "").file("wharf.toml", "rescan = '1h'");
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).start();
    let address = wharf.address("answers");
    assert_eq!(wharf.event("loaded", "answers").generation, a.generation());
    change(&b);
    wharf.signal(Signal::HUP);
    assert_eq!(wharf.event("loaded", "answers").generation, b.generation());
    assert_eq!(ask(address, "x"), "B B B ");
    wharf.stop();
}

/// Starts a program from a terminal of its own, which is closed when this one's stdin ends. Signals
/// are passed on.
const IN_A_TERMINAL: &str = "
import ctypes, os, signal, sys
controller, terminal = os.openpty()
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the test at the latest.
    os.close(controller)
    os.setsid()
    os.dup2(os.open(os.ttyname(terminal), os.O_RDWR), 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == 'ignoring' else signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])
os.close(terminal)
for number in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(child, number))
sys.stdin.read()
os.close(controller)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

/// Serves from a terminal, which is closed with what comes beside it. `how` is `ignoring` where the
/// signal is ignored, as nohup(1) has it.
fn serve_from_a_terminal(folder: &Folder, how: &str) -> (Wharf, PipeWriter) {
    let (stdin, terminal) = std::io::pipe().expect("a pipe");
    let launch =
        Launch::program(Path::new("python3"), ["-c", IN_A_TERMINAL, how, env!("CARGO_BIN_EXE_wharf"), "serve"]);
    (launch.args([folder.path()]).stdin(stdin).start(), terminal)
}

#[test]
fn a_terminal_that_is_closed_ends_what_was_started_from_it() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let (mut wharf, terminal) = serve_from_a_terminal(&folder, "");
    assert_eq!(ask(wharf.address("answers"), "x"), "A A A ");
    drop(terminal);
    wharf.says("draining 0");
    wharf.says("stopped");
    assert_eq!(wharf.ended(), 0);
    wharf.logs(&["the terminal was closed"]);
}

#[test]
fn a_hangup_is_a_reload_where_no_terminal_was_closed_or_where_it_was_ignored() {
    for how in ["", "ignoring"] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A"));
        let (mut wharf, terminal) = serve_from_a_terminal(&folder, how);
        let address = wharf.address("answers");
        // What was refused is tried again by a reload alone.
        folder.file("later.wasm", "no wasm yet").settings("later", "");
        wharf.event("refused", "later");
        let terminal = if how.is_empty() {
            wharf.signal(Signal::HUP);
            Some(terminal)
        } else {
            drop(terminal);
            None
        };
        wharf.event("refused", "later");
        assert_eq!(ask(address, "x"), "A A A ");
        drop(terminal);
        if how == "ignoring" {
            wharf.signal(Signal::TERM);
        }
        wharf.says("stopped");
        assert_eq!(wharf.ended(), 0);
    }
}
