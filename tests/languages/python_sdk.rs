//! Python scripts that use socketserver, as plugins that `guest-sdk/python` made of them and
//! `cargo xtask examples` has built. Where Python's toolchain could not be had, they are named and
//! left out.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;
use xtask::left_out;

use crate::harness::guests::{Guest, root};
use crate::harness::{Client, DEADLINE, DatagramClient, Folder, Launch, Wharf, ask, ask_url};

pub fn built(file: &str) -> PathBuf {
    root().join("target/examples/python-sdk").join(file)
}

/// A plugin that was built, and compiled by now, which takes seconds that no test's deadline has to
/// count.
fn script(name: &str) -> Option<Guest> {
    let path = built(&format!("{name}.wasm"));
    if !path.is_file() {
        left_out::note_unbuilt("python", &format!("the plugin {name} of a Python script"), "cargo xtask examples");
        return None;
    }
    // One after the other: two that compile the same take twice as long.
    static COMPILING: Mutex<()> = Mutex::new(());
    let _alone = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut check = Launch::new(["check".as_ref(), path.as_os_str()]).start();
    assert_eq!(check.ended_within(4 * DEADLINE), 0, "{:?}", check.events());
    Some(Guest::wasm(fs::read(&path).expect("it was there")))
}

fn serving(name: &str, settings: &str) -> Option<(Wharf, Folder)> {
    let guest = script(name)?;
    let folder = Folder::new();
    folder.settings(name, settings).plugin(name, &guest);
    Some((Wharf::serve(&folder), folder))
}

/// The manifest inside a plugin, which comes last in the file.
fn manifest_inside(guest: &Guest) -> String {
    let name = b"wharf:manifest";
    let at = guest.bytes.windows(name.len()).rposition(|window| window == name).expect("there is one");
    String::from_utf8(guest.bytes[at + name.len()..].to_vec()).expect("UTF-8")
}

#[test]
fn the_scripts_own_settings_are_in_the_plugin() {
    for (name, manifest) in [
        ("tcp", "listen = \"tcp://127.0.0.1:9001\"\nconcurrency = \"serial\"\n"),
        ("udp", "listen = \"udp://127.0.0.1:9003\"\nconcurrency = \"serial\"\n"),
        ("commands", "listen = \"tcp://127.0.0.1:0\"\nconcurrency = \"thread\"\nbacklog = 77\ndaemon-threads = true\n"),
        (
            "datagrams",
            "listen = \"udp://127.0.0.1:9022\"\nconcurrency = \"process\"\nmax-packet-size = 1000\nmax-children = 7\n\
             service-interval = \"100ms\"\n",
        ),
        // Its address is not its own to ask for.
        ("web", "concurrency = \"thread\"\ndaemon-threads = true\n"),
    ] {
        let Some(guest) = script(name) else { return };
        assert_eq!(manifest_inside(&guest), manifest, "{name}");
    }
    let beside = fs::read_to_string(built("web.toml")).expect("it was written with the plugin");
    assert!(beside.ends_with("\nlisten = \"tcp://0.0.0.0:8765\"\n"), "{beside}");
}

#[test]
fn the_examples_for_socketserver_answer_as_they_do_in_python() {
    let Some((wharf, _folder)) = serving("tcp", "") else { return };
    let mut client = Client::connect(wharf.address("tcp"));
    let name = client.name();
    client.send("  hello \n");
    assert_eq!(client.rest(), "HELLO");
    wharf.logs(&["INFO", "guest: text=\"Received from 127.0.0.1:", "plugin=tcp", &name, "stream=stdout"]);
    wharf.logs(&["INFO", "guest: text=\"hello", "plugin=tcp", &name]);
    wharf.stop();

    let Some(guest) = script("udp") else { return };
    let folder = Folder::new();
    folder.manifest("udp", "listen = 'udp://127.0.0.1:0'").plugin("udp", &guest);
    let wharf = Wharf::serve(&folder);
    DatagramClient::to(&wharf.url("udp")).send("  hello \n").hears("HELLO");
    wharf.logs(&["guest: text=\"127.0.0.1 wrote:", "plugin=udp"]);
    wharf.stop();
}

