//! Changes of the folder while it is served: each way of making one, and what stays as it was.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::guests::{shipped, stays};
use crate::harness::{Client, DEADLINE, Folder, Launch, Wharf, answer, answers, ask};

/// A folder with the plugin `answers` in generation A, served. Nothing but events tells the host:
/// the rescan is far off.
fn scene() -> (Folder, Wharf, std::net::SocketAddr) {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).file("wharf.toml", "rescan = '1h'");
    let wharf = Wharf::serve(&folder);
    assert_eq!(wharf.event("loaded", "answers").generation, answers("A").generation());
    let address = wharf.address("answers");
    assert_eq!(ask(address, "x"), answer("A"));
    (folder, wharf, address)
}

/// Waits until generation `text` is loaded; from then on every new session has it.
#[track_caller]
fn becomes(wharf: &Wharf, address: std::net::SocketAddr, text: &str) {
    assert_eq!(wharf.event("loaded", "answers").generation, answers(text).generation());
    assert_eq!(ask(address, "x"), answer(text));
}

/// The same with a plugin whose sessions end in their own time, or when they are ended.
fn staying(settings: &str) -> (Folder, Wharf, std::net::SocketAddr) {
    let folder = Folder::new();
    folder.plugin("answers", &stays("A")).settings("answers", settings).file("wharf.toml", "rescan = '1h'");
    let wharf = Wharf::serve(&folder);
    is_loaded(&wharf, "A");
    let address = wharf.address("answers");
    (folder, wharf, address)
}

#[track_caller]
fn is_loaded(wharf: &Wharf, text: &str) {
    assert_eq!(wharf.event("loaded", "answers").generation, stays(text).generation());
}

/// Stops it: apart from these lines, there was nothing on stdout but start and stop.
#[track_caller]
fn said_only(wharf: Wharf, address: std::net::SocketAddr, between: &[String]) {
    let begin = [format!("loaded answers {}", answers("A").generation()), format!("listening tcp://{address} answers")];
    let end = [format!("closed tcp://{address} answers"), "stopped".to_owned()];
    let mut said = wharf.stop();
    // How many it drains is no matter here: a session is one until its host has seen its client go.
    said.retain(|line| !line.starts_with("draining "));
    assert_eq!(said, [&begin[..], between, &end[..]].concat());
}

fn loaded(text: &str) -> String {
    format!("loaded answers {}", answers(text).generation())
}

#[test]
fn a_file_renamed_over_or_written_in_place_is_taken() {
    let (folder, wharf, address) = scene();
    folder.plugin("answers", &answers("B"));
    becomes(&wharf, address, "B");
    folder.overwrite("answers.wat", answers("C").bytes);
    becomes(&wharf, address, "C");
    folder.remove("answers.wat");
    folder.plugin("answers", &answers("D"));
    // Removed and there again: whether the host saw it missing is up to chance, that it serves in
    // the end is not.
    assert_eq!(wharf.event("loaded", "answers").generation, answers("D").generation());
    wharf.stop();
}

#[test]
fn a_running_session_keeps_its_generation() {
    let (folder, wharf, address) = scene();
    let mut old = Client::connect(address);
    old.hears("A ");
    folder.plugin("answers", &answers("B"));
    becomes(&wharf, address, "B");
    let mut middle = Client::connect(address);
    middle.hears("B ");
    folder.plugin("answers", &answers("C"));
    becomes(&wharf, address, "C");
    old.send("x");
    assert_eq!(old.rest(), "A A ");
    middle.send("x");
    assert_eq!(middle.rest(), "B B ");
    said_only(wharf, address, &[loaded("B"), loaded("C")]);
}

