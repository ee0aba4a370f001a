//! Addresses that a family or a plugin can't have, and other settings of families and concurrencies
//! that are wrong: one line that says what would fit.

use std::path::Path;

use crate::harness::guests::{Guest, rust, shipped};
use crate::harness::{DatagramClient, Family, Folder, Launch, Wharf, answer, answers, ask_url};

/// That `wharf check` refuses the plugin in one line with all of these in it.
#[track_caller]
fn check_refuses(path: &Path, name: &str, parts: &[&str]) {
    let mut wharf = Launch::new(["check".as_ref(), path.as_os_str()]).start();
    assert_eq!(wharf.ended(), 1, "exit status");
    let said = wharf.events();
    let begin = format!("{name}: refused: ");
    let lines: Vec<&String> = said.iter().filter(|line| line.starts_with(&begin)).collect();
    assert_eq!(lines.len(), 1, "{said:#?}");
    names_all(lines[0], parts);
    assert!(!said.iter().any(|line| line.starts_with("  ") && line.contains("listen")), "nothing else: {said:#?}");
}

#[track_caller]
fn names_all(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
}

#[test]
fn settings_that_can_not_be_are_refused_saying_what_would_fit() {
    let long = format!("/{}", "x".repeat(107));
    for (toml, parts) in [
        (format!("listen = 'unix://{long}'"), vec!["108 bytes", "107"]),
        (format!("listen = 'unixgram://{long}'"), vec!["108 bytes", "107"]),
        (format!("listen = 'unix://@{}'", &long[..107]), vec!["108 bytes", "107"]),
        ("listen = 'unix://x.sock'".into(), vec!["absolute", "unix:///"]),
        ("listen = 'unixgram://run/x.sock'".into(), vec!["absolute", "unixgram:///"]),
        ("listen = 'unix://'".into(), vec!["absolute", "unix:///"]),
        ("listen = 'unix://@'".into(), vec!["unix://@"]),
        ("listen = 'unix://127.0.0.1:9999'".into(), vec!["unix:///"]),
        ("listen = \"unix:///run/x\\u0000.sock\"".into(), vec!["can't be seen"]),
        ("listen = 'unxi:///run/x.sock'".into(), vec!["unix:///run/x.sock"]),
        ("listen = 'unixgarm:///run/x.sock'".into(), vec!["unixgram:///run/x.sock"]),
        ("listen = 'tcp:///run/x.sock'".into(), vec!["tcp://127.0.0.1:9999"]),
        ("listen = 'udp:///run/x.sock'".into(), vec!["udp://127.0.0.1:9999"]),
        ("listen = 'udp://@name'".into(), vec!["udp://127.0.0.1:9999"]),
        ("listen = 'udp://127.0.0.1'".into(), vec!["udp://127.0.0.1:9999"]),
        ("listen = 'udp://localhost:53'".into(), vec!["a name", "udp://127.0.0.1:53", "udp://[::1]:53"]),
        ("listen = 'tcp://*:80'".into(), vec!["tcp://0.0.0.0:80", "tcp://[::]:80"]),
        ("listen = 'tcp://127.0.0.1:8000-8010'".into(), vec!["a range of ports", "list"]),
        ("listen = 'tcp://[fe80::1%no-such-one]:80'".into(), vec!["no interface", "no-such-one"]),
        ("listen = 'tcp://[::ffff:127.0.0.1]:80'".into(), vec!["IPv4", "tcp://127.0.0.1:80"]),
        ("keepalive.idle = '500ms'".into(), vec!["keepalive.idle", "whole seconds"]),
        ("keepalive.count = 128".into(), vec!["keepalive.count", "127"]),
        ("keepalive = true".into(), vec!["keepalive"]),
        ("receive-buffer = '1MB'".into(), vec!["receive-buffer", "64MiB"]),
        ("listen = 'udp://127.0.0.1:65536'".into(), vec!["65535", "udp://127.0.0.1:"]),
        ("listen = 'upd://127.0.0.1:53'".into(), vec!["udp://127.0.0.1:53"]),
        ("listen = '/run/x.sock'".into(), vec!["/run/x.sock", "://"]),
        ("concurrency = 'threads'".into(), vec!["concurrency", "thread"]),
        ("concurrency = 'proces'".into(), vec!["concurrency", "process"]),
        ("concurrency = 'fork'".into(), vec!["concurrency", "serial", "task", "thread", "process"]),
        ("concurrency = 4".into(), vec!["concurrency"]),
        ("unix.mode = '0999'".into(), vec!["unix.mode", "0600"]),
        ("unix.mode = 'rw-------'".into(), vec!["unix.mode", "0600"]),
        ("unix.mode = '1777'".into(), vec!["unix.mode", "0600"]),
        ("unix.mode = 600".into(), vec!["unix.mode", "string"]),
        ("unix.mod = '0600'".into(), vec!["unix.mod", "mode"]),
        ("unix.user = 'nobody-has-this-name'".into(), vec!["unix.user", "nobody-has-this-name", "number"]),
        ("unix.group = 'nobody-has-this-name'".into(), vec!["unix.group", "nobody-has-this-name", "number"]),
        ("unix.user = '-1'".into(), vec!["unix.user", "-1"]),
        ("max-packet-size = 0".into(), vec!["max-packet-size", "nonzero"]),
        ("max-children = 0".into(), vec!["max-children", "nonzero"]),
        ("max-childern = 5".into(), vec!["max-childern", "max-children"]),
        ("daemon-threads = 'yes'".into(), vec!["daemon-threads", "boolean"]),
        ("block-on-close = 1".into(), vec!["block-on-close", "boolean"]),
        ("allow-reuse-adress = true".into(), vec!["allow-reuse-adress", "allow-reuse-address"]),
        ("service-interval = 'soon'".into(), vec!["service-interval", "10s"]),
        ("grants.send-to = '10.0.0.0/99'".into(), vec!["grants.send-to", "10.0.0.0/8"]),
        ("grants.sendto = '10.0.0.0/8'".into(), vec!["grants.sendto", "send-to"]),
    ] {
        let toml = if toml.starts_with("listen") { toml } else { format!("listen = 'tcp://127.0.0.1:0'\n{toml}") };
        let folder = Folder::new();
        folder.plugin("fine", &answers("A")).plugin("wrong", &answers("A")).manifest("wrong", &toml);
        check_refuses(&folder.path().join("wrong.wat"), "wrong", &parts);

        // At the start the operator is there to put it right.
        let mut wharf = Wharf::serve(&folder);
        assert_eq!(wharf.ended(), 2, "{toml}");
        let log = wharf.log();
        assert_eq!(log.len(), 1, "{toml}: {log:#?}");
        names_all(&log[0], &parts);
        assert!(wharf.events().is_empty(), "{toml}");
    }
}

