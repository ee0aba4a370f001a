//! One plugin in every language, as `cargo xtask examples` built it, and one suite for all of them.
//! A language that was not built is named and left out.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;

use crate::harness::guests::root;
use crate::harness::languages::{LANGUAGES, Language, examples};
use crate::harness::{Client, Folder, Wharf, answer, answers, ask};

fn plugin(language: &Language) -> String {
    format!("upper-{}", language.name)
}

/// The manifest that lies beside the example, and the address in it.
fn manifest(language: &Language) -> (String, String) {
    let plugin = plugin(language);
    let path = root().join("examples").join(language.name).join(format!("{plugin}.toml"));
    let toml = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let listen = toml.lines().find_map(|line| line.strip_prefix("listen = \"")).expect("it has one address");
    let address = listen.trim_end_matches('"').to_owned();
    (toml, address)
}

/// All of them, served from one folder, each with its example's manifest but for the port.
fn serving() -> (Wharf, Folder, Vec<(&'static Language, SocketAddr)>) {
    let folder = Folder::new();
    for (language, guest) in examples() {
        let (toml, address) = manifest(language);
        let plugin = plugin(language);
        folder.manifest(&plugin, &toml.replace(&address, "tcp://127.0.0.1:0")).plugin(&plugin, guest);
    }
    let wharf = Wharf::serve(&folder);
    let addresses = examples().iter().map(|(language, _)| (*language, wharf.address(&plugin(language)))).collect();
    (wharf, folder, addresses)
}

#[track_caller]
fn no_session_failed(wharf: Wharf) {
    let log = wharf.log();
    wharf.stop();
    assert!(!log.iter().any(|line| line.contains("session failed") || line.contains("host fault")), "{log:#?}");
}

#[test]
fn lines_come_back_in_upper_case_whole_split_or_joined() {
    let (wharf, _folder, addresses) = serving();
    for (Language { name, .. }, address) in addresses {
        let mut client = Client::connect(address);
        client.send("hello\n").hears("HELLO\n");
        client.send("two\nat once\n").hears("TWO\nAT ONCE\n");
        for piece in ["in ", "three ", "pieces\n"] {
            client.send(piece);
        }
        client.hears("IN THREE PIECES\n");
        client.send("\n").hears("\n").send("carriage return\r\n").hears("CARRIAGE RETURN\n");
        for byte in "straße 你好 {z}`@\n".bytes() {
            client.send([byte]);
        }
        client.hears("STRAßE 你好 {Z}`@\n").ends();
        assert_eq!(client.rest(), "", "{name}");
    }
    no_session_failed(wharf);
}

#[test]
fn what_was_sent_before_the_half_close_is_answered() {
    let (wharf, _folder, addresses) = serving();
    let long = "a long line without an end ".repeat(20_000);
    for (Language { name, .. }, address) in addresses {
        for (says, hears) in [("", ""), ("\r\n", "\n"), ("no end of line", "NO END OF LINE"), ("a\r\nb\r\n", "A\nB\n")]
        {
            assert_eq!(ask(address, says), hears, "{name}: {says:?}");
        }
        let said = long.as_bytes();
        assert!(converse(address, said) == said.to_ascii_uppercase(), "{name}: a line of {} bytes", said.len());
    }
    no_session_failed(wharf);
}

#[test]
fn twenty_megabytes_go_both_ways_at_once() {
    const SIZE: usize = 20 << 20;
    let (wharf, _folder, addresses) = serving();
    // No period that a buffer's size could hide a lost or doubled piece in, and every byte there
    // is.
    let sent: Vec<u8> = (0..SIZE as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let expected: Vec<u8> = sent.to_ascii_uppercase().into_iter().filter(|byte| *byte != b'\r').collect();
    for (Language { name, .. }, address) in addresses {
        let heard = converse(address, &sent);
        assert!(heard == expected, "{name}: {} of {} bytes, or others", heard.len(), expected.len());
    }
    no_session_failed(wharf);
}

/// Writes and reads at the same time, until the end.
fn converse(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let client = Client::connect(address);
    let mut heard = Vec::with_capacity(bytes.len());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = &client.stream;
            stream.write_all(bytes).expect("send");
            stream.shutdown(Shutdown::Write).expect("end");
        });
        (&client.stream).read_to_end(&mut heard).expect("read");
    });
    heard
}

