//! The semantics of socketserver that are easy to get wrong, each by its name, over every concurrency.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use rustix::process::Signal;

use crate::harness::guests::{Guest, rust, shipped};
use crate::harness::observe::until;
use crate::harness::{
    CONCURRENCIES, Client, DatagramClient, Family, Folder, Launch, Wharf, answer, answers, ask_url, fixture,
};

/// A plugin of its own name with this concurrency.
fn served(family: Family, plugin: &str, guest: &Guest, settings: &str) -> (Folder, Wharf, String) {
    let folder = Folder::new();
    folder.manifest(plugin, &format!("{}{settings}", family.listen(&folder, plugin))).plugin(plugin, guest);
    let wharf = Wharf::serve(&folder);
    let url = wharf.url(plugin);
    (folder, wharf, url)
}

#[test]
fn finish_runs_when_handle_fails_and_not_when_setup_fails() {
    for family in Family::STREAMS {
        for concurrency in CONCURRENCIES {
            let settings = format!("concurrency = '{concurrency}'");
            for (plugin, phase, heard) in [("fails_in_handle", "handle", "finished"), ("fails_in_setup", "setup", "")] {
                let (_folder, wharf, url) = served(family, plugin, &fixture(plugin), &settings);
                let mut client = Client::dial(&url);
                client.send("hello").hears("ok\n").send("!");
                wharf.logs(&["session failed", &client.name(), &format!("phase={phase}"), "cause=\"error: "]);
                assert_eq!(client.rest(), heard, "{family:?} {concurrency}");
                wharf.stop();
            }
        }
    }
}

#[test]
fn finish_of_a_datagram_runs_when_handle_fails_and_not_when_setup_fails() {
    for family in Family::DATAGRAMS {
        for concurrency in CONCURRENCIES {
            // One session after the other, so that what a session sends comes before what the next one does.
            let settings = format!("concurrency = '{concurrency}'\nmax-connections = 1");
            let (_folder, wharf, url) = served(family, "misbehave", &rust("misbehave-udp"), &settings);
            let client = DatagramClient::to(&url);
            client.send("phases").hears("setup").hears("handle").hears("finish");
            client.send("fail-handle").hears("finish");
            wharf.logs(&["session failed", &client.name(), "phase=handle", "cause=\"error: asked to fail\""]);
            client.send("fail-setup").send("next").hears("next");
            wharf.logs(&["session failed", &client.name(), "phase=setup", "cause=\"error: asked to fail\""]);
            wharf.stop();
        }
    }
}

#[test]
fn a_refused_request_is_still_shut_down() {
    for concurrency in CONCURRENCIES {
        let settings = format!("concurrency = '{concurrency}'\nmax-connections = 1");
        let (_folder, wharf, url) = served(Family::Tcp, "hooks", &rust("hooks"), &settings);
        let address: SocketAddr = url.trim_start_matches("tcp://").parse().expect("an address");
        for _ in 0..5 {
            let stranger = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), address);
            let name = stranger.name();
            // Its end comes though its place is the only one, and it neither speaks nor leaves.
            assert_eq!(stranger.rest(), "", "{concurrency}");
            wharf.logs(&["client refused", "plugin=hooks", &name, "by=verify-request"]);
        }
        let mut guest = Client::connect(address);
        guest.send("let in\n");
        wharf.logs(&["session failed", &guest.name(), "phase=handle", "cause=\"error: let in\""]);
        assert_eq!(guest.rest(), "");
        wharf.stop();
    }
}

#[test]
fn a_refused_datagram_is_never_set_up() {
    for concurrency in CONCURRENCIES {
        let settings = format!("concurrency = '{concurrency}'\nmax-connections = 1");
        let (_folder, wharf, url) = served(Family::Udp, "misbehave", &rust("misbehave-udp"), &settings);
        let stranger = DatagramClient::from(Ipv4Addr::new(127, 0, 0, 2), &url);
        stranger.send("fail-setup");
        wharf.logs(&["client refused", "plugin=misbehave", &stranger.name(), "by=verify-request"]);
        DatagramClient::to(&url).send("hello").hears("hello");
        let log = wharf.log();
        assert!(!log.iter().any(|line| line.contains("session failed")), "{concurrency}: {log:#?}");
        wharf.stop();
    }
}

