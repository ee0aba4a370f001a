//! The contract, as a handler in each language meets it: steps in order, errors, timeouts,
//! addresses, traps. What differs from language to language is in the table in
//! `harness::languages`.

use crate::harness::languages::{Language, probes, probing};
use crate::harness::{Client, Folder, Wharf};

/// A client that its handler's `setup` has greeted.
fn greeted(language: &Language, wharf: &Wharf) -> Client {
    greeted_at(language, &wharf.url(language.name))
}

fn greeted_at(language: &Language, url: &str) -> Client {
    let mut client = Client::dial(url);
    if language.has_steps {
        client.hears("setup\n");
    }
    client
}

/// What the client hears of `finish`.
fn farewell(language: &Language) -> &'static str {
    if language.has_steps { "finish\n" } else { "" }
}

/// Waits for the log's line of a failed session, which names plugin, client, phase and cause.
#[track_caller]
fn fails(wharf: &Wharf, language: &Language, client: &str, phase: &str, cause: &str) {
    let (plugin, phase) = (format!(" plugin={} ", language.name), format!(" phase={phase} "));
    wharf.logs(&["session failed", &plugin, &format!(" {client} "), &phase, &format!(" cause=\"{cause}")]);
}

#[test]
fn the_steps_run_in_order_and_setup_waits_for_no_message() {
    let (wharf, _folder) = probing("");
    for (language, _) in probes() {
        let mut client = greeted(language, &wharf);
        client.send("one\n").hears("one\n").send("two\n").hears("two\n").ends();
        assert_eq!(client.rest(), farewell(language), "{}", language.name);
    }
    let log = wharf.log();
    wharf.stop();
    assert!(!log.iter().any(|line| line.contains("session failed")), "{log:#?}");
}

#[test]
fn an_error_that_handle_returns_is_logged_and_finish_runs_all_the_same() {
    let (wharf, _folder) = probing("");
    for (language, _) in probes() {
        let mut client = greeted(language, &wharf);
        let name = client.name();
        client.send("fail no reason\n");
        fails(&wharf, language, &name, "handle", language.failed);
        if !language.has_steps {
            wharf.logs(&["no reason", &format!(" plugin={} ", language.name), &name, "stream=stderr"]);
        }
        assert_eq!(client.rest(), farewell(language), "{}", language.name);
    }
    wharf.stop();
}

#[test]
fn a_trap_ends_its_own_session_alone() {
    let (wharf, _folder) = probing("");
    for (language, _) in probes() {
        let url = wharf.url(language.name);
        let mut other = greeted_at(language, &url);
        other.send("before\n").hears("before\n");
        let mut client = greeted_at(language, &url);
        let name = client.name();
        client.send("trap\n");
        fails(&wharf, language, &name, "handle", language.trapped);
        let last_words = if language.outlives_a_throw { farewell(language) } else { "" };
        assert_eq!(client.rest(), last_words, "{}", language.name);
        other.send("after\n").hears("after\n").ends();
        assert_eq!(other.rest(), farewell(language), "{}", language.name);
        greeted_at(language, &url).send("a new one\n").hears("a new one\n");
    }
    wharf.stop();
}

#[test]
fn a_wait_that_the_handler_bounds_ends_and_the_connection_goes_on() {
    let (wharf, _folder) = probing("");
    for (language, _) in probes() {
        let mut client = greeted(language, &wharf);
        client.send("timeout 50\n").hears(format!("{}\n", language.timed_out));
        // The bound was taken away again, so that this may take its time.
        client.send("still there\n").hears("still there\n").ends();
        assert_eq!(client.rest(), farewell(language), "{}", language.name);
    }
    wharf.stop();
}

#[test]
fn the_operators_idle_timeout_is_an_error_that_the_handler_sees() {
    let (wharf, _folder) = probing("[timeouts]\nidle = '200ms'");
    for (language, _) in probes() {
        let client = greeted(language, &wharf);
        let name = client.name();
        fails(&wharf, language, &name, "handle", language.idle);
        // By then the client counts as gone, in `finish` too.
        if language.has_steps {
            fails(&wharf, language, &name, "finish", language.idle);
        }
        assert_eq!(client.rest(), "", "{}", language.name);
    }
    wharf.stop();
}

#[test]
fn a_send_after_a_shutdown_is_a_broken_pipe() {
    let (wharf, _folder) = probing("");
    for (language, _) in probes() {
        let mut client = greeted(language, &wharf);
        let name = client.name();
        client.send("shutdown\n");
        fails(&wharf, language, &name, "handle", language.broken_pipe);
        if language.has_steps {
            fails(&wharf, language, &name, "finish", language.broken_pipe);
        }
        assert_eq!(client.rest(), "", "{}", language.name);
    }
    wharf.stop();
}

#[test]
fn the_handler_knows_both_ends_of_every_family() {
    let folder = Folder::new();
    for (language, guest) in probes() {
        let path = folder.parent().join(language.name).with_extension("sock");
        let listen = format!("listen = ['tcp://127.0.0.1:0', 'tcp://[::1]:0', 'unix://{}']", path.display());
        folder.manifest(language.name, &listen).plugin(language.name, guest);
    }
    let wharf = Wharf::serve(&folder);
    for (language, _) in probes() {
        for _family in ["IPv4", "IPv6", "Unix"] {
            let url = wharf.url(language.name);
            let (_, server) = url.split_once("://").expect("a URL");
            let mut client = greeted_at(language, &url);
            let name = client.name();
            let (_, name) = name.split_once('=').expect("client=…");
            client.send("addresses\n").hears(format!("{name} {server}\n")).ends();
            assert_eq!(client.rest(), farewell(language), "{}: {url}", language.name);
        }
    }
    wharf.stop();
}

#[test]
fn what_the_handler_prints_is_in_the_log_under_its_plugin_and_client() {
    let (wharf, _folder) = probing("");
    for (language, _) in probes() {
        let mut client = greeted(language, &wharf);
        let name = client.name();
        let Some(stream) = language.prints_to else {
            // Its probe does not know the word, and gives it back as it does others.
            client.send("print a word\n").hears("print a word\n");
            continue;
        };
        client.send("print a word\n").hears("printed\n");
        let plugin = format!(" plugin={} ", language.name);
        wharf.logs(&["guest: text=\"a word\"", &plugin, &format!(" {name} "), &format!("stream={stream}")]);
    }
    wharf.stop();
}
