//! Addresses that move: to another port, to another plugin. Nobody is refused in between.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Client, Folder, Wharf, answer, answers, ask, ask_url};

#[test]
fn an_address_is_not_given_up_before_the_new_one_is_had() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let old = wharf.address("answers");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let new = taken.local_addr().expect("it is bound");
    folder.manifest("answers", &format!("listen = 'tcp://{new}'"));
    assert_eq!(wharf.event("failed", "answers").url, format!("tcp://{new}"));
    wharf.logs(&["WARN", "plugin=\"answers\"", &format!("address=tcp://{old}"), "kept until"]);
    assert_eq!(ask(old, "x"), answer("A"));
    // What else the manifest says counts for the old one, too.
    folder.manifest("answers", &format!("listen = 'tcp://{new}'\nallow = ['192.0.2.1']"));
    wharf.event("loaded", "answers");
    wharf.event("loaded", "answers");
    wharf.event("loaded", "answers");
    assert_eq!(Client::connect(old).rest(), "", "the list does not name it");
    folder.manifest("answers", &format!("listen = 'tcp://{new}'"));
    wharf.event("loaded", "answers");
    drop(taken);
    assert_eq!(wharf.address("answers"), new);
    assert_eq!(ask(new, "x"), answer("A"));
    assert_eq!(wharf.event("closed", "answers").url, format!("tcp://{old}"));
    assert!(Client::try_connect(old).is_err(), "nobody is let in any more");
    wharf.stop();
}

#[test]
fn an_address_that_is_in_the_way_of_the_new_one_comes_back_if_that_can_not_be_had() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let old = wharf.address("answers");
    let port = old.port();
    let Ok(taken) = TcpListener::bind(("127.0.0.2", port)) else { return };
    folder.manifest("answers", &format!("listen = 'tcp://0.0.0.0:{port}'"));
    wharf.event("failed", "answers");
    assert_eq!(ask(old, "x"), answer("A"));
    drop(taken);
    folder.manifest("answers", &format!("# again\nlisten = 'tcp://0.0.0.0:{port}'"));
    assert_eq!(wharf.event("closed", "answers").url, format!("tcp://{old}"));
    assert_eq!(wharf.url("answers"), format!("tcp://0.0.0.0:{port}"));
    assert_eq!(ask(old, "x"), answer("A"));
    wharf.stop();
}

/// Clients come to `url` without pause while `change` is made, and all are answered by A or B; then
/// the next ones by `last`.
fn without_a_gap(url: &str, last: &str, change: impl FnOnce()) {
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        let heard = ask_url(url, "x");
                        assert!([answer("A"), answer("B")].contains(&heard), "heard {heard:?}");
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let over = Over(&over);
        change();
        assert_eq!(ask_url(url, "x"), answer(last));
        assert!(clients.iter().all(|client| !client.is_finished()), "a client failed");
        drop(over);
    });
    assert!(served.into_inner() > 10, "clients came without pause");
}

/// Ends the clients' loops, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Two plugins, the one of which listens at each of these addresses; there the other may come to
/// listen.
fn pair() -> (Folder, Wharf, Vec<String>) {
    let folder = Folder::new();
    let socket = |name: &str| format!("unix://{}", folder.parent().join(name).display());
    folder
        .manifest("blue", &format!("listen = ['tcp://127.0.0.1:0', '{}']", socket("b")))
        .plugin("blue", &answers("A"));
    folder.manifest("green", &format!("listen = '{}'", socket("g"))).plugin("green", &answers("B"));
    folder.file("wharf.toml", "rescan = '1h'");
    let wharf = Wharf::serve(&folder);
    wharf.url("green");
    let urls = vec![wharf.url("blue"), wharf.url("blue")];
    (folder, wharf, urls)
}

#[test]
fn an_address_goes_to_another_plugin_without_a_gap() {
    for number in 0..2 {
        let (folder, wharf, urls) = pair();
        let (moving, staying) = (&urls[number], &urls[1 - number]);
        without_a_gap(moving, "B", || {
            folder.manifest("green", &format!("listen = '{moving}'"));
            folder.manifest("blue", &format!("listen = '{staying}'"));
            while wharf.url("green") != *moving {}
        });
        assert_eq!(ask_url(staying, "x"), answer("A"));
        // And back, in the other order.
        without_a_gap(moving, "A", || {
            folder.manifest("blue", &format!("listen = ['{staying}', '{moving}']"));
            folder.manifest("green", &format!("listen = 'unix://{}'", folder.parent().join("g2").display()));
            while wharf.url("blue") != *moving {}
        });
        wharf.stop();
    }
}

#[test]
fn two_plugins_swap_their_addresses_without_a_gap() {
    let (folder, wharf, urls) = pair();
    let own = format!("unix://{}", folder.parent().join("g").display());
    folder.manifest("blue", &format!("listen = '{}'", urls[0]));
    wharf.event("closed", "blue");
    without_a_gap(&urls[0], "B", || {
        folder.manifest("blue", &format!("listen = '{own}'"));
        folder.manifest("green", &format!("listen = '{}'", urls[0]));
        while wharf.url("green") != urls[0] {}
        while wharf.url("blue") != own {}
    });
    assert_eq!(ask_url(&own, "x"), answer("A"));
    assert!(!wharf.stop().iter().any(|line| line.starts_with("failed")), "nobody has what another is to give up");
}

#[test]
fn a_plugin_gets_another_name_without_a_gap() {
    let folder = Folder::new();
    folder.plugin("old", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let url = wharf.url("old");
    folder.manifest("old", &format!("listen = '{url}'"));
    wharf.event("loaded", "old");
    wharf.event("loaded", "old");
    without_a_gap(&url, "A", || {
        for extension in ["toml", "wat"] {
            let path = |name: &str| folder.path().join(name).with_extension(extension);
            fs::rename(path("old"), path("new")).expect("rename");
        }
        assert_eq!(wharf.event("closed", "old").url, url);
        assert_eq!(wharf.url("new"), url);
        wharf.event("unloaded", "old");
    });
    wharf.stop();
}
