//! systemd's side of a service: sockets that it opened, and what it is told.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;

use clap::Parser;
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use wharf::cli::Arguments;

use crate::harness::guests::{rust, shipped};
use crate::harness::{Client, DEADLINE, DatagramClient, Family, Folder, Launch, answer, answers, ask_url};

/// A socket as systemd opens it, and the address that a manifest has for it.
fn socket(family: Family, folder: &Folder) -> (OwnedFd, String) {
    let path = folder.parent().join("systemd.sock");
    let unix = || path.display().to_string();
    match family {
        Family::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let url = format!("tcp://{}", listener.local_addr().expect("bound"));
            (listener.into(), url)
        }
        Family::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
            let url = format!("udp://{}", socket.local_addr().expect("bound"));
            (socket.into(), url)
        }
        Family::Unix => (UnixListener::bind(&path).expect("bind").into(), format!("unix://{}", unix())),
        Family::Unixgram => (UnixDatagram::bind(&path).expect("bind").into(), format!("unixgram://{}", unix())),
    }
}

fn serve(sockets: Vec<OwnedFd>, folder: &Folder) -> Launch {
    Launch::activated(sockets, ["serve".as_ref(), folder.path()])
}

#[track_caller]
fn answers_at(family: Family, url: &str) {
    if family.is_stream() {
        assert_eq!(ask_url(url, "hello"), "HELLO");
    } else {
        DatagramClient::to(url).send("hello").hears("HELLO");
    }
}

#[test]
fn a_server_uses_the_socket_that_is_there() {
    for family in Family::ALL {
        let folder = Folder::new();
        let (socket, url) = socket(family, &folder);
        let path = folder.parent().join("systemd.sock");
        let mode = || fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777).ok();
        let before = mode();
        folder.manifest("upper", &format!("listen = '{url}'\nunix.mode = '0604'\nbacklog = 3"));
        folder.plugin("upper", &shipped(if family.is_stream() { "upper" } else { "upper-udp" }));
        // Who comes before the host is there waits for it.
        let early = family.is_stream().then(|| Client::dial(&url));
        let copy = socket.try_clone().expect("a descriptor");
        let mut wharf = serve(vec![socket], &folder).start();
        assert_eq!(wharf.url("upper"), url);
        if let Some(mut early) = early {
            early.send("early").ends();
            assert_eq!(early.rest(), "EARLY");
        }
        answers_at(family, &url);

        // Another host of the same service takes it over.
        wharf.signal(Signal::USR2);
        let successor = wharf.upgraded();
        assert_eq!(wharf.exited(), 0);
        answers_at(family, &url);
        assert_eq!(mode(), before, "the file is systemd's");
        successor.signal(Signal::TERM);
        wharf.all_ended();
        assert_eq!(mode(), before, "and stays");

        // So does the next one, once it is started again.
        let wharf = serve(vec![copy], &folder).start();
        answers_at(family, &wharf.url("upper"));
        assert!(wharf.log().iter().all(|line| !line.contains("no plugin listens there")), "none is left over");
        wharf.stop();
    }
}

#[test]
fn what_nobody_asks_for_is_named_and_kept() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let (tcp, tcp_url) = socket(Family::Tcp, &folder);
    let (unix, unix_url) = socket(Family::Unix, &folder);
    let mut wharf = serve(vec![tcp, unix], &folder).start();
    wharf.logs(&["WARN", "no plugin listens there", &tcp_url, &unix_url]);
    wharf.event("listening", "answers");
    // Also by the next host.
    wharf.signal(Signal::USR2);
    let successor = wharf.upgraded();
    assert_eq!(wharf.exited(), 0);
    wharf.logs(&["WARN", "no plugin listens there", &tcp_url, &unix_url]);
    wharf.event("listening", "answers");

    for round in ["B", "C"] {
        folder.manifest("late", &format!("listen = ['{tcp_url}', '{unix_url}']")).plugin("late", &answers(round));
        for url in [wharf.url("late"), wharf.url("late")] {
            assert_eq!(ask_url(&url, "x"), answer(round));
        }
        // It goes, and the socket is there for when it comes back.
        folder.remove("late.wat");
        wharf.event("unloaded", "late");
    }
    assert!(wharf.events().iter().all(|line| !line.starts_with("failed")), "{:#?}", wharf.events());
    successor.signal(Signal::TERM);
    wharf.all_ended();
}