#[test]
fn a_handler_has_what_its_script_set_up_and_what_socketserver_gives_it() {
    let Some((wharf, _folder)) = serving(
        "commands",
        "args = ['--fast', 'two']\n[grants.env]\nNAME = 'value'\n[[grants.dirs]]\nhost = '.'\nguest = '/'",
    ) else {
        return;
    };
    let address = wharf.address("commands");
    let mut client = Client::connect(address);
    let name = client.name();
    for (says, hears) in [
        ("greeting", "hello from set-up"),
        ("client", name.trim_start_matches("client=")),
        // The port that the kernel chose, though the script asked for port 0.
        ("address", &address.to_string()),
        ("server-class", "Server Commands one for all"),
        ("arguments", "--fast two"),
        ("variable NAME", "value"),
        ("variable PATH", "unset"),
        ("variable PYTHONPATH", "unset"),
        // Where relative paths begin, and what is granted there; not the machine that it was built
        // on.
        ("folder", "/"),
        ("reads commands.toml", "listen = \"tcp://127.0.0.1:0\""),
        ("reads greeting.txt", "FileNotFoundError"),
        ("reads /etc/passwd", "FileNotFoundError"),
        // Modules that are first imported in the handler, the script's own and Python's.
        ("late-import", "late (0.0, 0.0, 0)"),
        ("codec latin-1", "e9"),
        ("codec cp437", "82"),
        ("codec utf-16-le", "e900"),
        ("idna", "xn--bcher-kva.example"),
    ] {
        client.send(format!("{says}\n")).hears(format!("{hears}\n"));
    }
    client.ends();
    assert_eq!(client.rest(), "");
    wharf.stop();
}

#[test]
fn each_request_begins_where_the_script_served_unless_instances_are_reused() {
    for (settings, second) in [("", "1\n"), ("concurrency = 'serial'\ninstance = 'reused'", "2\n")] {
        let Some((wharf, _folder)) = serving("commands", settings) else { return };
        let address = wharf.address("commands");
        assert_eq!(ask(address, "count\n"), "1\n");
        assert_eq!(ask(address, "count\n"), second);
        // Chance is not part of what each begins with.
        assert_ne!(ask(address, "dice\n"), ask(address, "dice\n"));
        wharf.stop();
    }
}

#[test]
fn what_it_prints_and_logs_is_in_the_log() {
    let Some((wharf, _folder)) = serving("commands", "") else { return };
    let mut client = Client::connect(wharf.address("commands"));
    let name = client.name();
    client.send("says hello log\nlogs heed this\nmutters no end of line\n").ends();
    assert_eq!(client.rest(), "");
    wharf.logs(&["INFO", "guest: text=\"hello log", "plugin=commands", &name, "stream=stdout"]);
    wharf.logs(&["INFO", "guest: text=\"WARNING:commands:heed this", "plugin=commands", &name, "stream=stderr"]);
    wharf.logs(&["guest: text=\"no end of linesteps: setup finish", &name]);
    // What it printed when it was set up was the build's.
    let log = wharf.log();
    wharf.stop();
    assert!(!log.iter().any(|line| line.contains("set up") || line.contains("Server loop")), "{log:#?}");
}

#[test]
fn the_request_is_a_socket() {
    let Some((wharf, _folder)) = serving("commands", "") else { return };
    let address = wharf.address("commands");
    let mut client = Client::connect(address);
    client.send("options\n").hears("True 20.0 True AF_INET\n");
    client
        .send("takes\n")
        .hears("go\n")
        .send("one\n")
        .hears("go on\n")
        .send("two")
        .hears("one||two\n".replace("||", "|"));
    client.send("files\n").hears("say: ").send("words é\n").hears("WORDS É\n");
    // Each of them leaves the timeout as it made it.
    client.send("waits-not\n").hears("BlockingIOError\n");
    client.send("waits 0.05\n").hears("TimeoutError: timed out\n");
    client.ends();
    assert_eq!(client.rest(), "");

    let mut client = Client::connect(address);
    client.send("sends 3000000\n").hears("x".repeat(3_000_000)).hears("\n");
    client.send("bytes 3000000\n").send(vec![b'y'; 3_000_000]).hears("3000000\n").ends();
    assert_eq!(client.rest(), "");

    let mut client = Client::connect(address);
    let name = client.name();
    client.send("shuts-down\n").hears("bye\n");
    assert_eq!(client.rest(), "");
    wharf.logs(&["guest: text=\"broken: ", "Broken pipe", &name]);

    let mut client = Client::connect(address);
    let name = client.name();
    client.send("reads-to-reset\n");
    client.send("x");
    client.resets();
    wharf.logs(&["guest: text=\"reset: ", "Connection reset", &name]);

    let client = Client::connect(address);
    let name = client.name();
    let mut stays = client;
    stays.send("closes\n");
    assert_eq!(stays.rest(), "", "the end is told when the handler closes");
    wharf.logs(&["guest: text=\"closed: -1", &name]);
    wharf.stop();
}