#[test]
fn the_buffered_reply_of_a_datagram_is_one_datagram_sent_at_finish_even_when_empty() {
    for family in Family::DATAGRAMS {
        for concurrency in CONCURRENCIES {
            let settings = format!("concurrency = '{concurrency}'\nmax-connections = 1");
            let (_folder, wharf, url) = served(family, "replies", &rust("datagram-request"), &settings);
            let client = DatagramClient::to(&url);
            // Nothing else comes between any of these and the next.
            client.send("hello").hears("hello");
            client.send("twice A B").hears("AB");
            client.send("empty").hears("");
            client.send("").hears("");
            // `finish` sends it, and so after `handle` has failed.
            client.send("fail").hears("written");
            wharf.logs(&["session failed", "plugin=replies", &client.name(), "phase=handle", "asked to fail"]);
            client.send("hello again").hears("hello again");
            wharf.stop();
        }
    }
}

#[test]
fn the_buffered_writes_of_a_stream_are_sent_at_finish_though_handle_fails() {
    for family in Family::STREAMS {
        for concurrency in CONCURRENCIES {
            let settings = format!("concurrency = '{concurrency}'");
            let (_folder, wharf, url) = served(family, "lines", &rust("stream-request"), &settings);
            assert_eq!(ask_url(&url, "one\ntwo\n"), "ONE\nTWO\n");
            assert_eq!(ask_url(&url, "one\nfail\nthree\n"), "ONE\nFAIL\n");
            wharf.logs(&["session failed", "plugin=lines", "phase=handle", "asked to fail"]);
            wharf.stop();
        }
    }
}

#[test]
fn an_error_in_one_handler_never_stops_the_server() {
    for family in Family::STREAMS {
        for concurrency in CONCURRENCIES {
            let settings = format!("concurrency = '{concurrency}'\nlimits.cpu = '50ms'");
            let (_folder, wharf, url) = served(family, "misbehave", &rust("misbehave"), &settings);
            for (command, cause) in [
                ("error out of luck", "error: out of luck"),
                ("panic", "trap: "),
                ("spin", "cpu: "),
                ("recurse", "stack: "),
            ] {
                let mut client = Client::dial(&url);
                client.send(format!("{command}\n"));
                wharf.logs(&["session failed", &client.name(), "phase=handle", &format!("cause=\"{cause}")]);
                assert_eq!(client.rest(), "", "{concurrency} {command}");
                assert_eq!(ask_url(&url, "still there\n"), "still there", "{family:?} {concurrency} after {command}");
            }
            let events = wharf.stop();
            assert_eq!(events.iter().filter(|line| line.starts_with("listening")).count(), 1, "{events:#?}");
        }
    }
}

#[test]
fn an_error_in_one_datagrams_handler_never_stops_the_server() {
    for family in Family::DATAGRAMS {
        for concurrency in CONCURRENCIES {
            let settings = format!("concurrency = '{concurrency}'\nlimits.cpu = '50ms'");
            let (_folder, wharf, url) = served(family, "misbehave", &rust("misbehave-udp"), &settings);
            let client = DatagramClient::to(&url);
            for (command, cause) in
                [("error out of luck", "error: out of luck"), ("panic", "trap: "), ("spin", "cpu: ")]
            {
                client.send(command);
                let cause = format!("cause=\"{cause}");
                wharf.logs(&["session failed", "plugin=misbehave", &client.name(), "phase=handle", &cause]);
                client.send("still there").hears("still there");
            }
            wharf.stop();
        }
    }
}

#[test]
fn an_ordered_shutdown_stops_the_server() {
    for family in Family::STREAMS {
        for concurrency in CONCURRENCIES {
            let settings = format!("concurrency = '{concurrency}'");
            let (_folder, wharf, url) = served(family, "answers", &answers("A"), &settings);
            assert_eq!(ask_url(&url, "x"), answer("A"));
            let events = wharf.stop();
            assert_eq!(events[events.len() - 2..], [format!("closed {url} answers"), "stopped".to_owned()]);
            assert!(Client::try_dial(&url).is_err(), "{url} {concurrency}");
        }
    }
}

