//! Ordinary programs, served as inetd does: each scenario once as a WASI 0.1 module, once as a
//! component.

use std::thread;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::harness::guests::{self, Guest};
use crate::harness::{Client, Folder, Launch, Wharf, ask, client};

/// The program as it stands, and as a component that exports `wasi:cli/run`.
pub fn both(name: &str) -> [(&'static str, Guest); 2] {
    let path = guests::root().join(format!("tests/guests/programs/{name}.wat"));
    let text = std::fs::read_to_string(path).expect("a program of that name");
    let module = wat::parse_str(&text).expect("right WAT");
    let component = ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
        })
        .and_then(|mut encoder| encoder.encode())
        .expect("the adapter makes a component of any command");
    [("module", Guest::wat(text)), ("component", Guest::wasm(component))]
}

/// A host that serves the program in both forms, and what they are called.
fn serving(name: &str, settings: &str) -> (Wharf, Folder) {
    let folder = Folder::new();
    for (form, guest) in &both(name) {
        folder.settings(form, settings).plugin(form, guest);
    }
    (Wharf::serve(&folder), folder)
}

const FORMS: [&str; 2] = ["module", "component"];

#[test]
fn a_program_reads_its_client_as_stdin_until_the_client_shuts_down_writing() {
    let (wharf, _folder) = serving("upper", "");
    for form in FORMS {
        let mut client = Client::connect(wharf.address(form));
        // What was written is there at once, and not when a buffer is full or the program ends.
        client.send("first").hears("FIRST").send("second").hears("SECOND");
        client.ends();
        assert_eq!(client.rest(), "", "{form}");
    }
    wharf.stop();
}

#[test]
fn twenty_megabytes_both_ways_at_once_lose_no_byte() {
    let (wharf, _folder) = serving("upper", "");
    for form in FORMS {
        let sent = "abcdefghijklmnopqrstuvwxyz012345".repeat(640 * 1024);
        let stream = std::net::TcpStream::connect(wharf.address(form)).expect("connect");
        let mut writing = stream.try_clone().expect("another handle");
        let expected = sent.to_uppercase();
        let writer = thread::spawn(move || {
            use std::io::Write;
            writing.write_all(sent.as_bytes()).expect("send all");
            writing.shutdown(std::net::Shutdown::Write).expect("shut down writing");
        });
        let mut heard = String::new();
        std::io::Read::read_to_string(&mut &stream, &mut heard).expect("hear all");
        writer.join().expect("the writer");
        assert!(heard == expected, "{form}: {} of {} bytes, or other ones", heard.len(), expected.len());
    }
    wharf.stop();
}

#[test]
fn status_0_is_success_and_any_other_a_failed_session_and_what_was_written_arrives_before_either() {
    for (status, failed) in [("0", false), ("3", true)] {
        let (wharf, _folder) = serving("exits", &format!("args = ['{status}']"));
        for form in FORMS {
            // More than the program, which reads nothing, or any buffer takes.
            assert_eq!(ask(wharf.address(form), "x".repeat(1 << 20)), "bye", "{form}");
            if failed {
                // WASI 0.2 has no statuses but success and failure.
                let cause = if form == "module" { "exit: status 3" } else { "exit: status 1" };
                wharf.logs(&["WARN", "session failed", &format!("plugin={form}"), "phase=handle", cause]);
            }
        }
        let log = wharf.log();
        wharf.stop();
        assert_eq!(log.iter().any(|line| line.contains("session failed")), failed, "{log:#?}");
    }
}

#[test]
fn a_trap_costs_no_byte_that_was_written_before_it() {
    let (wharf, _folder) = serving("asks", "");
    for form in FORMS {
        let mut client = Client::connect(wharf.address(form));
        // A prompt has no newline.
        client.hears("name? ").send("somebody").hears("somebody");
        client.sees_the_end();
        wharf.logs(&["session failed", &format!("plugin={form}"), "phase=handle", "trap: "]);
    }
    wharf.stop();
}

#[test]
fn the_environment_is_ucspis_and_what_the_manifest_grants() {
    let folder = Folder::new();
    let socket = folder.parent().join("u.sock");
    for (form, guest) in &both("environment") {
        let listen = match *form {
            "module" => format!("listen = ['tcp://127.0.0.1:0', 'unix://{}']\n", socket.display()),
            _ => "listen = 'tcp://127.0.0.1:0'\n".to_owned(),
        };
        folder.manifest(form, &format!("{listen}[grants.env]\nGRANTED = 'yes'")).plugin(form, guest);
    }
    let wharf = Wharf::serve(&folder);
    for form in FORMS {
        let address = wharf.address(form);
        let client = Client::connect(address);
        let name = client.name();
        let heard = client.rest();
        let mut variables: Vec<&str> = heard.split_terminator('\0').collect();
        variables.sort_unstable();
        let (ip, port) = name.rsplit_once(':').expect("an address");
        let mut expected = [
            "GRANTED=yes".to_owned(),
            "PROTO=TCP".to_owned(),
            format!("TCPLOCALIP={}", address.ip()),
            format!("TCPLOCALPORT={}", address.port()),
            format!("TCPREMOTEIP={}", ip.trim_start_matches("client=")),
            format!("TCPREMOTEPORT={port}"),
        ];
        expected.sort_unstable();
        assert_eq!(variables, expected, "{form}");
        // What it writes to stderr is in the log.
        wharf.logs(&["guest", "seen", &format!("plugin={form}"), "stream=stderr"]);
    }
    assert_eq!(wharf.url("module"), format!("unix://{}", socket.display()));
    let heard = client::ask_url(&format!("unix://{}", socket.display()), "");
    let local = format!("UNIXLOCALPATH={}", socket.display());
    assert!(heard.contains("PROTO=UNIX\0") && heard.contains(&local) && !heard.contains("TCP"), "{heard:?}");
    wharf.stop();
}

