//! Clients that are gone while their guest is at something else than them.

use std::process::{Command, Stdio};

use crate::harness::guests::{Guest, fixture_with_hooks, program};
use crate::harness::observe::until;
use crate::harness::{Client, Family, Folder, Scene, Wharf, fixture, in_every_mode};

/// One kind of guest each, whose bytes mean the same.
fn guests() -> [(&'static str, Guest); 3] {
    [("bare", fixture("sleeps")), ("component", fixture_with_hooks("sleeps")), ("program", program("sleeps"))]
}

/// Serves a guest with two places.
fn serve(family: Family, concurrency: &str, guest: &Guest, settings: &str) -> Scene {
    let scene = Scene::of("busy", guest).over(family).concurrency(concurrency);
    scene.with("max-connections = 2\nlimits.cpu = '1h'").with(settings).serve()
}

in_every_mode! {
    streams:
        a_client_that_is_gone_frees_its_place,
        a_half_closed_client_is_answered_however_late;
}

fn places(concurrency: &str) -> usize {
    if concurrency == "serial" { 1 } else { 2 }
}

fn a_client_that_is_gone_frees_its_place(family: Family, concurrency: &str) {
    for (kind, guest) in guests() {
        let scene = serve(family, concurrency, &guest, "timeouts.gone = '100ms'");
        for at in ["!", "?"] {
            let what = format!("{family:?} {concurrency} {kind} {at}");
            let mut clients: Vec<Client> = (0..places(concurrency)).map(|_| scene.client()).collect();
            let names: Vec<String> = clients.iter().map(Client::name).collect();
            for client in &mut clients {
                client.send(at).hears("busy\n");
            }
            // Over TCP a reset. On a Unix socket, whose close can't be taken for less, a close.
            clients.into_iter().for_each(Client::resets);
            // Somebody who comes then finds a place, and is served.
            let mut next = scene.client();
            next.send("!").hears("busy\n");
            next.resets();
            for name in names {
                scene.logs(&["session failed", "plugin=busy", &name, "phase=handle", "cause=\"gone: "]);
            }
            scene.logs(&["session failed", "plugin=busy", "phase=handle", "cause=\"gone: "]);
            assert!(!scene.log().iter().any(|line| line.contains("ERROR")), "{what}");
        }
        scene.stop();
    }
}

#[test]
fn a_handler_that_works_on_after_its_client_is_left_to_it_where_that_is_said() {
    for family in Family::STREAMS {
        // It sleeps for longer than the default period between two looks.
        let scene = serve(family, "task", &fixture("sleeps"), "timeouts.gone = '1h'");
        let mut client = scene.client();
        client.send("9990");
        let name = client.name();
        client.resets();
        scene.logs(&["session failed", &name, "phase=handle", "cause=\"error: all was read"]);
        scene.stop();
    }
}

#[test]
fn what_a_client_sent_before_it_went_is_read_to_the_end_however_long_that_takes() {
    for family in Family::STREAMS {
        for concurrency in ["task", "process"] {
            let scene = serve(family, concurrency, &fixture("sleeps"), "timeouts.gone = '700ms'");
            let mut client = scene.client();
            // Two seconds of it.
            client.send("2222222222");
            let name = client.name();
            client.resets();
            scene.logs(&["session failed", &name, "phase=handle", "cause=\"error: all was read"]);
            scene.stop();
        }
    }
}

fn a_half_closed_client_is_answered_however_late(family: Family, concurrency: &str) {
    let scene = serve(family, concurrency, &fixture("sleeps"), "timeouts.gone = '50ms'");
    let mut client = scene.client();
    // Longer than it takes to ask it whether it is there.
    client.send("99").ends();
    assert_eq!(client.rest(), "woke", "{family:?} {concurrency}");
    scene.stop();
}

/// What a client by CPython does: half a second after its close its kernel has forgotten the
/// connection, rather than after a minute.
const CLOSES: &str = "
import socket, sys
client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
client.sendall(b'!')
assert client.recv(5, socket.MSG_WAITALL) == b'busy\\n'
client.close()
";

#[test]
fn a_tcp_client_that_has_closed_is_told_from_one_that_reads_on() {
    for concurrency in ["task", "process"] {
        let settings = "timeouts.gone = '50ms'";
        let scene = serve(Family::Tcp, concurrency, &fixture("sleeps"), settings);
        let (_, port) = scene.url.rsplit_once(':').expect("a port");
        let mut stays = scene.client();
        stays.send("!").hears("busy\n").ends();
        let client = Command::new("python3").args(["-c", CLOSES, port]).stdin(Stdio::null()).output();
        let client = client.expect("python3 is there");
        assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
        let line = scene.logs(&["session failed", "plugin=busy", "phase=handle", "cause=\"gone: "]);
        assert!(!line.contains(&stays.name()), "{line}");
        until("the kernel has asked the other one", || asks(&stays));
        assert!(!scene.log().iter().any(|line| line.contains(&stays.name())), "{concurrency}");
        stays.resets();
        scene.logs(&["session failed", "plugin=busy", "phase=handle", "cause=\"gone: "]);
        scene.stop();
    }
}

#[test]
fn a_half_closed_client_is_asked_no_later_than_the_operator_has_it_asked() {
    let folder = Folder::new();
    for (plugin, settings) in [("soon", "keepalive.idle = '3s'\n"), ("late", "")] {
        folder.plugin(plugin, &fixture("sleeps")).settings(plugin, &format!("{settings}timeouts.gone = '1h'"));
    }
    let wharf = Wharf::serve(&folder);
    let [soon, late] = ["soon", "late"].map(|plugin| {
        let mut client = Client::connect(wharf.address(plugin));
        client.send("!").hears("busy\n").ends();
        client
    });
    // A minute until it is half-closed, 10 s from then on.
    until("the kernel is to ask the later one sooner", || keepalive(&late).is_some_and(|left| left <= 1000));
    assert!(keepalive(&soon).is_some_and(|left| left <= 300), "{:?}", keepalive(&soon));
    drop((soon, late));
    wharf.stop();
}

/// Whether the kernel has a keepalive timer for the host's end of a connection over IPv4.
fn asks(client: &Client) -> bool {
    keepalive(client).is_some()
}

/// When that timer ends, in hundredths of a second (proc_net_tcp(5)).
fn keepalive(client: &Client) -> Option<u64> {
    let local = client.stream.local_addr().expect("an address").as_socket().expect("over IPv4");
    let remote = format!("0100007F:{:04X}", local.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel has it");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let left = fields.get(5)?.strip_prefix("02:").filter(|_| fields[2] == remote)?;
        u64::from_str_radix(left, 16).ok()
    })
}