#[test]
fn settings_that_go_wrong_later_cost_no_more_than_themselves() {
    for (toml, part) in [
        ("concurrency = 'fork'".to_owned(), "process"),
        ("unix.mode = '0999'".to_owned(), "0600"),
        (format!("listen = 'unix:///{}'", "x".repeat(107)), "107"),
    ] {
        let folder = Folder::new();
        folder.plugin("fine", &answers("A"));
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("fine");
        folder.manifest("wrong", &toml).plugin("wrong", &answers("B"));
        names_all(&wharf.event("refused", "wrong").reason, &[part]);
        folder.manifest("fine", &toml);
        names_all(&wharf.event("kept", "fine").reason, &[part]);
        assert_eq!(ask_url(&url, "x"), answer("A"), "{toml}");
        wharf.stop();
    }
}

#[test]
fn a_wrong_address_on_the_command_line_is_told_what_would_fit() {
    let folder = Folder::new();
    folder.file("answers.wat", &answers("A").bytes);
    let file = folder.path().join("answers.wat");
    for (url, part) in [
        (format!("unix:///{}", "x".repeat(107)), "107"),
        ("unix://x.sock".into(), "unix:///"),
        ("udp://localhost:53".into(), "udp://127.0.0.1:53"),
        ("unixgarm:///run/x.sock".into(), "unixgram:///run/x.sock"),
    ] {
        let mut wharf = Launch::new(["run".as_ref(), file.as_os_str()]).args(["--listen", &url]).start();
        assert_eq!(wharf.ended(), 2, "{url}");
        let log = wharf.log();
        assert!(log.len() == 1 && log[0].starts_with("wharf: ") && log[0].contains(part), "{url}: {log:#?}");
    }
}

