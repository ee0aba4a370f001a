//! Files that are being written, put back, or swapped together: what serves is what the folder
//! holds, as a whole.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::Path;

use xtask::left_out;

use crate::harness::guests::slow_to_load;
use crate::harness::observe::until;
use crate::harness::{Client, Folder, Launch, Wharf, answer, answers, ask};

const EVERYBODY: &str = "listen = 'tcp://127.0.0.1:0'\n";
const NOBODY: &str = "allow = ['192.0.2.1']\n";

/// A folder with the plugin `answers`, served. Nothing but events tells the host: the rescan is far
/// off.
fn scene(manifest: &str) -> (Folder, Wharf, SocketAddr) {
    let folder = Folder::new();
    folder.manifest("answers", manifest).plugin("answers", &answers("A")).file("wharf.toml", "rescan = '1h'");
    let wharf = Wharf::serve(&folder);
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    (folder, wharf, address)
}

/// Has the host look at the folder, after everything that was done to it before.
#[track_caller]
fn looks(wharf: &Wharf, folder: &Folder, name: &str) {
    folder.plugin(name, &answers(name));
    wharf.event("listening", name);
}

#[track_caller]
fn is_turned_away(address: SocketAddr) {
    assert_eq!(Client::connect(address).rest(), "", "the list does not name it");
}

#[test]
fn a_manifest_is_not_believed_before_its_writer_is_done() {
    let (folder, wharf, address) = scene(&format!("{EVERYBODY}{NOBODY}"));
    is_turned_away(address);
    let mut writer = File::create(folder.path().join("answers.toml")).expect("open in place");
    // As far as it goes, it is a manifest that lets everybody in.
    writer.write_all(EVERYBODY.as_bytes()).expect("write");
    looks(&wharf, &folder, "first");
    is_turned_away(address);
    wharf.logs(&["WARN", "plugin=\"answers\"", "answers.toml", "being written", "10s at most"]);
    is_turned_away(address);
    writer.write_all(b"allow = ['192.0.2.2']\nbacklog = 7\n").expect("write");
    drop(writer);
    wharf.event("loaded", "answers");
    is_turned_away(address);

    // The same of one that is new.
    folder.file("new.wat", answers("N").bytes);
    wharf.event("refused", "new");
    let mut writer = File::create(folder.path().join("new.toml")).expect("open");
    writer.write_all(EVERYBODY.as_bytes()).expect("write");
    looks(&wharf, &folder, "second");
    writer.write_all(NOBODY.as_bytes()).expect("write");
    drop(writer);
    is_turned_away(wharf.address("new"));
    let loaded = wharf.stop().iter().filter(|line| line.starts_with("loaded answers")).count();
    assert_eq!(loaded, 2, "at the start, and once the file was whole");
}

#[test]
fn host_wide_settings_are_not_believed_before_their_writer_is_done() {
    let (folder, wharf, address) = scene(EVERYBODY);
    folder.file("wharf.toml", "rescan = '1h'\n[defaults]\nallow = ['192.0.2.1']\n");
    wharf.event("loaded", "answers");
    is_turned_away(address);
    let mut writer = File::create(folder.path().join("wharf.toml")).expect("open in place");
    writer.write_all(b"rescan = '1h'\n[defaults]\n").expect("write");
    folder.plugin("late", &answers("L"));
    is_turned_away(address);
    writer.write_all(b"allow = ['192.0.2.3']\n").expect("write");
    drop(writer);
    is_turned_away(wharf.address("late"));
    wharf.event("loaded", "answers");
    is_turned_away(address);
    wharf.stop();
}

#[test]
fn a_writer_that_does_not_end_is_told_of_and_the_old_serves_on() {
    let (folder, wharf, address) = scene(EVERYBODY);
    let mut writer = File::create(folder.path().join("answers.toml")).expect("open in place");
    writer.write_all(b"listen = 'tcp://127.0.0.1:0'\nbacklog = 7\n").expect("write");
    let begin = wharf.event("kept", "answers");
    assert!(begin.reason.ends_with("answers.toml: not read yet, as it is being written"), "{}", begin.reason);
    assert_eq!(ask(address, "x"), answer("A"));
    drop(writer);
    wharf.event("loaded", "answers");
    let log = wharf.log();
    assert_eq!(log.iter().filter(|line| line.contains("being written")).count(), 1, "{log:#?}");
    wharf.stop();
}

