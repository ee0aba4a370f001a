//! The settings of sockets that are the kernel's to heed: who may share a port, what may linger on
//! it, when small writes leave.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal, geteuid, pidfd_getfd, pidfd_open};
use xtask::left_out;

use crate::harness::guests::{root, rust, shipped};
use crate::harness::observe::{descriptor_numbers, until};
use crate::harness::{Client, DatagramClient, Folder, Launch, Wharf, answer, answers, ask};

/// A folder with a plugin that listens at `url`; the plugin fits the address.
fn folder(url: &str, text: &str, settings: &str) -> Folder {
    let folder = Folder::new();
    let guest = if url.starts_with("udp:") { shipped("upper-udp") } else { answers(text) };
    folder.manifest("shared", &format!("listen = '{url}'\n{settings}")).plugin("shared", &guest);
    folder
}

#[test]
fn a_port_can_be_shared_where_both_servers_allow_it() {
    for any in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] {
        let settings = "allow-reuse-port = true";
        let first_folder = folder(any, "A", settings);
        let first = Wharf::serve(&first_folder);
        let url = first.url("shared");
        let second_folder = folder(&url, "B", settings);
        let second = Wharf::serve(&second_folder);
        assert_eq!(second.url("shared"), url);
        let third_folder = folder(&url, "C", "");
        let third = Wharf::serve(&third_folder);
        assert!(third.event("failed", "shared").reason.contains("in use"), "{url}");
        third.stop();
        first.stop();
        match url.strip_prefix("tcp://") {
            Some(address) => assert_eq!(ask(address.parse().expect("an address"), "x"), answer("B")),
            None => drop(DatagramClient::to(&url).send("hello").hears("HELLO")),
        }
        second.stop();
    }
}

#[test]
fn within_a_host_an_address_has_one_plugin_even_where_ports_are_shared() {
    for any in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] {
        let settings = "allow-reuse-port = true";
        let folder = folder(any, "A", settings);
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("shared");
        let asks = || match url.strip_prefix("tcp://") {
            Some(address) => assert_eq!(ask(address.parse().expect("an address"), "x"), answer("A")),
            None => drop(DatagramClient::to(&url).send("hello").hears("HELLO")),
        };
        let guest = if any.starts_with("udp:") { shipped("upper-udp") } else { answers("B") };
        // A wildcard would get what the other one does not, and the other way round.
        for (name, listen) in [("same", url.clone()), ("wide", url.replace("127.0.0.1", "0.0.0.0"))] {
            folder.manifest(name, &format!("listen = '{listen}'\n{settings}")).plugin(name, &guest);
            let failed = wharf.event("failed", name);
            assert!(failed.reason.contains(&format!("plugin shared has {url}")), "{}", failed.reason);
        }
        for _ in 0..50 {
            asks();
        }
        folder.remove("wide.toml");
        folder.remove(&format!("wide.{}", guest.extension));
        wharf.event("unloaded", "wide");
        folder.remove(&format!("shared.{}", if any.starts_with("udp:") { &guest.extension } else { "wat" }));
        wharf.event("unloaded", "shared");
        assert_eq!(wharf.url("same"), url, "once it is free");
        wharf.stop();
    }
}

#[test]
fn a_plugin_itself_asks_neither_for_a_shared_port_nor_for_many_addresses() {
    let folder = Folder::new();
    let wharf = Wharf::serve(&folder);
    let many: Vec<String> = (0..4000).map(|n| format!("'tcp://127.0.{}.{}:4000'", n / 250, n % 250 + 1)).collect();
    for (name, manifest, wrong) in [
        ("shares", "listen = 'tcp://127.0.0.1:0'\nallow-reuse-port = true".to_owned(), "allow-reuse-port"),
        ("many", format!("listen = [{}]", many.join(", ")), "4000 addresses, more than 16"),
    ] {
        folder.manifest(name, "").plugin(name, &answers("B").assembled().with_manifest(&manifest));
        let refused = wharf.event("refused", name);
        for part in ["inside", wrong, "operator"] {
            assert!(refused.reason.contains(part), "no {part:?} in: {}", refused.reason);
        }
    }
    folder.manifest("wide", &format!("listen = [{}]", many.join(", "))).plugin("wide", &answers("B"));
    let refused = wharf.event("refused", "wide");
    assert!(refused.reason.contains("4000 addresses") && refused.reason.contains("1024 at most"), "{}", refused.reason);
    wharf.stop();
}

#[test]
fn listeners_leave_descriptors_to_sessions_the_folder_and_an_upgrade() {
    let folder = Folder::new();
    let addresses = vec!["'tcp://127.0.0.1:0'"; 500].join(", ");
    folder.manifest("many", &format!("listen = [{addresses}]")).plugin("many", &answers("A"));
    let mut wharf = Launch::with_descriptors(256, ["serve".as_ref(), folder.path()]).start();
    let address = wharf.address("many");
    let failed = wharf.event("failed", "many");
    let listening = |wharf: &Wharf| -> BTreeSet<String> {
        let lines = wharf.events().into_iter().filter(|line| line.starts_with("listening ") && line.ends_with(" many"));
        lines.collect()
    };
    let before = listening(&wharf);
    let counted = wharf.events().len();
    assert!(failed.reason.contains("no descriptors are left"), "{}", failed.reason);
    assert_eq!(ask(address, "x"), answer("A"));

    // It reads the folder, loads a plugin, and is replaced.
    folder.plugin("late", &answers("B"));
    wharf.event("loaded", "late");
    assert!(wharf.event("failed", "late").reason.contains("no descriptors are left"));
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    assert_eq!(wharf.exited(), 0);
    assert_eq!(ask(address, "x"), answer("A"));
    until("each listener is handed over, whoever loads first", || {
        let said = wharf.events().split_off(counted);
        before.iter().all(|line| said.contains(line))
    });

    // Once the many are gone, the other one has its address.
    folder.remove("many.wat");
    wharf.event("unloaded", "many");
    assert_eq!(ask(wharf.address("late"), "x"), answer("B"));
    successor.signal(Signal::TERM);
    wharf.all_ended();
}

