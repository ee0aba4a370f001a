//! What a guest gets of the world around it: nothing, unless the manifest grants it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use crate::harness::guests::{connects, rust};
use crate::harness::{Client, Folder, Launch, Scene, Wharf, ask, fixture};

#[test]
fn without_a_grant_there_is_nothing() {
    let folder = Folder::new();
    folder.plugin("looks", &fixture("looks_around"));
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).env("SECRET", "of the host").start();
    let address = wharf.address("looks");
    assert_eq!(ask(address, "e"), "", "no variable");
    assert_eq!(ask(address, "a"), "looks\0", "no argument but its name");
    // 8 is EBADF: there is no folder to begin with.
    for question in ["r looks.toml", "r /etc/passwd", "r ../plugins/looks.toml", "w new", "w /tmp/new"] {
        assert_eq!(ask(address, question), "errno 08", "{question}");
    }
    wharf.stop();
}

#[test]
fn there_is_no_network_but_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let folder = Folder::new();
    folder.plugin("connects", &connects(port));
    let wharf = Wharf::serve(&folder);
    assert_eq!(ask(wharf.address("connects"), ""), "access-denied");
    listener.set_nonblocking(true).expect("a flag");
    assert!(listener.accept().is_err(), "nobody has connected");
    wharf.stop();
}

#[test]
fn a_rust_plugin_has_neither_files_nor_variables_nor_network() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("its address");
    let folder = Folder::new();
    folder.plugin("misbehave", &rust("misbehave"));
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).env("SECRET", "of the host").start();
    let address = wharf.address("misbehave");
    assert_eq!(ask(address, "env SECRET\n"), "unset");
    assert_eq!(ask(address, "env PATH\n"), "unset");
    let manifest = folder.path().join("misbehave.toml");
    for question in [
        format!("read {}", manifest.display()),
        format!("write {} pwned", folder.path().join("new.toml").display()),
        format!("listdir {}", folder.path().display()),
        "listdir /".to_owned(),
        format!("connect {target}"),
    ] {
        let answer = ask(address, format!("{question}\n"));
        assert!(answer.starts_with("error: "), "{question}: {answer}");
    }
    listener.set_nonblocking(true).expect("a flag");
    assert!(listener.accept().is_err(), "nobody has connected");
    assert!(!folder.path().join("new.toml").exists());
    wharf.stop();
}

#[test]
fn variables_and_arguments_are_what_the_manifest_says() {
    let folder = Folder::new();
    folder.plugin("looks", &fixture("looks_around"));
    folder.settings("looks", "args = ['--fast', 'two words']\n[grants.env]\nA = 'first'\nB = 'second = 2'");
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).env("A", "of the host").start();
    let address = wharf.address("looks");
    assert_eq!(ask(address, "e"), "A=first\0B=second = 2\0");
    assert_eq!(ask(address, "a"), "looks\0--fast\0two words\0");
    wharf.stop();
}

#[test]
fn a_granted_folder_is_all_there_is_of_the_file_system() {
    for (access, written) in [("access = 'read-only'", false), ("", false), ("access = 'read-write'", true)] {
        let folder = Folder::new();
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("create a folder");
        fs::write(data.join("notes"), "buy milk").expect("write");
        fs::write(folder.path().join("secret"), "of the host").expect("write");
        symlink("../secret", data.join("way_out")).expect("link");
        symlink(folder.path().join("secret"), data.join("long_way_out")).expect("link");
        folder.plugin("looks", &fixture("looks_around"));
        // Relative to the manifest, not to wherever the host was started.
        folder.settings("looks", &format!("[[grants.dirs]]\nhost = 'data'\nguest = '/data'\n{access}"));
        let wharf = Wharf::serve(&folder);
        let address = wharf.address("looks");
        assert_eq!(ask(address, "r notes"), "buy milk");
        for question in ["r ../secret", "r way_out", "r long_way_out", "r /etc/passwd", "w ../new", "w way_out"] {
            let answer = ask(address, question);
            assert!(answer.starts_with("errno "), "{question}: {answer}");
        }
        let answer = ask(address, "w new");
        if written {
            assert_eq!(answer, "written");
            assert_eq!(fs::read(data.join("new")).expect("it is there"), b"written");
        } else {
            assert!(answer.starts_with("errno "), "{access:?}: {answer}");
            let answer = ask(address, "w notes");
            assert!(answer.starts_with("errno "), "{access:?}: {answer}");
            assert!(!data.join("new").exists());
        }
        assert_eq!(fs::read(data.join("notes")).expect("it is there"), b"buy milk");
        assert_eq!(fs::read(folder.path().join("secret")).expect("it is there"), b"of the host");
        wharf.stop();
    }
}