#[test]
fn a_datagram_is_stdin_and_what_was_written_when_it_ends_is_the_answer() {
    let folder = Folder::new();
    for (form, guest) in &both("upper") {
        folder.manifest(form, "listen = 'udp://127.0.0.1:0'").plugin(form, guest);
    }
    let wharf = Wharf::serve(&folder);
    for form in FORMS {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(crate::harness::DEADLINE)).expect("a deadline");
        let url = wharf.url(form);
        socket.send_to(b"hello", url.strip_prefix("udp://").expect("a udp:// address")).expect("send");
        let mut buffer = [0; 100];
        let (heard, _) = socket.recv_from(&mut buffer).expect("an answer");
        assert_eq!(&buffer[..heard], b"HELLO", "{form}");
    }
    wharf.stop();
}

#[test]
fn a_program_that_spins_is_ended_and_one_that_waits_is_not() {
    let folder = Folder::new();
    for (form, guest) in &both("spins") {
        folder.settings(form, "[limits]\ncpu = '100ms'").plugin(form, guest);
    }
    let [(_, upper), _] = both("upper");
    folder.settings("upper", "[limits]\ncpu = '100ms'").plugin("upper", &upper);
    let wharf = Wharf::serve(&folder);
    let mut waiting = Client::connect(wharf.address("upper"));
    waiting.send("a").hears("A");
    for form in FORMS {
        Client::connect(wharf.address(form)).sees_the_end();
        wharf.logs(&["session failed", &format!("plugin={form}"), "phase=handle", "cpu: "]);
    }
    waiting.send("b").hears("B").ends();
    assert_eq!(waiting.rest(), "");
    wharf.stop();
}

#[test]
fn a_program_runs_in_a_process_of_its_own_too() {
    let (wharf, _folder) = serving("upper", "concurrency = 'process'");
    for form in FORMS {
        assert_eq!(ask(wharf.address(form), "abc"), "ABC", "{form}");
    }
    wharf.stop();
}

#[test]
fn a_program_that_would_accept_connections_is_told_where_its_client_is() {
    let folder = Folder::new();
    let [(_, module), _] = both("accepts");
    folder.plugin("accepts", &module);
    let mut check = Launch::new(["check".as_ref(), folder.path()]).start();
    assert_eq!(check.ended(), 0, "it can be served all the same");
    let note = "note        it imports wasi_snapshot_preview1.sock_accept, and there is no network for it: its client is its stdin \
                and stdout";
    assert!(check.events().iter().any(|line| line.trim_start() == note), "{:#?}", check.events());
    let wharf = Wharf::serve(&folder);
    wharf.logs(&["WARN", "its client is its stdin and stdout", "plugin=accepts", "sock_accept"]);
    assert_eq!(ask(wharf.address("accepts"), "x"), "0", "it accepted none");
    wharf.stop();
}

#[test]
fn a_buffer_of_any_size_is_read_and_written_whole() {
    let folder = Folder::new();
    let [(_, module), _] = both("copies");
    let settings = "[limits]\nmemory = '128MiB'\n[[grants.dirs]]\nhost = '.'\nguest = '/'\naccess = 'read-write'";
    folder.settings("copies", settings).plugin("copies", &module);
    let wharf = Wharf::serve(&folder);
    assert_eq!(ask(wharf.address("copies"), ""), "right\n");
    let written = std::fs::read(folder.path().join("much")).expect("it wrote a file");
    let number = |at: usize| u32::from_le_bytes(written[at..at + 4].try_into().expect("four bytes"));
    let all = 40_065_536;
    assert_eq!(written.len(), all + 40_000_000);
    // The buffers' descriptions as the guest had them, then what it fills its memory with.
    assert_eq!([0, 8, 12, 16, 20, 24, 32].map(number), [0, 0, 0, 0, all as u32, 0, 0]);
    assert_eq!(&written[96..100], b"much");
    assert!((65536..all).step_by(4).all(|at| number(at) == (at as u32).wrapping_mul(2_654_435_761)));
    assert!(written[65536..all] == written[all..], "the same was written twice");
    wharf.stop();
}

#[test]
fn a_program_that_opens_a_fifo_is_refused_and_not_kept_waiting() {
    let grant = "[[grants.dirs]]\nhost = '.'\nguest = '/'\naccess = 'read-write'";
    let (wharf, folder) = serving("opens", grant);
    let (fifo, mode) = (folder.path().join("fifo"), rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).expect("a FIFO");
    for form in FORMS {
        assert_eq!(ask(wharf.address(form), ""), "58", "{form}");
    }
    wharf.stop();
}
