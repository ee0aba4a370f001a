//! Clients that vanish without a word: TCP's keepalive finds them.

use std::fs;
use std::process::Command;

use rustix::process::geteuid;
use xtask::left_out;

use crate::harness::observe::until;
use crate::harness::{Client, Folder, Launch, Wharf, answers, fixture};

/// The keepalive timer of the server's end of a connection, in hundredths of a second; none where
/// it is off (proc_net_tcp(5)).
fn timer(port: u16) -> Option<u64> {
    const ESTABLISHED: &str = "01";
    const KEEPALIVE: &str = "02";
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel has TCP");
    let mut ends = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, timer) = (fields.get(1)?, fields.get(3)?, fields.get(5)?);
        let (kind, left) = timer.split_once(':')?;
        let is_ours = local.ends_with(&format!(":{port:04X}")) && *state == ESTABLISHED;
        is_ours.then(|| (kind == KEEPALIVE).then(|| u64::from_str_radix(left, 16).expect("it is a number")))
    });
    ends.next().expect("the connection is there")
}

#[test]
fn keepalive_is_as_the_manifest_says() {
    for (settings, most) in [("", Some(6_000)), ("keepalive.idle = '7s'", Some(700)), ("keepalive.count = 0", None)] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A")).settings("answers", settings);
        let wharf = Wharf::serve(&folder);
        let address = wharf.address("answers");
        let mut client = Client::connect(address);
        // What it said has been acknowledged, so that no other timer runs.
        client.hears("A ");
        until("no other timer runs", || match (timer(address.port()), most) {
            (Some(left), Some(most)) => left <= most && left + 200 > most,
            (None, None) => true,
            _ => false,
        });
        drop(client);
        wharf.stop();
    }
}

#[test]
fn what_tcp_can_not_count_is_refused() {
    for (settings, part) in [
        ("keepalive.idle = '500ms'", "whole seconds"),
        ("keepalive.interval = '10h'", "32767s"),
        ("keepalive.count = 200", "127"),
    ] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A")).settings("answers", settings);
        let mut wharf = Wharf::serve(&folder);
        assert_eq!(wharf.exited(), 2);
        wharf.logs(&["answers.toml", settings.split(' ').next().expect("a key"), part]);
    }
}

/// Connects, hears a word, and is gone as a machine is that loses its power: nothing is sent
/// (TCP_REPAIR, which is root's).
const VANISHES: &str = "
import socket, sys
client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
assert client.recv(5) == b'begin'
client.sendall(b'x')
client.setsockopt(socket.IPPROTO_TCP, 19, 1)
client.close()
";

#[test]
fn a_client_that_vanished_is_found() {
    if !geteuid().is_root() {
        left_out::note("clients that vanish", "only root can end a connection without a word");
        return;
    }
    let folder = Folder::new();
    let keepalive = "keepalive = { idle = '1s', interval = '1s', count = 1 }\ntimeouts.idle = '1h'";
    folder.plugin("tells", &fixture("tells_errors")).settings("tells", keepalive);
    let wharf = Wharf::serve(&folder);
    let port = wharf.address("tells").port().to_string();
    let vanished = Command::new("python3").args(["-c", VANISHES, &port]).status().expect("python3 runs");
    assert!(vanished.success());
    wharf.logs(&["client left", "plugin=tells", "connection-reset"]);
    wharf.stop();
}

#[test]
fn a_run_says_that_it_ends_for_want_of_an_address() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("tcp://{}", taken.local_addr().expect("it is bound"));
    let file = folder.path().join("answers.wat");
    let listen = ["--listen", "tcp://127.0.0.1:0", &taken];
    let mut wharf = Launch::new(["run".as_ref(), file.as_os_str()]).args(listen).start();
    wharf.event("listening", "answers");
    assert_eq!(wharf.event("failed", "answers").url, taken);
    wharf.logs(&["ERROR", "`wharf run` ends", &taken]);
    assert_eq!(wharf.ended(), 1);
}
