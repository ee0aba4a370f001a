//! The plugins that ship, with the manifests that ship.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use crate::harness::guests::root;
use crate::harness::{Folder, Launch, Scene};

const SHIPPED: [&str; 6] = ["upper", "lifecycle", "greet", "talk", "echo", "frames"];

#[test]
fn all_six_pass_the_check_and_upper_has_its_port() {
    let folder = Folder::new();
    for plugin in SHIPPED {
        folder.shipped(plugin);
    }
    let mut wharf = Launch::new(["check".as_ref(), root().join("target/plugins").as_os_str()])
        .own_cache()
        .env("HOME", folder.parent())
        .start();
    assert_eq!(wharf.ended(), 0);
    let said = wharf.events().join("\n");
    for part in SHIPPED.iter().chain(&["tcp://127.0.0.1:9999"]) {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

#[test]
fn upper_answers_one_message_in_upper_case() {
    let scene = Scene::shipped("upper");
    for (says, hears) in [
        ("hello", "HELLO"),
        ("  \t hello world \r\n", "HELLO WORLD"),
        ("straße 你好", "STRASSE 你好"),
        ("already UP 123", "ALREADY UP 123"),
        ("   ", ""),
        ("", ""),
    ] {
        assert_eq!(scene.ask(says), hears, "{says:?}");
    }
    let mut client = scene.client();
    client.send("once").hears("ONCE");
    assert_eq!(client.rest(), "", "it closes without being asked to");
    let long = scene.ask("x".repeat(3000));
    assert!((1..=1024).contains(&long.len()), "{} bytes", long.len());
    scene.stop();
}

#[test]
fn lifecycle_tells_of_both_ends_in_order() {
    let scene = Scene::shipped("lifecycle");
    let mut client = scene.client();
    let name = client.name();
    let connect = format!("guest: text=\"{} is connect!", name.trim_start_matches("client="));
    scene.logs(&[&connect, "plugin=lifecycle", &name, "stream=stdout"]);
    let disconnected = || scene.log().iter().any(|line| line.contains("is disconnect!"));
    assert!(!disconnected(), "not before its client has said something");
    client.send("mirror").hears("mirror");
    scene.logs(&["guest: text=\"client is disconnect!", "plugin=lifecycle", &name]);
    assert_eq!(client.rest(), "");
    scene.stop();
}

#[test]
fn greet_greets_and_answers_until_q() {
    let scene = Scene::shipped("greet");
    let mut client = scene.client();
    client.hears("你好欢迎你");
    for message in ["hi", "你", "qq", "Q"] {
        client.send(message).hears(format!("{message}好"));
    }
    client.send("q");
    assert_eq!(client.rest(), "");
    scene.stop();
}

#[test]
fn talk_answers_until_close_or_the_end() {
    let scene = Scene::shipped("talk");
    for last in ["close", "CLOSE", "Close"] {
        let mut client = scene.client();
        for message in ["one", "closed", "three"] {
            client.send(message).hears(message);
        }
        client.send(last);
        assert_eq!(client.rest(), "", "{last}");
    }
    let mut client = scene.client();
    client.send("one").hears("one").ends();
    assert_eq!(client.rest(), "");
    scene.stop();
}

#[test]
fn echo_gives_back_twenty_megabytes_while_they_come() {
    const SIZE: usize = 20 << 20;
    let scene = Scene::shipped("echo");
    // No period that a buffer's size could hide a lost or doubled piece in.
    let sent: Vec<u8> = (0..SIZE as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let client = scene.client();
    let mut heard = Vec::with_capacity(SIZE);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = &client.stream;
            stream.write_all(&sent).expect("send");
            stream.shutdown(Shutdown::Write).expect("end");
        });
        (&client.stream).read_to_end(&mut heard).expect("read");
    });
    assert_eq!(heard.len(), SIZE);
    assert!(heard == sent, "the same bytes");
    scene.stop();
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&length.to_be_bytes()[..], message].concat()
}

fn reversed(message: &[u8]) -> Vec<u8> {
    frame(&message.iter().rev().copied().collect::<Vec<u8>>())
}

#[test]
fn frames_come_back_reversed_however_they_were_split() {
    let scene = Scene::shipped("frames");
    let messages: [&[u8]; 4] = [b"first", b"", b"the second one", "三".as_bytes()];
    let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
    let expected: Vec<u8> = messages.iter().flat_map(|message| reversed(message)).collect();
    for size in [1, 2, 3, 5, 7, stream.len()] {
        let mut client = scene.client();
        for piece in stream.chunks(size) {
            client.send(piece);
        }
        client.hears(&expected).ends();
        assert_eq!(client.rest(), "");
    }
    // A whole message and a part of the next one, at once; the rest when the first has been
    // answered.
    let (whole, split) = (frame(b"whole"), frame(b"split"));
    let mut client = scene.client();
    for at in 0..=split.len() {
        client.send([&whole[..], &split[..at]].concat()).hears(reversed(b"whole"));
        client.send(&split[at..]).hears(reversed(b"split"));
    }
    client.ends();
    assert_eq!(client.rest(), "");
    scene.stop();
}

#[test]
fn frames_has_a_cap_and_tells_of_what_it_can_not_read() {
    let scene = Scene::shipped("frames");
    let long = vec![b'x'; 1 << 20];
    scene.client().send(frame(&long)).hears(frame(&long));
    for (bytes, cause) in
        [(&[0xff, 0xff, 0xff, 0xff][..], "4294967295"), (&[0, 16, 0, 1], "1048577"), (&[0, 0, 0, 5, b'x'], "error: ")]
    {
        let mut client = scene.client();
        client.send(bytes).ends();
        scene.logs(&["session failed", "plugin=frames", &client.name(), "phase=handle", cause]);
        assert_eq!(client.rest(), "");
    }
    scene.stop();
}
