//! The examples: each small server in Python, as it is, and its wharf version have the same
//! conversation with the same client.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::harness::guests::{example, root};
use crate::harness::{Client, DatagramClient, Folder, Wharf};

struct Example {
    /// The folder's name, and the plugin's.
    name: &'static str,
    program: &'static str,
    /// What a client of either server hears.
    conversation: fn(&str) -> String,
    heard: &'static str,
}

const EXAMPLES: [Example; 4] = [
    Example { name: "tcp", program: "tcp.py", conversation: one_message, heard: "HELLO" },
    Example { name: "lines", program: "lines.py", conversation: one_message, heard: "HELLO\n" },
    Example { name: "udp", program: "udp.py", conversation: one_datagram, heard: "HELLO" },
    Example {
        name: "threading",
        program: "threading_tcp.py",
        conversation: two_clients_taking_turns,
        heard: "PORT: one PORT: two PORT: three PORT: four ",
    },
];

fn one_message(url: &str) -> String {
    let mut client = Client::dial(url);
    client.send("  hello \n");
    client.rest()
}

fn one_datagram(url: &str) -> String {
    let heard = DatagramClient::to(url).send("  hello \n").receive();
    String::from_utf8(heard).expect("UTF-8")
}

/// Each is answered while the other is connected, and with its own port.
fn two_clients_taking_turns(url: &str) -> String {
    let mut clients = [Client::dial(url), Client::dial(url)];
    let mut heard = String::new();
    for (number, word) in ["one ", "two ", "three ", "four "].into_iter().enumerate() {
        let client = &mut clients[number % 2];
        let port = client.stream.local_addr().expect("connected").as_socket().expect("TCP").port();
        client.send(word).hears(format!("{port}: {word}"));
        heard += &format!("PORT: {word}");
    }
    for mut client in clients {
        client.ends();
        heard += &client.rest();
    }
    heard
}

#[test]
fn what_python_answers_its_wharf_version_answers() {
    for Example { name, program, conversation, heard } in EXAMPLES {
        let manifest = manifest(name);
        let listen = manifest.lines().find_map(|line| line.strip_prefix("listen = \"")).expect("it has one address");
        let (scheme, address) = listen.trim_end_matches('"').split_once("://").expect("a URL");

        let python = Python::serve(name, program);
        assert_eq!(python.asked, address, "{program} and {name}.toml listen at the same place");
        assert_eq!(conversation(&format!("{scheme}://{}", python.address)), heard, "{program}");

        let folder = Folder::new();
        let (host, _) = address.rsplit_once(':').expect("a port");
        folder.manifest(name, &manifest.replace(address, &format!("{host}:0"))).plugin(name, &example(name));
        let wharf = Wharf::serve(&folder);
        assert_eq!(conversation(&wharf.url(name)), heard, "{name}");
        wharf.stop();
    }
}

#[test]
fn every_example_is_in_the_table_and_in_the_readme() {
    let folder = root().join("examples/socketserver");
    let readme = fs::read_to_string(folder.join("README.md")).expect("it has a README");
    let folders = fs::read_dir(&folder).expect("it exists").map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> = folders
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut table = EXAMPLES.map(|example| example.name);
    table.sort_unstable();
    assert_eq!(names, table);
    for Example { name, program, .. } in EXAMPLES {
        for file in [format!("{name}/{program}"), format!("{name}/src/lib.rs"), format!("{name}/{name}.toml")] {
            assert!(readme.contains(&format!("]({file})")), "README.md does not link {file}");
            assert!(folder.join(&file).is_file(), "{file}");
        }
    }
}

fn manifest(name: &str) -> String {
    let path = root().join("examples/socketserver").join(name).join(name).with_extension("toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A server in Python, which ends with the test.
struct Python {
    child: Child,
    asked: String,
    address: String,
}

impl Python {
    fn serve(name: &str, program: &str) -> Self {
        let program = root().join("examples/socketserver").join(name).join(program);
        let mut python = Command::new("python3");
        python.arg(root().join("tests/clients/serve_example.py")).arg(program).stdin(Stdio::null());
        let mut child = python.stdout(Stdio::piped()).spawn().expect("python3 runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped")).read_line(&mut line).expect("UTF-8");
        let (asked, address) = line.trim_end().split_once(' ').expect("it serves");
        Self { child, asked: asked.to_owned(), address: address.to_owned() }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
