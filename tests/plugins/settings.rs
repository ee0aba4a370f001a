//! Changes of a manifest while its plugin serves: what changed takes effect, what did not is left
//! alone.

use crate::harness::{Client, Folder, Wharf, answer, answers, ask};

#[test]
fn only_the_addresses_that_changed_are_bound_and_closed() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let first = wharf.address("answers");
    let mut running = Client::connect(first);
    running.hears("A ");

    folder.manifest("answers", "listen = ['tcp://127.0.0.1:0', 'tcp://[::1]:0']");
    let second = wharf.address("answers");
    assert!(second.is_ipv6(), "only the new address is printed, and it is {second}");
    assert_eq!(ask(first, "x"), answer("A"));
    assert_eq!(ask(second, "x"), answer("A"));

    folder.manifest("answers", "listen = 'tcp://[::1]:0'");
    assert_eq!(wharf.event("closed", "answers").url, format!("tcp://{first}"));
    assert!(Client::try_connect(first).is_err(), "nobody is let in any more");
    assert_eq!(ask(second, "x"), answer("A"));
    running.send("x");
    assert_eq!(running.rest(), "A A ", "a session outlives its listener");

    let events = wharf.stop();
    let count = |word: &str| events.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("listening"), count("closed"), count("unloaded")), (2, 2, 0), "{events:#?}");
}

#[test]
fn a_backlog_full_of_clients_survives_a_change_of_settings() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", "max-connections = 1");
    let wharf = Wharf::serve(&folder);
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    let mut inside = Client::connect(address);
    inside.hears("A ");
    let waiting: Vec<Client> = (0..20).map(|_| Client::connect(address)).collect();
    folder.settings("answers", "max-connections = 50\nbacklog = 64");
    wharf.event("loaded", "answers");
    // The first one is inside still: only the new cap lets these in.
    for mut client in waiting {
        client.hears("A ").send("x");
        assert_eq!(client.rest(), "A A ");
    }
    inside.send("x");
    assert_eq!(inside.rest(), "A A ");
    wharf.stop();
}

#[test]
fn new_settings_hold_for_new_sessions() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let generation = wharf.event("loaded", "answers").generation;
    let address = wharf.address("answers");
    let mut running = Client::connect(address);
    running.hears("A ");
    folder.settings("answers", "deny = '127.0.0.1'");
    assert_eq!(wharf.event("loaded", "answers").generation, generation, "the plugin itself is the same");
    assert_eq!(Client::connect(address).rest(), "", "denied");
    running.send("x");
    assert_eq!(running.rest(), "A A ");
    folder.settings("answers", "");
    wharf.event("loaded", "answers");
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}

#[test]
fn a_bad_manifest_keeps_the_old_settings() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).settings("answers", "deny = '127.0.0.2'");
    let wharf = Wharf::serve(&folder);
    let generation = wharf.event("loaded", "answers").generation;
    let address = wharf.address("answers");
    for (bad, key) in [
        ("listen = 'tcp://127.0.0.1:0'\ndney = []", "dney"),
        ("listen = 'tcp://localhost:0'", "listen"),
        ("listen = [", "answers.toml"),
        ("backlog = 5", "listen"),
    ] {
        folder.manifest("answers", bad);
        let kept = wharf.event("kept", "answers");
        assert_eq!(kept.generation, generation);
        assert!(kept.reason.contains("answers.toml") && kept.reason.contains(key), "{}", kept.reason);
        assert_eq!(ask(address, "x"), answer("A"));
        assert_eq!(Client::connect_from([127, 0, 0, 2].into(), address).rest(), "", "still denied");
    }
    folder.settings("answers", "");
    wharf.event("loaded", "answers");
    let mut admitted = Client::connect_from([127, 0, 0, 2].into(), address);
    admitted.send("x");
    assert_eq!(admitted.rest(), answer("A"));
    let events = wharf.stop();
    assert_eq!(events.iter().filter(|line| line.starts_with("listening")).count(), 1, "{events:#?}");
}

#[test]
fn changed_defaults_hold_for_every_plugin_and_bad_ones_for_none() {
    let folder = Folder::new();
    folder.plugin("a", &answers("A")).plugin("b", &answers("B")).file("wharf.toml", "[defaults]\nbacklog = 100");
    let wharf = Wharf::serve(&folder);
    let addresses = ["a", "b"].map(|plugin| {
        wharf.event("loaded", plugin);
        wharf.address(plugin)
    });
    folder.file("wharf.toml", "[defaults]\ndeny = '127.0.0.2'");
    for (plugin, address) in ["a", "b"].into_iter().zip(addresses) {
        wharf.event("loaded", plugin);
        assert_eq!(Client::connect_from([127, 0, 0, 2].into(), address).rest(), "", "denied");
    }
    folder.file("wharf.toml", "[defaults]\ndney = '127.0.0.2'");
    wharf.logs(&["wharf.toml", "dney", "deny"]);
    for address in addresses {
        assert_eq!(Client::connect_from([127, 0, 0, 2].into(), address).rest(), "", "still denied");
    }
    assert_eq!(ask(addresses[0], "x"), answer("A"));
    wharf.stop();
}