#[test]
fn one_socket_has_one_server() {
    let folder = Folder::new();
    let (tcp, url) = socket(Family::Tcp, &folder);
    let listen = format!("listen = '{url}'");
    folder.manifest("first", &listen).plugin("first", &answers("A"));
    let wharf = serve(vec![tcp], &folder).start();
    assert_eq!(wharf.url("first"), url);
    folder.manifest("second", &listen).plugin("second", &answers("B"));
    assert!(wharf.event("failed", "second").reason.contains("plugin first has"));
    folder.remove("first.wat");
    wharf.event("unloaded", "first");
    assert_eq!(wharf.url("second"), url);
    assert_eq!(ask_url(&url, "x"), answer("B"));
    wharf.stop();
}

#[test]
fn ipv4_clients_of_a_socket_of_both_families_are_ipv4() {
    for kind in [Type::STREAM, Type::DGRAM] {
        let socket = Socket::new(Domain::IPV6, kind, None).expect("a socket");
        socket.set_only_v6(false).expect("set");
        socket.bind(&"[::]:0".parse::<std::net::SocketAddr>().expect("an address").into()).expect("bind");
        if kind == Type::STREAM {
            socket.listen(16).expect("listen");
        }
        let port = socket.local_addr().expect("bound").as_socket().expect("an address").port();
        let (scheme, plugin) = if kind == Type::STREAM { ("tcp", "server-facts") } else { ("udp", "misbehave-udp") };
        let folder = Folder::new();
        folder.manifest(plugin, &format!("listen = '{scheme}://[::]:{port}'\nallow = ['127.0.0.1', '::1']"));
        folder.plugin(plugin, &rust(plugin));
        let wharf = serve(vec![socket.into()], &folder).start();
        wharf.event("listening", plugin);
        if kind == Type::STREAM {
            let client = Client::connect(([127, 0, 0, 1], port).into());
            let (name, facts) = (client.name(), client.rest());
            let (theirs, ours) = facts.trim().split_once(' ').expect("two ends");
            assert_eq!(ours, format!("127.0.0.1:{port}"));
            assert_eq!(format!("client={}", theirs.trim_matches(['(', ')'])), name);
            let other = Client::connect_from([127, 0, 0, 2].into(), ([127, 0, 0, 1], port).into());
            wharf.logs(&["client refused", "client=127.0.0.2:", "by=allow"]);
            other.sees_the_end();
        } else {
            let client = DatagramClient::to(&format!("udp://127.0.0.1:{port}"));
            client.send("ends").hears(format!("{} 127.0.0.1:{port}", client.address()));
            let client = UdpSocket::bind("[::1]:0").expect("a port");
            client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            client.send_to(b"ends", format!("[::1]:{port}")).expect("send");
            let mut heard = [0; 100];
            let read = client.recv(&mut heard).expect("an answer");
            let told = format!("{} [::1]:{port}", client.local_addr().expect("bound"));
            assert_eq!(String::from_utf8_lossy(&heard[..read]), told);
        }
        wharf.stop();
    }
}

#[test]
fn sockets_for_another_process_are_let_alone() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let serve = ["serve".as_ref(), folder.path()];
    let wharf = Launch::new(serve).env("LISTEN_FDS", "7").env("LISTEN_PID", "1").start();
    assert_eq!(ask_url(&wharf.url("answers"), "x"), answer("A"));
    wharf.stop();
}