#[test]
fn a_replacement_cuts_nobody_and_a_stop_gives_the_replaced_their_drain_time() {
    let (folder, wharf, address) = staying("[timeouts]\ndrain = '100ms'");
    let mut old: Vec<Client> = (0..3).map(|_| Client::connect(address)).collect();
    old.iter_mut().for_each(|client| _ = client.hears("A "));
    let generation = format!("generation={}", stays("A").generation());
    folder.plugin("answers", &stays("B"));
    is_loaded(&wharf, "B");
    wharf.logs(&[
        "INFO",
        "replaced: its sessions go on until they end",
        "plugin=\"answers\"",
        &generation,
        "sessions=3",
    ]);
    // Far longer than any drain: more generations come, each in its time.
    for text in ["C", "D", "E"] {
        folder.plugin("answers", &stays(text));
        is_loaded(&wharf, text);
    }
    old[0].send("x");
    assert_eq!(old.remove(0).rest(), "A A ");
    wharf.signal(Signal::USR1);
    wharf.logs(&["counted: sessions of a replaced generation", &generation]);
    wharf.signal(Signal::TERM);
    for _ in 0..2 {
        wharf.logs(&["session failed", &generation, "cause=\"drain: "]);
    }
    assert_eq!(old.remove(0).rest(), "");
    wharf.says("stopped");
}

#[test]
fn no_more_generations_have_sessions_than_the_operator_says() {
    let (folder, wharf, address) = staying("max-generations = 2\n[timeouts]\ndrain = '100ms'");
    let mut clients = Vec::new();
    let mut before = "A";
    for text in ["B", "C"] {
        let mut client = Client::connect(address);
        client.hears(format!("{before} "));
        clients.push(client);
        folder.plugin("answers", &stays(text));
        is_loaded(&wharf, text);
        before = text;
    }
    let generation = format!("generation={}", stays("A").generation());
    wharf.logs(&["WARN", "more than 2 generations have sessions", &generation, "sessions=1", "have 100ms to end"]);
    wharf.logs(&["session failed", &generation, "cause=\"drain: "]);
    assert_eq!(clients.remove(0).rest(), "");
    clients[0].send("x");
    assert_eq!(clients.remove(0).rest(), "B B ");
    wharf.stop();
}

#[test]
fn a_replaced_generation_has_as_long_as_the_operator_says() {
    let (folder, wharf, address) = staying("[timeouts]\nreplaced = '200ms'");
    let mut old = Client::connect(address);
    old.hears("A ");
    folder.plugin("answers", &stays("B"));
    wharf.event("loaded", "answers");
    let generation = format!("generation={}", stays("A").generation());
    wharf.logs(&["session failed", &generation, &old.name(), "phase=handle", "cause=\"drain: "]);
    assert_eq!(old.rest(), "");
    assert_eq!(ask(address, "x"), answer("B"));
    wharf.stop();
}

#[test]
fn a_half_written_file_never_serves() {
    let (folder, wharf, address) = scene();
    let new = answers("B").bytes;
    let (half, other_half) = new.split_at(new.len() / 2);
    folder.overwrite("answers.wat", half);
    let kept = wharf.event("kept", "answers");
    assert_eq!(kept.generation, answers("A").generation());
    assert!(!kept.reason.is_empty(), "a reason is given");
    assert_eq!(ask(address, "x"), answer("A"), "the old one serves on");
    folder.append("answers.wat", other_half);
    becomes(&wharf, address, "B");
    wharf.stop();
}

#[test]
fn a_bad_new_file_keeps_the_old_one_serving() {
    let (folder, wharf, address) = scene();
    let mut running = Client::connect(address);
    running.hears("A ");
    for bad in ["buy milk", "", "(component)", "(module)"] {
        folder.file("answers.wat", bad);
        let kept = wharf.event("kept", "answers");
        assert_eq!(kept.generation, answers("A").generation());
        assert!(kept.reason.contains("stream-handler"), "{}", kept.reason);
        assert_eq!(ask(address, "x"), answer("A"));
    }
    running.send("x");
    assert_eq!(running.rest(), "A A ");
    folder.plugin("answers", &answers("B"));
    becomes(&wharf, address, "B");
    wharf.stop();
}

#[test]
fn the_same_content_again_is_no_change() {
    let (folder, wharf, address) = scene();
    for _ in 0..3 {
        folder.plugin("answers", &answers("A")).settings("answers", "");
    }
    // What the host makes of those, it has made of them when it comes to this one.
    folder.plugin("answers", &answers("B"));
    becomes(&wharf, address, "B");
    said_only(wharf, address, &[loaded("B")]);
}

