//! The semantics of socketserver that are easy to get wrong, each by its name, over every
//! concurrency.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use rustix::process::Signal;

use crate::harness::guests::{rust, shipped};
use crate::harness::observe::until;
use crate::harness::{
    Client, DatagramClient, Family, Folder, Launch, Scene, Wharf, answer, answers, ask_url, fixture, in_every_mode,
};

in_every_mode! {
    all:
        closing_before_the_first_request;
    streams:
        finish_runs_when_handle_fails_and_not_when_setup_fails,
        the_buffered_writes_of_a_stream_are_sent_at_finish_though_handle_fails,
        an_error_in_one_handler_never_stops_the_server,
        an_ordered_shutdown_stops_the_server;
    datagrams:
        finish_of_a_datagram_runs_when_handle_fails_and_not_when_setup_fails,
        the_buffered_reply_of_a_datagram_is_sent_at_finish_even_when_empty,
        an_error_in_one_datagrams_handler_never_stops_the_server;
    concurrencies:
        a_refused_request_is_still_shut_down,
        a_refused_datagram_is_never_set_up,
        handle_error_is_called;
}

fn finish_runs_when_handle_fails_and_not_when_setup_fails(family: Family, concurrency: &str) {
    for (plugin, phase, heard) in [("fails_in_handle", "handle", "finished"), ("fails_in_setup", "setup", "")] {
        let scene = Scene::of(plugin, &fixture(plugin)).over(family).concurrency(concurrency).serve();
        let mut client = scene.client();
        client.send("hello").hears("ok\n").send("!");
        scene.logs(&["session failed", &client.name(), &format!("phase={phase}"), "cause=\"error: "]);
        assert_eq!(client.rest(), heard, "{family:?} {concurrency}");
        scene.stop();
    }
}

fn finish_of_a_datagram_runs_when_handle_fails_and_not_when_setup_fails(family: Family, concurrency: &str) {
    // One session after the other, so that what a session sends comes before what the next one
    // does.
    let scene = Scene::of("misbehave", &rust("misbehave-udp"))
        .over(family)
        .concurrency(concurrency)
        .with("max-connections = 1")
        .serve();
    let client = scene.datagram_client();
    client.send("phases").hears("setup").hears("handle").hears("finish");
    client.send("fail-handle").hears("finish");
    scene.logs(&["session failed", &client.name(), "phase=handle", "cause=\"error: asked to fail\""]);
    client.send("fail-setup").send("next").hears("next");
    scene.logs(&["session failed", &client.name(), "phase=setup", "cause=\"error: asked to fail\""]);
    scene.stop();
}

fn a_refused_request_is_still_shut_down(concurrency: &str) {
    let scene = Scene::of("hooks", &rust("hooks")).concurrency(concurrency).with("max-connections = 1").serve();
    let address: SocketAddr = scene.address();
    for _ in 0..5 {
        let stranger = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), address);
        let name = stranger.name();
        // Its end comes though its place is the only one, and it neither speaks nor leaves.
        assert_eq!(stranger.rest(), "", "{concurrency}");
        scene.logs(&["client refused", "plugin=hooks", &name, "by=verify-request"]);
    }
    let mut guest = Client::connect(address);
    guest.send("let in\n");
    scene.logs(&["session failed", &guest.name(), "phase=handle", "cause=\"error: let in\""]);
    assert_eq!(guest.rest(), "");
    scene.stop();
}

fn a_refused_datagram_is_never_set_up(concurrency: &str) {
    let scene = Scene::of("misbehave", &rust("misbehave-udp"))
        .over(Family::Udp)
        .concurrency(concurrency)
        .with("max-connections = 1")
        .serve();
    let stranger = DatagramClient::from(Ipv4Addr::new(127, 0, 0, 2), &scene.url);
    stranger.send("fail-setup");
    scene.logs(&["client refused", "plugin=misbehave", &stranger.name(), "by=verify-request"]);
    scene.datagram_client().send("hello").hears("hello");
    let log = scene.log();
    assert!(!log.iter().any(|line| line.contains("session failed")), "{concurrency}: {log:#?}");
    scene.stop();
}