#[test]
fn a_timeout_of_the_handler_class_bounds_its_waits() {
    let Some((wharf, _folder)) = serving("commands", "[timeouts]\nidle = '100ms'") else { return };
    // The operator's is shorter than the class's own, and raises the same exception.
    let client = Client::connect(wharf.address("commands"));
    let name = client.name();
    wharf.logs(&["guest: text=\"TimeoutError: timed out", &name, "stream=stderr"]);
    wharf.logs(&["session failed", &name, "phase=handle", "cause=\"error: TimeoutError: timed out\""]);
    assert_eq!(client.rest(), "");
    wharf.stop();
}

#[test]
fn an_exception_goes_to_handle_error_after_finish_and_is_told_with_its_traceback() {
    let Some((wharf, _folder)) = serving("commands", "") else { return };
    let address = wharf.address("commands");
    let mut client = Client::connect(address);
    let name = client.name();
    client.send("greeting\nfails for good reasons\n");
    assert_eq!(client.rest(), "hello from set-up\n");
    wharf.logs(&["guest: text=\"steps: setup finish", &name]);
    for line in [
        "Exception occurred during processing of request from ('127.0.0.1', ",
        "Traceback (most recent call last):",
        "  File \"tests/python/commands.py\", line ",
        "    raise ValueError(\" \".join(words))",
        "ValueError: for good reasons",
    ] {
        let line = line.replace('"', "\\\"");
        wharf.logs(&[&format!("guest: text=\"{line}"), &name, "stream=stderr"]);
    }
    let cause = "cause=\"error: ValueError: for good reasons\"";
    wharf.logs(&["WARN", "session failed", "plugin=commands", &name, "phase=handle", cause]);

    // The script's own handle_error takes this one.
    let mut client = Client::connect(address);
    let quiet = client.name();
    client.send("fails quietly\n");
    assert_eq!(client.rest(), "");
    wharf.logs(&["guest: text=\"handled: quietly", &quiet]);

    let mut client = Client::connect(address);
    let name = client.name();
    client.send("exits 3\n");
    assert_eq!(client.rest(), "");
    wharf.logs(&["session failed", &name, "phase=handle", "cause=\"exit: status 1"]);
    assert_eq!(ask(address, "greeting\n"), "hello from set-up\n", "the server goes on");
    let log = wharf.log();
    wharf.stop();
    assert!(!log.iter().any(|line| line.contains("session failed") && line.contains(&quiet)), "{log:#?}");
}

#[test]
fn a_health_check_leaves_no_traceback() {
    let Some((wharf, _folder)) = serving("commands", "") else { return };
    let address = wharf.address("commands");
    // What it meets at the first line is an exception of socketserver's own kind: nobody is told of
    // it.
    let client = Client::connect(address);
    let name = client.name();
    client.resets();
    wharf.logs(&["guest: text=\"steps: setup", &name]);
    // One that has spoken, and does the same, is told as in Python.
    let mut client = Client::connect(address);
    client.send("greeting\n").hears("hello from set-up\n");
    let spoke = client.name();
    client.resets();
    wharf.logs(&["guest: text=\"ConnectionResetError: ", &spoke]);
    wharf.logs(&["INFO", "client left", &spoke, "cause=\"error: ConnectionResetError: "]);
    wharf.signal(Signal::USR1);
    wharf.logs(&["counted sessions=2 probes=1 handle.left=1 plugin=commands"]);
    let log = wharf.log();
    wharf.stop();
    let told = |line: &&String| line.contains(&name) && (line.contains("WARN") || line.contains("Error"));
    assert_eq!(log.iter().find(told), None);
}