#[test]
fn shutdown_while_starting() {
    let folder = Folder::new();
    for name in ["upper", "echo", "greet", "lifecycle"] {
        folder.shipped(name);
    }
    for round in 0..10 {
        // Every other time there is nothing in the cache, so that it is stopped while it compiles.
        let launch = Launch::new(["serve".as_ref(), folder.path()]);
        let mut wharf = if round % 2 == 0 { launch.start() } else { launch.own_cache().args(["--no-cache"]).start() };
        until("it would know what the signal means", || wharf.catches(Signal::TERM));
        wharf.signal(Signal::TERM);
        assert_eq!(wharf.ended(), 0);
        let events = wharf.events();
        assert_eq!(events.last().map(String::as_str), Some("stopped"), "{events:#?}");
        let count = |word: &str| events.iter().filter(|line| line.starts_with(word)).count();
        assert_eq!(count("listening"), count("closed"), "{events:#?}");
    }
}

#[test]
fn closing_before_the_first_request() {
    for family in Family::ALL {
        for concurrency in CONCURRENCIES {
            let guest = shipped(if family.is_stream() { "upper" } else { "upper-udp" });
            let (folder, wharf, url) = served(family, "upper", &guest, &format!("concurrency = '{concurrency}'"));
            let before = wharf.descriptors();
            folder.remove("upper.wasm");
            wharf.event("closed", "upper");
            wharf.event("unloaded", "upper");
            assert!(wharf.descriptors() < before, "{url} {concurrency}");
            folder.plugin("upper", &guest);
            wharf.event("listening", "upper");
            let events = wharf.stop();
            let tail: Vec<&str> = events.iter().rev().take(3).rev().filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(tail, ["draining", "closed", "stopped"], "{url} {concurrency}");
        }
    }
}

#[test]
fn no_descriptor_leak_over_1024_failed_binds() {
    const BINDS: usize = 1024;
    // Whoever has a port on all addresses has it on each of the 127.0.0.0/8.
    let tcp = TcpListener::bind("0.0.0.0:0").expect("a port");
    let udp = UdpSocket::bind("0.0.0.0:0").expect("a port");
    let (tcp_port, udp_port) = (tcp.local_addr().expect("bound").port(), udp.local_addr().expect("bound").port());
    let paths = tempfile::tempdir().expect("create a temporary folder");
    let (stream, datagram) = (paths.path().join("s"), paths.path().join("d"));
    let stream_holder = UnixListener::bind(&stream).expect("bind");
    let datagram_holder = UnixDatagram::bind(&datagram).expect("bind");
    // As many names for the one file.
    let linked = |to: &Path, number: usize| {
        let link = paths.path().join(format!("{}{number}", to.file_name().expect("a name").display()));
        fs::hard_link(to, &link).expect("link");
        link.display().to_string()
    };
    for family in Family::ALL {
        let folder = Folder::new();
        folder.plugin("fine", &answers("A"));
        let wharf = Wharf::serve(&folder);
        let fine = wharf.url("fine");
        let addresses: Vec<String> = (0..BINDS)
            .map(|number| {
                let ip = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + u32::try_from(number).expect("a few"));
                match family {
                    Family::Tcp => format!("tcp://{ip}:{tcp_port}"),
                    Family::Udp => format!("udp://{ip}:{udp_port}"),
                    Family::Unix => format!("unix://{}", linked(&stream, number)),
                    Family::Unixgram => format!("unixgram://{}", linked(&datagram, number)),
                }
            })
            .collect();
        let before = wharf.descriptors();
        let guest = if family.is_stream() { answers("B") } else { rust("misbehave-udp") };
        folder.manifest("taken", &format!("listen = {addresses:?}")).plugin("taken", &guest);
        for _ in 0..BINDS {
            wharf.event("failed", "taken");
        }
        // Asked once it is done with all of them.
        folder.plugin("later", &answers("C"));
        assert_eq!(ask_url(&wharf.url("later"), "x"), answer("C"));
        assert_eq!(ask_url(&fine, "x"), answer("A"));
        // One more is later's own; and what those sessions had is given back as they end.
        until("no descriptor is left of the binds", || wharf.descriptors() <= before + 1);
        wharf.stop();
    }
    drop((stream_holder, datagram_holder));
}