#[test]
fn a_thousand_connections_are_each_answered_with_their_own() {
    const AT_ONCE: usize = 20;
    let (wharf, _folder, addresses) = serving();
    for (Language { name, .. }, address) in addresses {
        for round in 0..1000 / AT_ONCE {
            let mut clients: Vec<_> = (0..AT_ONCE).map(|_| Client::connect(address)).collect();
            for (number, client) in clients.iter_mut().enumerate() {
                client.send(format!("client {number} of {round}\n")).ends();
            }
            for (number, client) in clients.into_iter().enumerate() {
                assert_eq!(client.rest(), format!("CLIENT {number} OF {round}\n"), "{name}");
            }
        }
    }
    no_session_failed(wharf);
}

#[test]
fn a_client_keeps_the_handler_that_it_began_with_through_a_reload() {
    let (wharf, folder, addresses) = serving();
    for ((language, address), (_, guest)) in addresses.into_iter().zip(examples()) {
        let plugin = plugin(language);
        let mut old = Client::connect(address);
        old.send("before\n").hears("BEFORE\n");
        assert_eq!(wharf.event("loaded", &plugin).generation, guest.generation());
        let new = answers("B");
        let new = if language.is_text() { new } else { new.assembled() };
        folder.plugin(&plugin, &new);
        assert_eq!(wharf.event("loaded", &plugin).generation, new.generation());
        assert_eq!(ask(address, "x"), answer("B"), "{plugin}");
        old.send("after\n").hears("AFTER\n").ends();
        assert_eq!(old.rest(), "", "{plugin}");
    }
    no_session_failed(wharf);
}

#[test]
fn a_reset_is_an_error_that_the_handler_tells_and_costs_no_other_client() {
    let (wharf, _folder, addresses) = serving();
    for (language, address) in addresses {
        let mut other = Client::connect(address);
        other.send("one\n").hears("ONE\n");
        let mut client = Client::connect(address);
        client.send("reset\n").hears("RESET\n");
        let name = client.name();
        client.resets();
        let failed = wharf.logs(&[&format!("plugin={} ", plugin(language)), &name, "phase=handle"]);
        // An ordinary program has nothing but its status to tell it by.
        let cause = if language.has_steps { "cause=\"error: " } else { "cause=\"exit: status 1" };
        assert!(failed.contains(cause), "{failed}");
        other.send("two\n").hears("TWO\n").ends();
        assert_eq!(other.rest(), "");
    }
    wharf.stop();
}

#[test]
fn every_example_is_in_the_table_and_has_a_port_of_its_own() {
    let examples = fs::read_dir(root().join("examples")).expect("it exists");
    let mut names: Vec<String> = examples
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| root().join(format!("examples/{name}/upper-{name}.toml")).is_file())
        .collect();
    names.sort();
    assert_eq!(names, LANGUAGES.each_ref().map(|language| language.name));
    let addresses: BTreeSet<String> = LANGUAGES.iter().map(|language| manifest(language).1).collect();
    assert_eq!(addresses.len(), LANGUAGES.len(), "{addresses:?}");
    for language in &LANGUAGES {
        let (_, address) = manifest(language);
        let (_, port) = address.rsplit_once(':').expect("a port");
        let readme = fs::read_to_string(root().join("examples").join(language.name).join("README.md"));
        let readme = readme.expect("it has a README");
        assert!(readme.contains(&format!("nc -N 127.0.0.1 {port}\n")), "{}: the README's port", language.name);
    }
}