#[test]
fn editors_temporary_files_are_no_plugins() {
    let (folder, wharf, address) = scene();
    let new = answers("B").bytes;
    for name in ["4913", ".answers.wat.swp", "answers.wat~", "#answers.wat#", ".#answers.wat", "answers.wat.tmp"] {
        folder.overwrite(name, &new);
    }
    // vim's way: the old file becomes the backup, a new one is written in its place, the backup
    // goes.
    let path = folder.path().join("answers.wat");
    fs::rename(&path, folder.path().join("answers.wat~")).expect("rename");
    fs::write(&path, &new).expect("write");
    folder.remove("answers.wat~");
    assert_eq!(wharf.event("loaded", "answers").generation, answers("B").generation());
    folder.remove(".answers.wat.swp");
    folder.remove("4913");
    folder.plugin("answers", &answers("C"));
    assert_eq!(wharf.event("loaded", "answers").generation, answers("C").generation());
    let strangers: Vec<_> = wharf
        .stop()
        .into_iter()
        .filter(|line| line.contains('~') || line.contains('#') || line.contains("4913"))
        .collect();
    assert_eq!(strangers, [""; 0], "{address}");
}

#[test]
fn swapped_links_are_followed_as_kubernetes_makes_them() {
    let folder = Folder::new();
    let dir = folder.path();
    let version = |name: &str, text: &str| {
        fs::create_dir(dir.join(name)).expect("create the version's folder");
        fs::write(dir.join(name).join("answers.wat"), answers(text).bytes).expect("write");
        fs::write(dir.join(name).join("answers.toml"), "listen = 'tcp://127.0.0.1:0'").expect("write");
    };
    version("..2024_01", "A");
    symlink("..2024_01", dir.join("..data")).expect("link");
    for file in ["answers.wat", "answers.toml"] {
        symlink(format!("..data/{file}"), dir.join(file)).expect("link");
    }
    let other = folder.parent().join("wharf.toml");
    fs::write(&other, "rescan = '1h'").expect("write");
    let wharf = Launch::new(["serve".as_ref(), dir, "--config".as_ref(), other.as_path()]).start();
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    for (name, old, text) in [("..2024_02", "..2024_01", "B"), ("..2024_03", "..2024_02", "C")] {
        version(name, text);
        symlink(name, dir.join("..data_tmp")).expect("link");
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("swap");
        fs::remove_dir_all(dir.join(old)).expect("remove the old version");
        becomes(&wharf, address, text);
    }
    said_only(wharf, address, &[loaded("B"), loaded("C")]);
}

#[test]
fn links_above_the_folder_are_followed_as_deployments_make_them() {
    let folder = Folder::absent();
    let dir = folder.parent().canonicalize().expect("it is there");
    for (release, text) in [("1", "A"), ("2", "B"), ("3", "C")] {
        let plugins = dir.join("releases").join(release).join("app/plugins");
        fs::create_dir_all(&plugins).expect("create folders");
        fs::write(plugins.join("answers.wat"), answers(text).bytes).expect("write");
        fs::write(plugins.join("answers.toml"), "listen = 'tcp://127.0.0.1:0'").expect("write");
    }
    let swap = |target: &str, link: &str| {
        symlink(target, dir.join("new")).expect("link");
        fs::rename(dir.join("new"), dir.join(link)).expect("swap");
    };
    let (outer, inner) = ("current", "stable");
    swap("stable/app", outer);
    swap("releases/1", inner);
    let other = dir.join("wharf.toml");
    fs::write(&other, "rescan = '1h'").expect("write");
    let plugins = dir.join("current/plugins");
    let wharf = Launch::new(["serve".as_ref(), plugins.as_path(), "--config".as_ref(), other.as_path()]).start();
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    swap("releases/2", inner);
    becomes(&wharf, address, "B");
    swap("releases/3/app", outer);
    becomes(&wharf, address, "C");
    said_only(wharf, address, &[loaded("B"), loaded("C")]);
}