#[test]
fn wrong_sockets_are_said_in_one_line() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("bind"));
    let connection = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        OwnedFd::from(TcpStream::connect(listener.local_addr().expect("bound")).expect("connect"))
    };
    let unbound = || OwnedFd::from(UnixDatagram::unbound().expect("a socket"));
    for (sockets, variables, parts) in [
        (vec![tcp()], vec![("LISTEN_FDS", "one")], vec!["LISTEN_FDS", "\"one\"", "not a number"]),
        (vec![tcp()], vec![("LISTEN_FDS", "-1")], vec!["LISTEN_FDS", "\"-1\"", "not a number"]),
        (vec![tcp()], vec![("LISTEN_FDS", "2")], vec!["LISTEN_FDS", "descriptor 4", "not open"]),
        (
            vec![tcp(), File::open("/dev/null").expect("open").into()],
            vec![("LISTEN_FDNAMES", "web:odd")],
            vec!["LISTEN_FDS", "descriptor 4 (odd)", "no socket"],
        ),
        (vec![connection()], vec![("LISTEN_FDNAMES", "")], vec!["descriptor 3 is a connection", "Accept=no"]),
        (vec![unbound()], vec![], vec!["descriptor 3", "neither a TCP, UDP nor Unix socket"]),
    ] {
        let launch = variables.iter().fold(serve(sockets, &folder), |launch, (name, value)| launch.env(name, value));
        let mut wharf = launch.start();
        assert_eq!(wharf.ended(), 2, "exit status");
        assert_eq!(wharf.events(), [""; 0], "stdout is for events");
        let log = wharf.log();
        assert_eq!(log.len(), 1, "one line: {log:#?}");
        for part in parts.iter().chain(&["wharf: "]) {
            assert!(log[0].contains(part), "no {part:?} in: {}", log[0]);
        }
    }
    let mut wharf =
        Launch::new(["serve".as_ref(), folder.path()]).env("LISTEN_FDS", "1").env("LISTEN_PID", "me").start();
    assert_eq!(wharf.ended(), 2);
    assert!(wharf.log()[0].contains("LISTEN_PID"), "{:?}", wharf.log());
}

/// Who is notified in systemd's place.
struct Manager {
    socket: UnixDatagram,
    address: String,
    _folder: TempDir,
}

impl Manager {
    fn new(is_abstract: bool) -> Self {
        let folder = tempfile::tempdir().expect("create a temporary folder");
        let path = folder.path().join("notify").display().to_string();
        let (socket, address) = if is_abstract {
            let name = SocketAddr::from_abstract_name(&path).expect("it fits");
            (UnixDatagram::bind_addr(&name), format!("@{path}"))
        } else {
            (UnixDatagram::bind(&path), path)
        };
        let socket = socket.expect("bind");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Self { socket, address, _folder: folder }
    }

    /// Waits for the next message, which has to have these lines; returns it.
    #[track_caller]
    fn hears(&self, lines: &[&str]) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message");
        let message = String::from_utf8(buffer[..length].to_vec()).expect("UTF-8");
        for line in lines {
            assert!(message.lines().any(|said| said == *line), "no {line:?} in: {message:?}");
        }
        message
    }

    /// That nothing has come.
    #[track_caller]
    fn hears_nothing(&self) {
        self.socket.set_nonblocking(true).expect("set");
        assert_eq!(self.socket.recv(&mut [0; 16]).expect_err("a message").kind(), io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).expect("set");
    }
}

#[test]
fn a_service_manager_is_told_how_it_goes() {
    for is_abstract in [false, true] {
        let manager = Manager::new(is_abstract);
        let folder = Folder::new();
        folder.plugin("answers", &answers("A")).file("nonsense.wasm", "nonsense");
        let serve = ["serve".as_ref(), folder.path()];
        let mut wharf = Launch::new(serve).env("NOTIFY_SOCKET", &manager.address).start();
        manager.hears(&["READY=1", "STATUS=Plugins: 1, addresses: 1"]);
        wharf.event("listening", "answers");
        wharf.event("refused", "nonsense");

        folder.plugin("second", &answers("B"));
        wharf.event("listening", "second");
        wharf.signal(Signal::HUP);
        let reloading = manager.hears(&["RELOADING=1"]);
        let stamp = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("the time");
        assert!(stamp.parse::<u64>().expect("a number") > 0);
        manager.hears(&["READY=1", "STATUS=Plugins: 2, addresses: 2"]);

        wharf.signal(Signal::USR2);
        let successor = wharf.upgraded();
        let pid = successor.pid().as_raw_nonzero();
        assert_eq!(manager.hears(&[]), format!("MAINPID={pid}"), "the one that it believes says so");
        assert_eq!(wharf.exited(), 0);
        manager.hears_nothing();

        successor.signal(Signal::TERM);
        manager.hears(&["STOPPING=1", "STATUS=Draining 0 sessions"]);
        wharf.all_ended();
        manager.hears_nothing();
    }
}