#[test]
fn what_a_guest_prints_reaches_the_log_with_its_name() {
    let folder = Folder::new();
    let guest = rust("misbehave");
    folder.plugin("misbehave", &guest);
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("misbehave");
    for (command, stream) in [("print", "stream=stdout"), ("stderr", "stream=stderr")] {
        let mut client = Client::connect(address);
        let name = client.name();
        client.send(format!("{command} hello from inside\n"));
        let generation = format!("generation={}", guest.generation());
        wharf.logs(&["INFO", "guest: text=\"hello from inside", "plugin=misbehave", &generation, &name, stream]);
        assert_eq!(client.rest(), "printed");
    }
    // Neither the terminal's control characters nor a line of its own making.
    assert_eq!(ask(address, "print \x1b[2Jred\rforged\n"), "printed");
    wharf.logs(&["guest: ", "red", "forged", "plugin=misbehave"]);
    // Nor what turns the direction of text, has no width, or separates lines for others than us.
    assert_eq!(ask(address, "print a\u{202e}b\u{200b}c\u{2066}d\u{2028}e\u{e0041}f\n"), "printed");
    wharf.logs(&[r#"text="a\u{202e}b\u{200b}c\u{2066}d\u{2028}e\u{e0041}f" plugin=misbehave"#]);
    let raw = wharf.log().into_iter().find(|line| line.contains(['\x1b', '\r']) || line.starts_with("forged"));
    assert_eq!(raw, None);
    wharf.stop();
}

#[test]
fn what_a_guest_says_is_one_field_in_quotes_and_passes_for_no_other() {
    let scene = Scene::of("misbehave", &rust("misbehave")).serve();
    let said = r#"paid" plugin=bank client=6.6.6.6:1 \" phase=none"#;
    // What it prints, what it returns as its error, and what it panics with, which it prints, too.
    for (command, shown) in [
        ("print", format!("text={said:?} plugin=misbehave generation=")),
        ("error", format!(" phase=handle cause={:?}", format!("error: {said}"))),
    ] {
        let mut client = scene.client();
        client.send(format!("{command} {said}\n"));
        let line = scene.logs(&[&shown, &client.name()]);
        // Without what stands in quotes, each field is there once.
        let mut plain = String::new();
        let (mut quoted, mut escaped) = (false, false);
        for c in line.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ if !quoted => plain.push(c),
                _ => {}
            }
        }
        assert!(!quoted, "{line}");
        for field in [" plugin=misbehave ", &*format!(" {} ", client.name())] {
            assert!(plain.contains(field), "{line}");
        }
        assert_eq!(plain.matches("plugin=").count(), 1, "{line}");
        assert_eq!(plain.matches("client=").count(), 1, "{line}");
    }
    scene.stop();
}

#[test]
fn a_rust_plugin_that_misbehaves_ends_its_own_session_only() {
    let scene = Scene::of("misbehave", &rust("misbehave")).with("[limits]\ncpu = '200ms'\nmemory = '16MiB'").serve();
    let mut beside = scene.client();
    for (command, cause) in [
        ("panic", "trap: "),
        ("error out of luck", "error: out of luck"),
        ("spin", "cpu: "),
        ("recurse", "stack: "),
        ("grow", "memory: "),
    ] {
        let mut client = scene.client();
        client.send(format!("{command}\n")).ends();
        let cause = format!("cause=\"{cause}");
        scene.logs(&["session failed", "plugin=misbehave", &client.name(), "phase=handle", &cause]);
        assert_eq!(client.rest(), "", "{command}");
        assert_eq!(scene.ask("still there\n"), "still there");
    }
    scene.logs(&["guest: ", "asked to panic", "stream=stderr"]);
    beside.send("me too\n");
    assert_eq!(beside.rest(), "me too");
    scene.stop();
}