#[test]
fn a_folder_that_appears_later_is_served_and_so_is_one_that_comes_back() {
    let folder = Folder::absent();
    let config = folder.parent().join("wharf.toml");
    fs::write(&config, "rescan = '1h'").expect("write");
    let wharf = Launch::new(["serve".as_ref(), folder.path(), "--config".as_ref(), config.as_path()]).start();
    wharf.logs(&["WARN", folder.path().to_str().expect("UTF-8")]);
    fs::create_dir(folder.path()).expect("create the folder");
    folder.plugin("answers", &answers("A"));
    let address = wharf.address("answers");
    becomes(&wharf, address, "A");

    // Away for a while, which says nothing about what should be served.
    let away = folder.parent().join(".away");
    fs::rename(folder.path(), &away).expect("rename");
    wharf.logs(&["WARN", folder.path().to_str().expect("UTF-8")]);
    assert_eq!(ask(address, "x"), answer("A"), "it serves on");
    fs::write(away.join("answers.wat"), answers("B").bytes).expect("write");
    fs::rename(&away, folder.path()).expect("rename");
    becomes(&wharf, address, "B");
    folder.plugin("answers", &answers("C"));
    becomes(&wharf, address, "C");
    said_only(wharf, address, &[loaded("B"), loaded("C")]);
}

#[test]
fn a_removed_plugin_closes_its_listener_and_drains() {
    let (folder, wharf, address) = scene();
    let mut running = Client::connect(address);
    running.hears("A ");
    folder.remove("answers.wat");
    assert_eq!(wharf.event("closed", "answers").url, format!("tcp://{address}"));
    assert!(Client::try_connect(address).is_err(), "nobody is let in any more");
    running.send("x");
    assert_eq!(running.rest(), "A A ");
    wharf.event("unloaded", "answers");
    folder.plugin("answers", &answers("B"));
    assert_eq!(wharf.event("loaded", "answers").generation, answers("B").generation());
    assert_eq!(ask(wharf.address("answers"), "x"), answer("B"), "it may come back");
    wharf.stop();
}

#[test]
fn a_plugin_that_becomes_one_for_datagrams_leaves_no_connection_to_them() {
    const ROUNDS: usize = 12;
    let streams = answers("A").with_manifest("listen = 'tcp://127.0.0.1:0'");
    let datagrams = shipped("upper-udp").with_manifest("listen = 'udp://127.0.0.1:0'");
    let folder = Folder::new();
    folder.file("either.wasm", &streams.bytes);
    let wharf = Wharf::serve(&folder);
    for _ in 0..ROUNDS {
        let address = wharf.address("either");
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                // Until the listener is gone. One whom the kernel had not handed over by then is
                // reset, and heard nothing.
                scope.spawn(|| {
                    while began.elapsed() < 2 * DEADLINE
                        && let Ok(client) = Client::try_connect(address)
                    {
                        client.served("x", &answer("A"));
                    }
                });
            }
            folder.file("either.wasm", &datagrams.bytes);
            wharf.event("closed", "either");
        });
        wharf.event("listening", "either");
        folder.file("either.wasm", &streams.bytes);
        wharf.event("closed", "either");
    }
    let log = wharf.log();
    wharf.stop();
    assert!(!log.iter().any(|line| line.contains("host fault") || line.contains("session failed")), "{log:#?}");
}

#[test]
fn a_new_plugin_is_served_beside_the_others() {
    let (folder, wharf, address) = scene();
    folder.plugin("late", &answers("L"));
    assert_eq!(ask(wharf.address("late"), "x"), answer("L"));
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}

#[test]
fn a_link_to_a_file_elsewhere_is_followed() {
    let folder = Folder::new();
    let target = folder.parent().join("builds");
    fs::create_dir(&target).expect("create a folder");
    fs::write(target.join("answers.wat"), answers("A").bytes).expect("write");
    symlink(target.join("answers.wat"), folder.path().join("answers.wat")).expect("link");
    folder.settings("answers", "").file("wharf.toml", "rescan = '1h'");
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("answers");
    becomes(&wharf, address, "A");
    fs::write(target.join("answers.wat"), answers("B").bytes).expect("write");
    becomes(&wharf, address, "B");
    fs::write(target.join("new"), answers("C").bytes).expect("write");
    fs::rename(target.join("new"), target.join("answers.wat")).expect("rename");
    becomes(&wharf, address, "C");
    said_only(wharf, address, &[loaded("B"), loaded("C")]);
}

#[test]
fn a_lost_event_is_made_up_for_by_the_rescan() {
    let folder = Folder::new();
    let change = folder.plugin_of_two_names("answers", &answers("A"));
    folder.settings("answers", "").file("wharf.toml", "rescan = '100ms'");
    let wharf = Wharf::serve(&folder);
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    change(&answers("B"));
    becomes(&wharf, address, "B");
    wharf.stop();
}