/// Every pair that can't be: the plugin, where it is told to listen, and where it could.
fn mismatches() -> Vec<(Guest, String, String)> {
    let mut all = Vec::new();
    for (stream, datagram) in
        [("tcp://127.0.0.1:0", "udp://127.0.0.1:0"), ("unix:///run/x.sock", "unixgram:///run/x.sock")]
    {
        all.push((shipped("upper-udp"), stream.to_owned(), datagram.to_owned()));
        all.push((rust("datagram-request"), stream.to_owned(), datagram.to_owned()));
        all.push((shipped("upper"), datagram.to_owned(), stream.to_owned()));
        all.push((answers("A"), datagram.to_owned(), stream.to_owned()));
    }
    all.push((shipped("upper-udp"), "unix://@name".to_owned(), "unixgram://@name".to_owned()));
    all.push((shipped("upper"), "unixgram://@name".to_owned(), "unix://@name".to_owned()));
    all
}

#[test]
fn a_datagram_plugin_on_a_stream_address_and_the_reverse_are_refused_naming_what_would_fit() {
    for (guest, wrong, right) in mismatches() {
        // Beside an address that would do, too.
        for listen in [format!("listen = '{wrong}'"), format!("listen = ['{right}', '{wrong}']")] {
            let folder = Folder::new();
            folder.plugin("fine", &answers("A")).manifest("wrong", &listen).plugin("wrong", &guest);
            let parts = [wrong.as_str(), right.as_str()];
            let file = folder.path().join(format!("wrong.{}", guest.extension));
            check_refuses(&file, "wrong", &parts);

            let wharf = Wharf::serve(&folder);
            names_all(&wharf.event("refused", "wrong").reason, &parts);
            assert_eq!(ask_url(&wharf.url("fine"), "x"), answer("A"), "the rest serves");
            let events = wharf.stop();
            assert!(!events.iter().any(|line| line.starts_with("listening") && line.ends_with("wrong")), "{events:#?}");

            let mut wharf = Launch::new(["run".as_ref(), file.as_os_str()]).start();
            assert_eq!(wharf.ended(), 1, "exit status of run");
            names_all(&wharf.event("refused", "wrong").reason, &parts);
        }
    }
}

#[test]
fn a_plugin_that_serves_is_kept_if_its_successor_is_of_the_other_kind() {
    for family in Family::ALL {
        let folder = Folder::new();
        let (own, other) = if family.is_stream() { ("upper", "upper-udp") } else { ("upper-udp", "upper") };
        folder.manifest("upper", &family.listen(&folder, "upper")).plugin("upper", &shipped(own));
        let wharf = Wharf::serve(&folder);
        let url = wharf.url("upper");
        let answers = || {
            if family.is_stream() {
                assert_eq!(ask_url(&url, "hello"), "HELLO");
            } else {
                DatagramClient::to(&url).send("hello").hears("HELLO");
            }
        };
        folder.plugin("upper", &shipped(other));
        let kept = wharf.event("kept", "upper");
        names_all(&kept.reason, &[if family.is_stream() { "datagram" } else { "stream" }]);
        answers();
        // Put right by addresses of the other kind.
        let counterpart = match family {
            Family::Tcp => Family::Udp,
            Family::Udp => Family::Tcp,
            Family::Unix => Family::Unixgram,
            Family::Unixgram => Family::Unix,
        };
        folder.manifest("upper", &counterpart.listen(&folder, "upper"));
        let url = wharf.url("upper");
        if counterpart.is_stream() {
            assert_eq!(ask_url(&url, "hello"), "HELLO");
        } else {
            DatagramClient::to(&url).send("hello").hears("HELLO");
        }
        wharf.stop();
    }
}

#[test]
fn a_path_of_107_bytes_is_the_longest() {
    for (scheme, guest) in [("unix", shipped("upper")), ("unixgram", shipped("upper-udp"))] {
        let folder = Folder::new();
        let folder_path = folder.parent().display().to_string();
        let path = format!("{folder_path}/{}", "x".repeat(106 - folder_path.len()));
        assert_eq!(path.len(), 107);
        let url = format!("{scheme}://{path}");
        folder.manifest("upper", &format!("listen = '{url}'")).plugin("upper", &guest);
        let wharf = Wharf::serve(&folder);
        assert_eq!(wharf.url("upper"), url);
        if scheme == "unix" {
            assert_eq!(ask_url(&url, "hello"), "HELLO");
        } else {
            DatagramClient::to(&url).send("hello").hears("HELLO");
        }
        wharf.stop();
    }
}
