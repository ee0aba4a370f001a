//! What one source of requests may have: sessions at once, new ones a second.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Instant;

use crate::harness::guests::shipped;
use crate::harness::observe::until;
use crate::harness::{
    CONCURRENCIES, Client, DatagramClient, Family, Folder, Scene, Wharf, answer, answers, ask, fixture, in_every_mode,
};

const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// One whole session from this address: whether it was served, and not refused.
fn served(from: Ipv4Addr, address: SocketAddr) -> bool {
    Client::connect_from(from, address).served("x", &answer("A"))
}

in_every_mode! {
    concurrencies:
        a_source_over_its_rate_is_refused_and_the_others_are_served,
        datagrams_over_a_sources_rate_are_dropped;
}

#[test]
fn a_source_at_its_cap_is_refused_and_the_others_are_served() {
    for concurrency in CONCURRENCIES.into_iter().filter(|concurrency| *concurrency != "serial") {
        let folder = Folder::new();
        let settings = format!("concurrency = '{concurrency}'\nmax-connections-per-source = 3");
        folder.plugin("answers", &answers("A")).settings("answers", &settings);
        let wharf = Wharf::serve(&folder);
        let address = wharf.address("answers");
        let mut inside: Vec<Client> = (0..3).map(|_| Client::connect(address)).collect();
        for client in &mut inside {
            client.hears("A ");
        }
        let more = Client::connect(address);
        let name = more.name();
        assert_eq!(more.rest(), "", "{concurrency}");
        wharf.logs(&["client refused", "plugin=answers", &name, "by=max-connections-per-source"]);
        assert!(served(THERE, address), "{concurrency}");
        for mut client in inside {
            client.send("x");
            assert_eq!(client.rest(), "A A ", "{concurrency}");
        }
        until("their places are free", || served(HERE, address));
        if concurrency == "process" {
            // Who is refused has cost nothing: not even a child.
            until("all children are gone", || wharf.children().is_empty());
            let third = Ipv4Addr::new(127, 0, 0, 3);
            let inside: Vec<Client> = (0..3).map(|_| Client::connect_from(third, address)).collect();
            until("there are three", || wharf.children().len() == 3);
            assert_eq!(Client::connect_from(third, address).rest(), "");
            assert_eq!(wharf.children().len(), 3);
            drop(inside);
        }
        wharf.stop();
    }
}

#[test]
fn a_cap_holds_for_each_listener_by_itself() {
    let folder = Folder::new();
    let listen = "listen = ['tcp://127.0.0.1:0', 'tcp://[::1]:0']";
    folder.plugin("answers", &answers("A")).manifest("answers", &format!("{listen}\nmax-connections-per-source = 1"));
    let wharf = Wharf::serve(&folder);
    for address in [wharf.address("answers"), wharf.address("answers")] {
        let mut inside = Client::connect(address);
        inside.hears("A ");
        assert_eq!(Client::connect(address).rest(), "");
        inside.send("x");
        assert_eq!(inside.rest(), "A A ");
    }
    wharf.stop();
}

#[test]
fn caps_and_rates_are_taken_over_by_the_listener_that_is_there() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", "max-connections-per-source = 1");
    let wharf = Wharf::serve(&folder);
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    let mut inside = Client::connect(address);
    inside.hears("A ");
    assert!(!served(HERE, address));
    folder.settings("answers", "max-connections-per-source = 2");
    wharf.event("loaded", "answers");
    assert!(served(HERE, address), "one more, beside the one that was there before");
    folder.settings("answers", "");
    wharf.event("loaded", "answers");
    let many: Vec<Client> = (0..5).map(|_| Client::connect(address)).collect();
    for mut client in many.into_iter().chain([inside]) {
        client.send("x");
        client.rest();
    }
    wharf.stop();
}

#[test]
fn unix_clients_have_no_source() {
    let folder = Folder::new();
    for (family, name) in [(Family::Unix, "stream"), (Family::Unixgram, "datagrams")] {
        let listen = family.listen(&folder, name);
        let guest = if family.is_stream() { answers("A") } else { shipped("upper-udp") };
        let limits = "max-connections-per-source = 1\nmax-rate-per-source = 1";
        folder.manifest(name, &format!("{listen}{limits}")).plugin(name, &guest);
    }
    let wharf = Wharf::serve(&folder);
    let stream = wharf.url("stream");
    let inside: Vec<Client> = (0..5).map(|_| Client::dial(&stream)).collect();
    for mut client in inside {
        client.hears("A ").send("x");
        assert_eq!(client.rest(), "A A ");
    }
    let client = DatagramClient::to(&wharf.url("datagrams"));
    for _ in 0..5 {
        client.send("x").hears("X");
    }
    wharf.stop();
}

