//! Datagrams: of every size, to others than their client, and cut where the settings say so.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use crate::harness::guests::rust;
use crate::harness::observe::until;
use crate::harness::{
    CONCURRENCIES, DEADLINE, DatagramClient, Family, Folder, Launch, Scene, Wharf, answers, in_every_mode,
};

fn misbehave(family: Family, settings: &str) -> Scene {
    Scene::of("misbehave", &rust("misbehave-udp")).over(family).with(settings).serve()
}

in_every_mode! {
    datagrams:
        datagrams_are_cut_to_the_largest_packet_size,
        a_handler_may_answer_nothing_or_more_than_once;
    concurrencies:
        others_than_the_client_are_sent_to_only_as_granted,
        an_answer_comes_from_the_address_that_was_asked;
}

fn datagrams_are_cut_to_the_largest_packet_size(family: Family, concurrency: &str) {
    for (settings, sizes) in [
        ("", [(0, 0), (1, 1), (8192, 8192), (8193, 8192), (65_507, 8192)]),
        ("max-packet-size = 65507", [(0, 0), (8192, 8192), (8193, 8193), (65_506, 65_506), (65_507, 65_507)]),
        ("max-packet-size = 1", [(0, 0), (1, 1), (2, 1), (8193, 1), (65_507, 1)]),
    ] {
        let scene = misbehave(family, &format!("concurrency = '{concurrency}'\n{settings}"));
        let client = scene.datagram_client();
        for (sent, heard) in sizes {
            // No two parts of it are the same, so that what comes back is seen to be its beginning.
            let text: Vec<u8> = (0_u32..).flat_map(|number| format!("{number} ").into_bytes()).take(sent).collect();
            client.send(&text).hears(&text[..heard]);
        }
        scene.stop();
    }
}

#[test]
fn a_changed_packet_size_is_taken_over_by_the_socket_that_is_there() {
    for family in Family::DATAGRAMS {
        let scene = misbehave(family, "");
        scene.event("loaded", "misbehave");
        let client = scene.datagram_client();
        client.send("hello").hears("hello");
        scene
            .folder
            .manifest("misbehave", &format!("{}max-packet-size = 3", family.listen(&scene.folder, "misbehave")));
        scene.event("loaded", "misbehave");
        scene.folder.plugin("other", &answers("A"));
        scene.event("listening", "other");
        client.send("hello").hears("hel");
        scene.stop();
    }
}

#[test]
fn an_answer_too_large_is_an_error_that_the_handler_sees() {
    for (family, most, too_much) in [(Family::Udp, 65_507, 65_508), (Family::Unixgram, 65_508, 4 << 20)] {
        for concurrency in CONCURRENCIES {
            let scene = misbehave(family, &format!("concurrency = '{concurrency}'"));
            let client = scene.datagram_client();
            client.send(format!("large {most}")).hears(vec![b'x'; most]);
            client.hears("sent");
            let heard = String::from_utf8(client.send(format!("large {too_much}")).receive()).expect("UTF-8");
            assert!(heard.contains("large") && !heard.contains("sent"), "{heard}");
            scene.stop();
        }
    }
}

fn others_than_the_client_are_sent_to_only_as_granted(concurrency: &str) {
    let third = UdpSocket::bind("127.0.0.1:0").expect("a port");
    third.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let address = third.local_addr().expect("bound");
    for (settings, granted) in [
        ("", false),
        ("grants.send-to = '10.0.0.0/8'", false),
        ("grants.send-to = ['10.0.0.0/8', '::1']", false),
        ("grants.send-to = '127.0.0.1'", true),
        ("grants.send-to = ['10.0.0.0/8', '127.0.0.0/8']", true),
    ] {
        let scene = misbehave(Family::Udp, &format!("concurrency = '{concurrency}'\n{settings}"));
        let client = scene.datagram_client();
        let told = String::from_utf8(client.send(format!("to {address} {concurrency} {granted}")).receive());
        let told = told.expect("UTF-8");
        if granted {
            assert_eq!(told, "sent", "{settings}");
            let mut heard = [0; 64];
            let (read, from) = third.recv_from(&mut heard).expect("it comes");
            assert_eq!(heard[..read], *format!("{concurrency} {granted}").as_bytes());
            assert_eq!(format!("udp://{from}"), scene.url, "from the server's own socket");
        } else {
            assert!(told.starts_with("PermissionDenied"), "{settings}: {told}");
        }
        // The client itself may always be sent to.
        client.send(format!("to {} hello", client.address())).hears("hello").hears("sent");
        scene.stop();
    }
    // None of those that were not granted has come.
    third.set_nonblocking(true).expect("set");
    assert!(third.recv_from(&mut [0; 64]).is_err());
}

