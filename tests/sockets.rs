//! The settings of sockets that are the kernel's to heed: who may share a port, what may linger on it, when small writes leave.

use std::process::Command;

use crate::harness::guests::{root, rust, shipped};
use crate::harness::{Client, DatagramClient, Folder, Wharf, answer, answers, ask};

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
    // The kernel may join writes for reasons of its own, and a slow machine gives it time to part them.
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