#[test]
fn a_manager_that_is_not_there_costs_nothing_but_a_line() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    for (address, said) in [("vsock:2:1", "is no address"), ("/nowhere/notify", "can't be notified")] {
        let serve = ["serve".as_ref(), folder.path()];
        let wharf = Launch::new(serve).env("NOTIFY_SOCKET", address).start();
        wharf.logs(&["WARN", said]);
        assert_eq!(ask_url(&wharf.url("answers"), "x"), answer("A"));
        wharf.stop();
    }
}

#[test]
fn a_sessions_process_hears_of_none_of_this() {
    let manager = Manager::new(false);
    let folder = Folder::new();
    let (tcp, url) = socket(Family::Tcp, &folder);
    folder.manifest("answers", &format!("listen = '{url}'\nconcurrency = 'process'")).plugin("answers", &answers("A"));
    let launch = serve(vec![tcp], &folder).env("LISTEN_FDNAMES", "web").env("NOTIFY_SOCKET", &manager.address);
    let wharf = launch.env("KEPT", "yes").start();
    wharf.event("listening", "answers");
    let mut client = Client::dial(&url);
    client.hears("A ");
    let [child] = wharf.children()[..] else { panic!("one session, one process") };
    let environment = fs::read_to_string(format!("/proc/{}/environ", child.as_raw_nonzero())).expect("it runs");
    assert!(environment.contains("KEPT=yes"), "{environment:?}");
    for name in ["LISTEN_", "NOTIFY_SOCKET", "WHARF_UPGRADE"] {
        assert!(!environment.contains(name), "{environment:?}");
    }
    client.send("x");
    assert_eq!(client.rest(), "A A ");
    wharf.stop();
}

/// The file of this name that `docs/how-to/systemd.md` shows.
fn unit(name: &str) -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/systemd.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let begin = format!("```ini\n# /etc/systemd/system/{name}\n");
    let text = page.split(&begin).nth(1).and_then(|rest| rest.split("```").next());
    let lines = text.unwrap_or_else(|| panic!("no {name}")).lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '[']));
    lines.map(|line| line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"))).map(owned).collect()
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn value<'a>(unit: &'a [(String, String)], key: &str) -> &'a str {
    let found = unit.iter().find(|(known, _)| known == key);
    &found.unwrap_or_else(|| panic!("no {key}= in {unit:?}")).1
}

#[test]
fn the_units_of_the_manual_are_right() {
    let service = unit("wharf.service");
    let command: Vec<&str> = value(&service, "ExecStart").split(' ').collect();
    assert!(command[0].starts_with('/') && command[0].ends_with("/wharf"), "{command:?}");
    Arguments::try_parse_from(&command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // systemd knows the type notify-reload from 253 on, and Debian 12 has 252.
    assert_eq!(value(&service, "Type"), "notify");
    assert_eq!(value(&service, "ExecReload"), "/bin/kill -HUP $MAINPID");
    assert_eq!(value(&service, "KillMode"), "mixed");
    assert_eq!(service.iter().find(|(key, _)| key == "ReloadSignal"), None, "SIGHUP is what systemd sends by itself");

    let socket = unit("wharf.socket");
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/systemd.md")).expect("read");
    for (key, value) in &socket {
        let url = match (key.as_str(), value.starts_with('/')) {
            ("ListenStream", false) => format!("tcp://{value}"),
            ("ListenStream", true) => format!("unix://{value}"),
            ("ListenDatagram", false) => format!("udp://{value}"),
            ("ListenDatagram", true) => format!("unixgram://{value}"),
            _ => continue,
        };
        url.parse::<wharf::config::ListenAddress>().unwrap_or_else(|error| panic!("{error}"));
        assert!(page.contains(&format!("\"{url}\"")), "the page has a manifest for {url}");
    }
}