#[test]
fn finished_threads_and_children_are_reaped() {
    for concurrency in ["thread", "process"] {
        for family in Family::ALL {
            let guest = shipped(if family.is_stream() { "upper" } else { "upper-udp" });
            let (_folder, wharf, url) = served(family, "upper", &guest, &format!("concurrency = '{concurrency}'"));
            let before = wharf.descriptors();
            for _ in 0..50 {
                if family.is_stream() {
                    assert_eq!(ask_url(&url, "hello"), "HELLO");
                } else {
                    DatagramClient::to(&url).send("hello").hears("HELLO");
                }
            }
            until("no thread is left", || wharf.threads_named("upper") == 0);
            until("no child is left, not even a dead one", || wharf.children().is_empty());
            until("no descriptor is left", || wharf.descriptors() <= before);
            wharf.stop();
        }
    }
}

#[test]
fn service_actions_are_called_every_service_interval() {
    let folder = Folder::new();
    let guest = rust("hooks");
    for (name, settings) in
        [("usual", ""), ("often", "service-interval = '10ms'"), ("seldom", "service-interval = '1h'")]
    {
        folder.plugin(name, &guest).settings(name, settings);
    }
    let wharf = Wharf::serve(&folder);
    for name in ["usual", "often", "seldom"] {
        wharf.event("listening", name);
    }
    let called = |name: &str| {
        let plugin = format!("plugin={name}");
        wharf
            .log()
            .iter()
            .filter(|line| line.contains("guest: text=\"service_actions") && line.contains(&plugin))
            .count()
    };
    for _ in 0..3 {
        wharf.logs(&[
            "INFO",
            "guest: text=\"service_actions",
            "plugin=usual",
            &format!("generation={}", guest.generation()),
        ]);
    }
    // Three of the usual half seconds are a hundred and fifty of these, on a machine with nothing else to do.
    assert!(called("often") > called("usual") * 3, "{} and {}", called("often"), called("usual"));
    assert_eq!(called("seldom"), 0);
    // A changed interval counts from the next call on.
    folder.settings("usual", "service-interval = '10ms'");
    for _ in 0..20 {
        wharf.logs(&["guest: text=\"service_actions", "plugin=usual"]);
    }
    // No server, no upkeep.
    folder.remove("often.wasm");
    wharf.event("unloaded", "often");
    let before = called("often");
    for _ in 0..20 {
        wharf.logs(&["guest: text=\"service_actions", "plugin=usual"]);
    }
    assert!(called("often") <= before + 1, "the last may have been on its way");
    wharf.stop();
}

#[test]
fn handle_error_is_called_whatever_the_concurrency() {
    for concurrency in CONCURRENCIES {
        let folder = Folder::new();
        let settings = format!("concurrency = '{concurrency}'");
        folder.plugin("hooks", &rust("hooks")).settings("hooks", &settings);
        let listen = Family::Udp.listen(&folder, "datagrams");
        folder.manifest("datagrams", &format!("{listen}{settings}")).plugin("datagrams", &rust("misbehave-udp"));
        let wharf = Wharf::serve(&folder);
        let (stream, datagrams) = (wharf.url("hooks"), wharf.url("datagrams"));
        let mut client = Client::dial(&stream);
        let name = client.name();
        client.send("no luck\n");
        let told = format!("guest: text=\"handle_error {}: error: no luck", name.trim_start_matches("client="));
        wharf.logs(&[&told, "plugin=hooks", &name]);
        assert_eq!(client.rest(), "");
        let client = DatagramClient::to(&datagrams);
        client.send("panic");
        wharf.logs(&[
            &format!("guest: text=\"handle_error {}: trap: ", client.address()),
            "plugin=datagrams",
            &client.name(),
        ]);
        wharf.stop();
    }
}