#[test]
fn verify_request_turns_clients_away_before_setup() {
    let Some((wharf, _folder)) = serving("commands", "") else { return };
    let address = wharf.address("commands");
    let client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 66), address);
    let turned_away = client.name();
    assert_eq!(client.rest(), "");
    assert_eq!(ask(address, "greeting\n"), "hello from set-up\n");
    wharf.logs(&["guest: text=\"steps: setup finish"]);
    // In Python an exception there ends the server; here its session.
    let client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 77), address);
    let name = client.name();
    assert_eq!(client.rest(), "");
    wharf.logs(&["guest: text=\"RuntimeError: of no use to anybody", &name]);
    wharf.logs(&["session failed", &name, "cause=\"error: RuntimeError: of no use to anybody\""]);
    assert_eq!(ask(address, "greeting\n"), "hello from set-up\n");
    let log = wharf.log();
    wharf.stop();
    assert!(!log.iter().any(|line| line.contains(&turned_away)), "{log:#?}");
}

#[test]
fn what_a_sandbox_cannot_do_is_an_exception_that_says_what_to_do() {
    let Some((wharf, _folder)) = serving("commands", "") else { return };
    let mut client = Client::connect(wharf.address("commands"));
    for (what, error, advice) in [
        ("connect", "OSError: ", "no outbound network: put what the handler needs into a folder that [[grants.dirs]]"),
        ("resolve", "gaierror: ", "'example.org': a plugin can't look up host names: write an IP address"),
        ("process", "OSError: ", "a plugin can't start processes: do the work in Python within the handler"),
        ("fork", "OSError: ", "a plugin can't start processes: "),
        ("thread", "RuntimeError: ", "a plugin can't start threads: do the work within the handler"),
        ("signal", "OSError: ", "a plugin gets no signals: bound a wait with settimeout()"),
        ("select", "OSError: ", "a plugin can't wait for several descriptors: read from self.request"),
        ("ssl", "ModuleNotFoundError: ", "a plugin has no ssl module: let a proxy in front of wharf end TLS"),
        ("shutdown", "RuntimeError: ", "a plugin can't stop its server: send SIGTERM to `wharf serve`"),
        ("option", "OSError: ", "a plugin can't set this option"),
    ] {
        client.send(format!("cannot {what}\n"));
        let answer = line(&mut client);
        assert!(answer.starts_with(error) && answer.contains(advice), "{what}: {answer}");
    }
    wharf.stop();
}

fn line(client: &mut Client) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let byte = client.heard(1);
        assert!(!byte.is_empty(), "the end after {:?}", String::from_utf8_lossy(&line));
        line.extend(byte);
    }
    String::from_utf8(line).expect("UTF-8")
}

#[test]
fn the_operator_may_serve_it_elsewhere_and_otherwise() {
    let Some(guest) = script("commands") else { return };
    let folder = Folder::new();
    let socket = folder.parent().join("commands.sock");
    for concurrency in ["serial", "task", "thread", "process"] {
        folder.manifest(
            concurrency,
            &format!(
                "listen = ['tcp://[::1]:0', 'unix://{}.{concurrency}']\nconcurrency = '{concurrency}'",
                socket.display()
            ),
        );
        folder.plugin(concurrency, &guest);
    }
    let wharf = Wharf::serve(&folder);
    for concurrency in ["serial", "task", "thread", "process"] {
        for _ in 0..2 {
            assert_eq!(ask_url(&wharf.url(concurrency), "greeting\n"), "hello from set-up\n", "{concurrency}");
        }
    }
    wharf.stop();
}

#[test]
fn a_datagram_is_answered_by_what_wfile_holds() {
    let Some(guest) = script("datagrams") else { return };
    let folder = Folder::new();
    folder.manifest("datagrams", "listen = 'udp://127.0.0.1:0'").plugin("datagrams", &guest);
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("datagrams");
    let client = DatagramClient::to(&url);
    client.send("upper abc").hears("ABC").send("").hears("").send("twice").hears("first").hears("second");
    client.send(format!("length {}", "x".repeat(2000))).hears("1000");
    let other = DatagramClient::to(&url);
    let (_, port) =
        other.address().rsplit_once(':').map(|(ip, port)| (ip.to_owned(), port.to_owned())).expect("a port");
    client.send(format!("elsewhere {port}")).hears("PermissionError");
    // finish sends what there is though handle failed.
    client.send("fail on purpose").hears("nevertheless");
    wharf.logs(&["session failed", &client.name(), "cause=\"error: RuntimeError: on purpose\""]);
    // Of its server class, once every service-interval, in an instance of its own.
    wharf.logs(&["guest: text=\"service actions", "plugin=datagrams"]);
    wharf.logs(&["guest: text=\"service actions", "plugin=datagrams"]);
    wharf.stop();
}