#[test]
fn no_network_grants_a_path() {
    for family in Family::DATAGRAMS {
        let scene = misbehave(family, "grants.send-to = ['0.0.0.0/0', '::/0']");
        let path = scene.folder.parent().join("third.sock");
        let third = UnixDatagram::bind(&path).expect("bind");
        let told = String::from_utf8(scene.datagram_client().send(format!("to {} hello", path.display())).receive());
        let told = told.expect("UTF-8");
        assert!(told.starts_with("PermissionDenied"), "{told}");
        third.set_nonblocking(true).expect("set");
        assert!(third.recv(&mut [0; 16]).is_err(), "nothing has come");
        scene.stop();
    }
}

#[test]
fn one_that_takes_its_time_holds_no_other_up() {
    for family in Family::DATAGRAMS {
        for workers in ["1", "4"] {
            let folder = Folder::new();
            folder.manifest(
                "misbehave",
                &format!("{}limits.cpu = '1m'\ntimeouts.drain = '1ms'", family.listen(&folder, "misbehave")),
            );
            folder.plugin("misbehave", &rust("misbehave-udp"));
            let launch = Launch::new(["serve".as_ref(), folder.path()]).env("TOKIO_WORKER_THREADS", workers);
            let wharf = launch.start();
            let url = wharf.url("misbehave");
            // More of them than are served in a row before others have their turn.
            let spinners: Vec<_> = (0..50).map(|_| DatagramClient::to(&url)).collect();
            for spinner in &spinners {
                spinner.send("spin");
            }
            let client = DatagramClient::to(&url);
            for round in 0..3 {
                client.send(format!("hello {round}")).hears(format!("hello {round}"));
            }
            wharf.stop();
        }
    }
}

fn a_handler_may_answer_nothing_or_more_than_once(family: Family, concurrency: &str) {
    let scene = misbehave(family, &format!("concurrency = '{concurrency}'\nmax-connections = 1"));
    let client = scene.datagram_client();
    client.send("silent").send("phases").hears("setup").hears("handle").hears("finish");
    client.send("hello").hears("hello");
    let log = scene.log();
    assert!(!log.iter().any(|line| line.contains("session failed")), "{log:#?}");
    scene.stop();
}

fn an_answer_comes_from_the_address_that_was_asked(concurrency: &str) {
    for (listen, asked) in [
        ("udp://0.0.0.0:0", &["127.0.0.1", "127.0.0.2", "127.200.30.4"][..]),
        ("udp://[::]:0", &["[::1]"]),
        ("udp://127.0.0.2:0", &["127.0.0.2"]),
    ] {
        let folder = Folder::new();
        folder.manifest("misbehave", &format!("listen = '{listen}'\nconcurrency = '{concurrency}'"));
        folder.plugin("misbehave", &rust("misbehave-udp"));
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("misbehave");
        let port = url.rsplit(':').next().expect("a port");
        for ip in asked {
            let client = UdpSocket::bind(if ip.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" });
            let client = client.expect("a port");
            client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            client.send_to(b"ends", format!("{ip}:{port}")).expect("send");
            let mut heard = [0; 200];
            let (read, from) = client.recv_from(&mut heard).expect("an answer");
            assert_eq!(from.to_string(), format!("{ip}:{port}"), "{listen}");
            let told = format!("{} {ip}:{port}", client.local_addr().expect("bound"));
            assert_eq!(String::from_utf8_lossy(&heard[..read]), told, "{listen}");
        }
        wharf.stop();
    }
}

#[test]
fn what_the_kernel_dropped_is_counted() {
    let scene = misbehave(Family::Udp, "concurrency = 'serial'\nreceive-buffer = '8KiB'");
    let client = scene.datagram_client();
    client.send("hello").hears("hello");
    // While it stands still, nobody takes what comes.
    scene.signal(Signal::STOP);
    for _ in 0..200 {
        client.send(format!("silent {}", "x".repeat(1000)));
    }
    scene.signal(Signal::CONT);
    let count = |line: &str, name: &str| -> u64 {
        let word = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    // The kernel tells of dropped datagrams with one that it did not drop, and the host asks with
    // some. In the end each of the 202 was either served or dropped.
    until("the dropped ones are counted", || {
        client.retry_until_heard("hello");
        scene.signal(Signal::USR1);
        let counted = |line: &&String| line.contains("counted ") && line.contains("plugin=misbehave");
        let log = scene.log();
        let Some(line) = log.iter().rev().find(counted) else { return false };
        count(line, "dropped") > 100 && count(line, "sessions") + count(line, "dropped") >= 202
    });
    scene.stop();
}

#[test]
fn a_buffer_that_the_kernel_does_not_give_is_told_of() {
    for (family, key) in
        [(Family::Udp, "receive-buffer"), (Family::Udp, "send-buffer"), (Family::Tcp, "receive-buffer")]
    {
        let folder = Folder::new();
        let guest = if family == Family::Tcp { answers("A") } else { rust("misbehave-udp") };
        folder.manifest("asks", &format!("{}{key} = '1GiB'", family.listen(&folder, "asks"))).plugin("asks", &guest);
        let wharf = Wharf::serve(&folder);
        wharf.event("listening", "asks");
        wharf.logs(&["WARN", key, "the kernel gave less", "asked=1073741823", "given="]);
        wharf.stop();
    }
}