#[test]
fn a_start_waits_for_who_writes_but_not_for_ever() {
    for name in ["answers.toml", "wharf.toml"] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A"));
        let writer = File::options().append(true).create(true).open(folder.path().join(name)).expect("open");
        let mut wharf = Wharf::serve(&folder);
        assert_eq!(wharf.ended(), 2);
        let told = format!("{}/{name}: not read yet, as it is being written", folder.path().display());
        assert!(wharf.log().iter().any(|line| line.contains(&told)), "{:?}", wharf.log());
        assert_eq!(wharf.events(), [""; 0]);
        drop(writer);
    }
}

#[test]
fn files_of_others_are_read_once_they_stand_still() {
    let folder = Folder::new();
    folder.manifest("answers", &format!("{EVERYBODY}{NOBODY}")).plugin("answers", &answers("A"));
    folder.file("wharf.toml", "rescan = '1h'");
    // Nobody gives a lease on another's file, nor tells who writes it. A test that is not root's
    // has no other's files.
    let others = |name: &str| chown(folder.path().join(name), Some(65534), None).is_ok();
    if !["answers.toml", "answers.wat", "wharf.toml"].into_iter().all(others) {
        return left_out::note("files that are not their host's own", "this user can't give any away");
    }
    let wharf = env!("CARGO_BIN_EXE_wharf");
    let arguments = ["--bounding-set", "-lease", "--inh-caps", "-lease", wharf, "serve"];
    let wharf = Launch::program(Path::new("setpriv"), arguments).args([folder.path()]).start();
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    is_turned_away(address);
    // In place, so that it stays theirs.
    let mut writer = File::create(folder.path().join("answers.toml")).expect("open in place");
    writer.write_all(EVERYBODY.as_bytes()).expect("write");
    looks(&wharf, &folder, "first");
    is_turned_away(address);
    writer.write_all(b"allow = ['127.0.0.1']").expect("write");
    drop(writer);
    wharf.event("loaded", "answers");
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}

#[test]
fn what_was_put_back_while_another_loads_serves_on() {
    let folder = Folder::new();
    let manifest = format!("{EVERYBODY}allow = ['127.0.0.1']\n");
    folder.manifest("answers", &manifest).plugin("answers", &answers("A")).file("wharf.toml", "rescan = '1h'");
    let wharf = Launch::new(["serve".as_ref(), folder.path(), "--no-cache".as_ref()]).own_cache().start();
    wharf.event("loaded", "answers");
    let address = wharf.address("answers");
    // Both are bound to be of another version: a plugin that takes long, with a manifest that lets
    // nobody in.
    let slow = slow_to_load("B");
    // The binary is taken where both stand there.
    folder.plugin("answers", &slow).manifest("answers", &format!("{EVERYBODY}{NOBODY}"));
    until("it is being loaded", || !wharf.children().is_empty());
    folder.remove("answers.wasm");
    folder.manifest("answers", &manifest);
    assert_eq!(ask(address, "x"), answer("A"));
    // One load of a plugin at a time: this one's begins when the other is over.
    folder.plugin("answers", &answers("C"));
    let loaded = wharf.event("loaded", "answers").generation;
    assert_eq!(loaded, answers("C").generation());
    assert_eq!(ask(address, "x"), answer("C"));
    wharf.stop();
}

#[test]
fn host_wide_settings_that_change_while_a_plugin_loads_hold_for_it() {
    let folder = Folder::new();
    folder.file("wharf.toml", "rescan = '1h'").plugin("answers", &slow_to_load("A")).plugin("other", &answers("O"));
    let wharf = Launch::new(["serve".as_ref(), folder.path(), "--no-cache".as_ref()]).own_cache().start();
    wharf.event("loaded", "other");
    until("it is being loaded", || !wharf.children().is_empty());
    folder.file("wharf.toml", "rescan = '1h'\n[defaults]\nallow = ['192.0.2.1']\n");
    wharf.event("loaded", "other");
    is_turned_away(wharf.address("answers"));
    wharf.stop();
}