fn the_buffered_reply_of_a_datagram_is_sent_at_finish_even_when_empty(family: Family, concurrency: &str) {
    let scene = Scene::of("replies", &rust("datagram-request"))
        .over(family)
        .concurrency(concurrency)
        .with("max-connections = 1")
        .serve();
    let client = scene.datagram_client();
    // Nothing else comes between any of these and the next.
    client.send("hello").hears("hello");
    client.send("twice A B").hears("AB");
    client.send("empty").hears("");
    client.send("").hears("");
    // `finish` sends it, and so after `handle` has failed.
    client.send("fail").hears("written");
    scene.logs(&["session failed", "plugin=replies", &client.name(), "phase=handle", "asked to fail"]);
    client.send("hello again").hears("hello again");
    scene.stop();
}

fn the_buffered_writes_of_a_stream_are_sent_at_finish_though_handle_fails(family: Family, concurrency: &str) {
    let scene = Scene::of("lines", &rust("stream-request")).over(family).concurrency(concurrency).serve();
    assert_eq!(scene.ask("one\ntwo\n"), "ONE\nTWO\n");
    assert_eq!(scene.ask("one\nfail\nthree\n"), "ONE\nFAIL\n");
    scene.logs(&["session failed", "plugin=lines", "phase=handle", "asked to fail"]);
    scene.stop();
}

fn an_error_in_one_handler_never_stops_the_server(family: Family, concurrency: &str) {
    let scene = Scene::of("misbehave", &rust("misbehave"))
        .over(family)
        .concurrency(concurrency)
        .with("limits.cpu = '50ms'")
        .serve();
    for (command, cause) in
        [("error out of luck", "error: out of luck"), ("panic", "trap: "), ("spin", "cpu: "), ("recurse", "stack: ")]
    {
        let mut client = scene.client();
        client.send(format!("{command}\n"));
        scene.logs(&["session failed", &client.name(), "phase=handle", &format!("cause=\"{cause}")]);
        assert_eq!(client.rest(), "", "{concurrency} {command}");
        assert_eq!(scene.ask("still there\n"), "still there", "{family:?} {concurrency} after {command}");
    }
    let events = scene.stop();
    assert_eq!(events.iter().filter(|line| line.starts_with("listening")).count(), 1, "{events:#?}");
}

fn an_error_in_one_datagrams_handler_never_stops_the_server(family: Family, concurrency: &str) {
    let scene = Scene::of("misbehave", &rust("misbehave-udp"))
        .over(family)
        .concurrency(concurrency)
        .with("limits.cpu = '50ms'")
        .serve();
    let client = scene.datagram_client();
    for (command, cause) in [("error out of luck", "error: out of luck"), ("panic", "trap: "), ("spin", "cpu: ")] {
        client.send(command);
        let cause = format!("cause=\"{cause}");
        scene.logs(&["session failed", "plugin=misbehave", &client.name(), "phase=handle", &cause]);
        client.send("still there").hears("still there");
    }
    scene.stop();
}

fn an_ordered_shutdown_stops_the_server(family: Family, concurrency: &str) {
    let scene = Scene::of("answers", &answers("A")).over(family).concurrency(concurrency).serve();
    assert_eq!(scene.ask("x"), answer("A"));
    let url = scene.url.clone();
    let events = scene.stop();
    assert_eq!(events[events.len() - 2..], [format!("closed {url} answers"), "stopped".to_owned()]);
    assert!(Client::try_dial(&url).is_err());
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

fn closing_before_the_first_request(family: Family, concurrency: &str) {
    let guest = shipped(if family.is_stream() { "upper" } else { "upper-udp" });
    let scene = Scene::of("upper", &guest).over(family).concurrency(concurrency).serve();
    let before = scene.descriptors();
    scene.folder.remove("upper.wasm");
    scene.event("closed", "upper");
    scene.event("unloaded", "upper");
    assert!(scene.descriptors() < before);
    scene.folder.plugin("upper", &guest);
    scene.event("listening", "upper");
    let events = scene.stop();
    let tail: Vec<&str> = events.iter().rev().take(3).rev().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(tail, ["draining", "closed", "stopped"]);
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
            let scene = Scene::of("upper", &guest).over(family).concurrency(concurrency).serve();
            let before = scene.descriptors();
            for _ in 0..50 {
                if family.is_stream() {
                    assert_eq!(scene.ask("hello"), "HELLO");
                } else {
                    scene.datagram_client().send("hello").hears("HELLO");
                }
            }
            until("no thread is left", || scene.threads_named("upper") == 0);
            until("no child is left, not even a dead one", || scene.children().is_empty());
            until("no descriptor is left", || scene.descriptors() <= before);
            scene.stop();
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
    // Three of the usual half seconds are a hundred and fifty of these, on a machine with nothing
    // else to do.
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

fn handle_error_is_called(concurrency: &str) {
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