#[test]
fn two_udp_servers_never_share_a_port_by_accident() {
    let settings = "allow-reuse-address = true";
    let first_folder = folder("udp://127.0.0.1:0", "", settings);
    let first = Wharf::serve(&first_folder);
    let url = first.url("shared");
    let second_folder = folder(&url, "", settings);
    let second = Wharf::serve(&second_folder);
    assert!(second.event("failed", "shared").reason.contains("in use"), "{url}");
    DatagramClient::to(&url).send("hello").hears("HELLO");
    second.stop();
    first.stop();
}

#[test]
fn without_reuse_address_a_lingering_connection_keeps_the_port() {
    let folder = folder("tcp://127.0.0.1:0", "A", "");
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("shared");
    // The host closes first, and so is the one with TIME_WAIT afterwards.
    let mut client = Client::connect(address);
    client.send("x");
    assert_eq!(client.rest(), answer("A"));
    wharf.stop();
    let listen = format!("listen = 'tcp://{address}'\n");
    folder.manifest("shared", &format!("{listen}allow-reuse-address = false"));
    let wharf = Wharf::serve(&folder);
    assert!(wharf.event("failed", "shared").reason.contains("in use"));
    folder.manifest("shared", &listen);
    assert_eq!(wharf.address("shared"), address);
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}

#[test]
fn small_writes_leave_at_once_unless_the_manifest_wants_them_collected() {
    let folder = Folder::new();
    let guest = rust("unbuffered");
    folder.plugin("prompt", &guest);
    folder.settings("collected", "disable-nagle-algorithm = false").plugin("collected", &guest);
    let wharf = Wharf::serve(&folder);
    let [prompt, collected] = ["prompt", "collected"].map(|name| wharf.url(name));
    // The kernel may join writes for reasons of its own, and a slow machine gives it time to part
    // them.
    let shows = |url: &str, expected: fn(u32) -> bool| (0..20).any(|_| expected(segments(url, 1000)));
    assert!(shows(&prompt, |segments| segments > 30), "they are held back");
    // Each waits until the one before was acknowledged, which the client puts off.
    assert!(shows(&collected, |segments| segments < 10), "they are not held back");
    wharf.stop();
}

/// In how many segments the kernel saw so many small writes arrive.
fn segments(url: &str, writes: u32) -> u32 {
    let script = root().join("tests/clients/segments.py");
    let python = Command::new("python3").arg(script).args([url, &writes.to_string()]).output().expect("python3 runs");
    let (said, complained) = (String::from_utf8_lossy(&python.stdout), String::from_utf8_lossy(&python.stderr));
    said.trim().parse().unwrap_or_else(|_| panic!("{url}: {said}{complained}"))
}

/// Connects, says a word, and is gone without another packet: its socket is closed while it is in
/// repair (`TCP_REPAIR`, 19).
const VANISHES: &str = r"
import socket, sys
client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
assert client.recv(2) == b'A '
client.setsockopt(socket.IPPROTO_TCP, 19, 1)
client.close()
";

#[test]
fn a_client_that_vanished_is_found_by_probes() {
    if !geteuid().is_root() {
        left_out::note("keepalive", "only root may have a client vanish without a packet");
        return;
    }
    let settings = "max-connections = 1\ntimeouts.idle = '1h'\n[keepalive]\nidle = '1s'\ninterval = '1s'\ncount = 2";
    let folder = folder("tcp://127.0.0.1:0", "A", settings);
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("shared");
    let port = address.port().to_string();
    let vanished = Command::new("python3").args(["-c", VANISHES, &port]).status().expect("python3 runs");
    if !vanished.success() {
        left_out::note("keepalive", "this kernel has no TCP_REPAIR");
        return;
    }
    // There is one place, and it is the other's until he is found to be gone.
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}

#[test]
fn connections_are_probed_as_the_manifest_says() {
    for (settings, probed) in [
        ("", Some((60, 15, 4))),
        ("[keepalive]\nidle = '10s'\ninterval = '5s'\ncount = 2", Some((10, 5, 2))),
        ("keepalive.count = 0", None),
    ] {
        let folder = folder("tcp://127.0.0.1:0", "A", settings);
        let wharf = Wharf::serve(&folder);
        let mut client = Client::connect(wharf.address("shared"));
        client.hears("A ");
        let host = pidfd_open(wharf.pid(), PidfdFlags::empty()).expect("it runs");
        let copies = descriptor_numbers(wharf.pid()).into_iter();
        let copies =
            copies.filter_map(|number| pidfd_getfd(&host, number.try_into().ok()?, PidfdGetfdFlags::empty()).ok());
        // The listener's and the connection's.
        let sockets: Vec<_> = copies.filter(|copy| sockopt::tcp_keepcnt(copy).is_ok()).collect();
        assert_eq!(sockets.len(), 2);
        for socket in sockets {
            assert_eq!(sockopt::socket_keepalive(&socket), Ok(probed.is_some()));
            if let Some((idle, interval, count)) = probed {
                assert_eq!(sockopt::tcp_keepidle(&socket), Ok(Duration::from_secs(idle)));
                assert_eq!(sockopt::tcp_keepintvl(&socket), Ok(Duration::from_secs(interval)));
                assert_eq!(sockopt::tcp_keepcnt(&socket), Ok(count));
            }
        }
        wharf.stop();
    }
}
