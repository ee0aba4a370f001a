//! What CPython's own `test_socketserver.py` checks and no test elsewhere here does.
//! `docs/reference/socketserver.md` says which test stands for which of its cases.

use std::net::UdpSocket;
use std::path::Path;

use rustix::process::Signal;

use crate::harness::guests::{example, rust};
use crate::harness::observe::until;
use crate::harness::{Client, DatagramClient, Family, Folder, Launch, Scene, Wharf, in_every_mode};

/// As long as the one in CPython's test: more than any socket's buffers hold.
const BIG_CHUNK: usize = (16 << 20) + 1;

in_every_mode! {
    concurrencies:
        an_error_of_the_handler_goes_to_handle_error_and_no_further,
        an_exit_ends_its_session_and_never_the_server;
}

#[test]
fn every_server_class_answers_client_after_client_and_closes_its_listener() {
    for family in Family::ALL {
        for concurrency in ["serial", "thread", "process"] {
            let about = format!("{family:?} {concurrency}");
            let (name, guest) =
                if family.is_stream() { ("lines", example("lines")) } else { ("echoes", rust("datagram-request")) };
            let folder = Folder::new();
            let manifest = format!("{}concurrency = '{concurrency}'", family.listen(&folder, name));
            folder.manifest(name, &manifest).plugin(name, &guest);
            let wharf = Wharf::serve(&folder);
            let url = wharf.url(name);
            for _ in 0..3 {
                if family.is_stream() {
                    let mut client = Client::dial(&url);
                    client.send("hello world\n").hears("HELLO WORLD\n");
                    assert_eq!(client.rest(), "", "{about}");
                } else {
                    DatagramClient::to(&url).send("hello world\n").hears("hello world\n");
                }
            }
            until("the children are reaped", || wharf.children().is_empty());
            let events = wharf.stop();
            assert!(events.contains(&format!("closed {url} {name}")), "{about}: {events:#?}");
            match url.split_once("://").expect("a URL") {
                ("tcp", _) => assert!(Client::try_dial(&url).is_err(), "{about}: it still listens"),
                ("udp", address) => drop(UdpSocket::bind(address).expect("the port is free again")),
                (_, path) => assert!(!Path::new(path).exists(), "{about}: its file is still there"),
            }
        }
    }
}

fn an_error_of_the_handler_goes_to_handle_error_and_no_further(concurrency: &str) {
    let folder = Folder::new();
    folder.settings("hooks", &format!("concurrency = '{concurrency}'")).plugin("hooks", &rust("hooks"));
    let file = folder.path().join("hooks.wasm");
    let mut wharf = Launch::new(["run".as_ref(), file.as_os_str()]).args(["--requests", "1"]).start();
    let mut client = Client::connect(wharf.address("hooks"));
    let name = client.name();
    client.send("Test error\n");
    wharf.logs(&["session failed", "plugin=hooks", &name, "phase=handle", "cause=\"error: Test error\""]);
    let told = format!("handle_error {}: error: Test error", name.trim_start_matches("client="));
    wharf.logs(&["guest", &told, "plugin=hooks", &name]);
    assert_eq!(client.rest(), "", "{concurrency}: the request is closed in order");
    assert_eq!(wharf.ended(), 0, "{concurrency}: exit status");
}

fn an_exit_ends_its_session_and_never_the_server(concurrency: &str) {
    let scene = Scene::of("misbehave", &rust("misbehave")).with(&format!("concurrency = '{concurrency}'")).serve();
    let mut client = scene.client();
    let name = client.name();
    client.send("exit 3\n");
    scene.logs(&["session failed", "plugin=misbehave", &name, "phase=handle", "cause=\"exit: status "]);
    assert_eq!(client.rest(), "", "{concurrency}: the request is closed in order");
    let mut next = scene.client();
    next.send("still there\n").hears("still there");
    assert_eq!(next.rest(), "", "{concurrency}");
    scene.stop();
}

#[test]
fn what_wfile_is_given_is_sent_at_once_and_whole() {
    let folder = Folder::new();
    folder.plugin("unbuffered", &rust("unbuffered"));
    let wharf = Wharf::serve(&folder);
    let mut client = Client::connect(wharf.address("unbuffered"));
    // It is not flushed, and the handler does not end before it has heard something.
    client.hears("write data\n").send(format!("whole {BIG_CHUNK}\n")).hears([b'x'; 100]);
    // The handler can't have written all of it: nobody reads.
    wharf.signal(Signal::HUP);
    assert_eq!(client.rest().len(), BIG_CHUNK - 100);
    wharf.stop();
}