/// A web server, and the folder that it serves.
fn web() -> Option<(Wharf, Folder, SocketAddr)> {
    let guest = script("web")?;
    let folder = Folder::new();
    let www = folder.parent().join("www");
    fs::create_dir_all(www.join("shelf")).expect("create folders");
    fs::write(www.join("a.txt"), "text\n").expect("write");
    fs::write(www.join("large.bin"), large()).expect("write");
    fs::write(www.join("shelf/book & pen.html"), "<p>").expect("write");
    fs::write(folder.parent().join("secret"), "of the host").expect("write");
    folder.settings("web", "[[grants.dirs]]\nhost = '../www'\nguest = '/www'\n").plugin("web", &guest);
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("web");
    Some((wharf, folder, address))
}

/// 20 MB without a period that a buffer's size could hide a lost or doubled piece in.
fn large() -> Vec<u8> {
    (0..20_000_000u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

struct Response {
    status: String,
    headers: String,
    body: Vec<u8>,
}

/// One request, on a connection that may be kept for others.
fn request(client: &mut Client, method: &str, path: &str) -> Response {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let status = line(client).trim_end().to_owned();
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") && headers != "\r\n" {
        headers += &line(client);
    }
    let length = headers.lines().find_map(|header| header.strip_prefix("Content-Length: "));
    let length = length.map_or(0, |length| length.parse().expect("a number"));
    let body = if method == "HEAD" { Vec::new() } else { client.heard(length) };
    Response { status, headers, body }
}

#[test]
fn a_folder_is_served_by_the_library_s_own_http_server() {
    let Some((wharf, _folder, address)) = web() else { return };
    // All on one connection, as HTTP/1.1 has it.
    let mut client = Client::connect(address);
    let got = request(&mut client, "GET", "/a.txt");
    assert_eq!((got.status.as_str(), got.body.as_slice()), ("HTTP/1.1 200 OK", &b"text\n"[..]));
    assert!(got.headers.contains("Content-type: text/plain\r\n"), "{}", got.headers);
    assert!(got.headers.contains("Server: SimpleHTTP/0.6 Python/3."), "{}", got.headers);

    let got = request(&mut client, "HEAD", "/large.bin");
    assert_eq!(got.status, "HTTP/1.1 200 OK");
    assert!(got.headers.contains("Content-Length: 20000000\r\n"), "{}", got.headers);
    let got = request(&mut client, "GET", "/large.bin");
    assert!(got.body == large(), "{} bytes, or others", got.body.len());

    let got = request(&mut client, "GET", "/shelf");
    assert_eq!(got.status, "HTTP/1.1 301 Moved Permanently");
    assert!(got.headers.contains("Location: /shelf/\r\n"), "{}", got.headers);
    let got = request(&mut client, "GET", "/shelf/");
    let listing = String::from_utf8(got.body).expect("UTF-8");
    assert!(listing.contains("<a href=\"book%20%26%20pen.html\">book &amp; pen.html</a>"), "{listing}");
    assert_eq!(request(&mut client, "GET", "/shelf/book%20%26%20pen.html").body, b"<p>");

    client.ends();
    assert_eq!(client.rest(), "");

    // After what it doesn't know the handler closes the connection.
    for (method, path, status) in [
        ("GET", "/none", "404 File not found"),
        ("GET", "/../secret", "404 File not found"),
        ("GET", "/%2e%2e/secret", "404 File not found"),
        ("GET", "//etc/passwd", "404 File not found"),
        ("POST", "/a.txt", "501 Unsupported method ('POST')"),
    ] {
        let mut client = Client::connect(address);
        let got = request(&mut client, method, path);
        assert_eq!(got.status, format!("HTTP/1.1 {status}"), "{path}");
        assert_eq!(client.rest(), "", "{path}");
    }
    wharf.logs(&["guest: text=\"127.0.0.1 - - [", "\\\"GET /a.txt HTTP/1.1\\\" 200 -", "plugin=web", "stream=stderr"]);
    wharf.logs(&["guest: text=\"127.0.0.1 - - [", "code 404, message File not found", "plugin=web"]);
    let log = wharf.log();
    wharf.stop();
    assert!(!log.iter().any(|line| line.contains("session failed")), "{log:#?}");
}

#[test]
fn many_ask_the_http_server_at_once() {
    let Some((wharf, _folder, address)) = web() else { return };
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(request(client, "GET", "/a.txt").body, b"text\n");
        }
    }
    drop(clients);
    wharf.stop();
}
