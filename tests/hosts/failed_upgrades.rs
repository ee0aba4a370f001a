//! Upgrades that fail, or are given up: what serves serves on, and nothing is left of the
//! successor.

use std::fs;
use std::net::SocketAddr;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::binary::Binary;
use crate::harness::observe::{sockets, until};
use crate::harness::{Client, Family, Folder, Wharf, answer, answers, ask, ask_url, fixture};

/// That an upgrade fails for a reason with all of these in it, that nobody notices, and that the
/// next one succeeds.
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

/// What says this to the host that started it, as a successor does, and ends; `!` waits until it is
/// told to go.
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