fn a_source_over_its_rate_is_refused_and_the_others_are_served(concurrency: &str) {
    const RATE: usize = 2;
    let folder = Folder::new();
    let settings = format!("concurrency = '{concurrency}'\nmax-rate-per-source = {RATE}");
    folder.plugin("answers", &answers("A")).settings("answers", &settings);
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("answers");
    let begin = Instant::now();
    let admitted = (0..40).filter(|_| served(HERE, address)).count();
    // A burst, and what has grown since.
    let most = RATE + begin.elapsed().as_secs() as usize * RATE + RATE;
    assert!((RATE..=most).contains(&admitted) && admitted < 40, "{concurrency}: {admitted} of 40, {most} at most");
    wharf.logs(&["client refused", "plugin=answers", "by=max-rate-per-source"]);
    assert!(served(THERE, address), "{concurrency}");
    until("a second has passed for it, too", || served(HERE, address));
    wharf.stop();
}

fn datagrams_over_a_sources_rate_are_dropped(concurrency: &str) {
    const RATE: usize = 5;
    let folder = Folder::new();
    let settings = format!("concurrency = '{concurrency}'\nmax-rate-per-source = {RATE}");
    folder.manifest("upper", &format!("{}{settings}", Family::Udp.listen(&folder, "upper")));
    folder.plugin("upper", &shipped("upper-udp"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("upper");
    let server = url.strip_prefix("udp://").expect("UDP");
    let flood = UdpSocket::bind((HERE, 0)).expect("a socket");
    let begin = Instant::now();
    for _ in 0..100 {
        flood.send_to(b"x", server).expect("send");
    }
    // In the order in which they came: behind the flood, and answered.
    DatagramClient::from(THERE, &url).send("hello").hears("HELLO");
    let most = RATE + begin.elapsed().as_secs() as usize * RATE + RATE;
    wharf.logs(&["client refused", "plugin=upper", "by=max-rate-per-source"]);
    // No session of the flood's is left whose answer could come later.
    assert_eq!(wharf.stop().last().map(String::as_str), Some("stopped"));
    flood.set_nonblocking(true).expect("a flag");
    let answered = std::iter::from_fn(|| flood.recv(&mut [0; 8]).ok()).count();
    assert!((RATE..=most).contains(&answered) && answered < 100, "{concurrency}: {answered} of 100");
}

#[test]
fn a_flood_from_one_address_costs_its_neighbours_nothing() {
    let folder = Folder::new();
    let limits = "max-connections-per-source = 4\nmax-rate-per-source = 500\nmax-connections = 64";
    folder.plugin("polite", &fixture("traps_in_handle")).settings("polite", limits);
    folder.plugin("calm", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (address, calm) = (wharf.address("polite"), wharf.address("calm"));
    // All of its places are taken, and it wants more.
    let mut inside: Vec<Client> = (0..4).map(|_| Client::connect(address)).collect();
    for client in &mut inside {
        client.send("x").hears("ok\n");
    }
    let neighbours = [2, 3, 4, 5].map(|last| Ipv4Addr::new(127, 0, 0, last));
    let mut beside = neighbours.map(|source| Client::connect_from(source, address));
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            for _ in 0..1000 {
                // A reset as often as an end, as it has sent something.
                assert!(!Client::connect(address).served("x", "ok\n"), "it has as many as it may");
            }
        });
        for last in (10..200).cycle().take_while(|_| !flood.is_finished()) {
            for client in &mut beside {
                client.send("x").hears("ok\n");
            }
            let mut new = Client::connect_from(Ipv4Addr::new(127, 0, 0, last), address);
            new.send("x").hears("ok\n").ends();
            assert_eq!(new.rest(), "");
            assert_eq!(ask(calm, "x"), answer("A"));
        }
    });
    for mut client in inside.into_iter().chain(beside) {
        client.send("x").hears("ok\n").ends();
        assert_eq!(client.rest(), "");
    }
    wharf.stop();
}

#[test]
fn clients_that_are_timed_out_leave_their_places() {
    let scene = Scene::of("tells", &fixture("tells_errors"))
        .with("max-connections-per-source = 2\ntimeouts.idle = '50ms'")
        .serve();
    for client in [scene.client(), scene.client()] {
        scene.logs(&["session failed", &client.name(), "cause=\"error: timed-out"]);
    }
    until("their places are free", || scene.client().served("", "begin"));
    scene.stop();
}
