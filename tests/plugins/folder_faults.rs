//! Faults of the plugin folder: it goes, what lies in it is no plugin, its files' times lie, and
//! nobody tells of changes.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Resource;

use crate::harness::limits::namespaces_are_allowed;
use crate::harness::{Folder, Launch, Wharf, answer, answers, ask};

/// What the log has with all of these in it, by now.
fn logged(wharf: &Wharf, parts: &[&str]) -> usize {
    wharf.log().iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}

fn says_loaded(wharf: &Wharf, text: &str) {
    assert_eq!(wharf.event("loaded", "answers").generation, answers(text).generation());
}

// The folder

#[test]
fn whatever_stands_where_the_folder_was_it_serves_on_until_that_is_back() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let config = folder.parent().join("wharf.toml");
    fs::write(&config, "rescan = '1h'").expect("write");
    let serve = ["serve".as_ref(), folder.path(), "--config".as_ref(), config.as_path()];
    let wharf = Launch::new(serve).start();
    let address = wharf.address("answers");
    says_loaded(&wharf, "A");
    let (path, away) = (folder.path(), folder.parent().join("away"));
    let deleted = |_: &Path| {};
    let file = |path: &Path| fs::write(path, "a file").expect("write");
    let dangling = |path: &Path| symlink("nowhere", path).expect("link");
    let loops = |path: &Path| symlink(path, path).expect("link");
    let fifo = |path: &Path| mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("make a FIFO");
    type Instead<'a> = (&'a dyn Fn(&Path), &'a str);
    let instead: [Instead; 5] = [
        (&deleted, "No such file"),
        (&file, "Not a directory"),
        (&dangling, "No such file"),
        (&loops, "symbolic links"),
        (&fifo, "Not a directory"),
    ];
    let mut texts = ["B", "C", "D", "E", "F"].into_iter();
    let mut current = "A";
    for (make, error) in instead {
        fs::rename(path, &away).expect("move it away");
        make(path);
        wharf.logs(&["WARN", "can't be read; waiting for it", error]);
        assert_eq!(ask(address, "x"), answer(current), "{error}");
        let _ = fs::remove_file(path);
        current = texts.next().expect("enough of them");
        fs::write(away.join("answers.wat"), answers(current).bytes).expect("write");
        fs::rename(&away, path).expect("bring it back");
        says_loaded(&wharf, current);
        assert_eq!(ask(address, "x"), answer(current));
    }
    assert_eq!(wharf.stop().iter().filter(|line| line.starts_with("listening")).count(), 1);
}

#[test]
fn what_is_no_regular_file_is_refused_and_waited_for_by_nobody() {
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name);
    let fifo = |name: &str| mkfifoat(CWD, path(name), Mode::RUSR | Mode::WUSR).expect("make a FIFO");
    fifo("fifo.wasm");
    let _socket = UnixListener::bind(path("socket.wasm")).expect("bind");
    symlink("/dev/zero", path("device.wasm")).expect("link");
    symlink("loop.wasm", path("loop.wasm")).expect("link");
    symlink("nowhere", path("dangling.wasm")).expect("link");
    fs::create_dir(path("folder.wasm")).expect("create a folder");
    File::create(path("sparse.wasm")).expect("create").set_len(10 << 30).expect("it takes no blocks");
    folder.plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("answers");
    // Wrong settings end a start.
    fifo("odd.toml");
    folder.file("odd.wat", answers("O").bytes);
    for (plugin, reason) in [
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
        ("device", "a device"),
        ("loop", "symbolic links"),
        ("sparse", "a file of 10 GiB"),
        ("odd", "odd.toml: a FIFO"),
    ] {
        let refused = wharf.event("refused", plugin).reason;
        assert!(refused.contains(reason), "{plugin}: {refused}");
    }
    assert!(wharf.status("VmHWM") < 1 << 20, "{} kB, and no 10 GB", wharf.status("VmHWM"));

    // The settings of the host, and a plugin that serves.
    fifo("wharf.toml");
    wharf.logs(&["ERROR", "wharf.toml: a FIFO", "stay as they were"]);
    folder.remove("answers.wat");
    fifo("answers.wat");
    let kept = wharf.event("kept", "answers");
    assert!(kept.reason.contains("a FIFO"), "{}", kept.reason);
    assert_eq!(ask(address, "x"), answer("A"));

    folder.remove("fifo.wasm");
    folder.remove("wharf.toml");
    folder.settings("odd", "").plugin("fifo", &answers("F")).plugin("answers", &answers("B"));
    assert_eq!(ask(wharf.address("odd"), "x"), answer("O"));
    assert_eq!(ask(wharf.address("fifo"), "x"), answer("F"));
    says_loaded(&wharf, "A");
    says_loaded(&wharf, "B");
    wharf.stop();
}

// Clocks

#[test]
fn files_are_told_apart_whatever_their_times_are() {
    let folder = Folder::new();
    // Out of any watcher's sight, so that nothing but the stamps tells.
    let builds = folder.parent().join("elsewhere/builds");
    fs::create_dir_all(&builds).expect("create folders");
    let file = builds.join("answers.wat");
    let dated = |text: &str, time: SystemTime| {
        fs::write(&file, answers(text).bytes).expect("write");
        File::options().write(true).open(&file).and_then(|file| file.set_modified(time)).expect("set its time");
    };
    let (now, year) = (SystemTime::now(), Duration::from_secs(365 * 86_400));
    dated("A", now + year);
    symlink(&builds, folder.parent().join("elsewhere/links")).expect("link");
    symlink(folder.parent().join("elsewhere/links/answers.wat"), folder.path().join("answers.wat")).expect("link");
    folder.settings("answers", "").file("wharf.toml", "rescan = '50ms'");
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("answers");
    says_loaded(&wharf, "A");
    // To come, in 1970, backwards, the same as before: all of the same size.
    for (text, time) in [
        ("B", now + year),
        ("C", SystemTime::UNIX_EPOCH),
        ("D", now),
        ("E", now - year),
        ("F", now - 2 * year),
        ("G", now - 2 * year),
    ] {
        dated(text, time);
        says_loaded(&wharf, text);
        assert_eq!(ask(address, "x"), answer(text));
    }
    wharf.stop();
}

// inotify

#[test]
fn without_watches_it_looks_at_the_folder_until_there_are_some() {
    if !namespaces_are_allowed("inotify's limits") {
        return;
    }
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A")).file("wharf.toml", "rescan = '1h'");
        let first = format!("echo 0 > /proc/sys/user/{limit}");
        let wharf = Launch::in_namespaces(&first, ["serve".as_ref(), folder.path()]).start();
        let address = wharf.address("answers");
        says_loaded(&wharf, "A");
        wharf.logs(&["WARN", "no events from the file system"]);
        for text in ["B", "C"] {
            folder.plugin("answers", &answers(text));
            says_loaded(&wharf, text);
            assert_eq!(ask(address, "x"), answer(text));
        }
        assert_eq!(logged(&wharf, &["no events from the file system"]), 1, "{limit}: said once");

        // No thread either, neither to watch with nor to load with.
        wharf.limit(Resource::Data, Some(wharf.status("VmData") << 10));
        let pid = wharf.pid().as_raw_nonzero().to_string();
        let enter = ["--user", "--target", &pid, "sh", "-c", &format!("echo 100 > /proc/sys/user/{limit}")];
        let entered = Command::new("nsenter").args(["--preserve-credentials"]).args(enter).output().expect("it runs");
        assert!(entered.status.success(), "{entered:?}");
        folder.plugin("answers", &answers("D"));
        let kept = wharf.event("kept", "answers");
        assert!(kept.reason.contains("the host failed to load it"), "{}", kept.reason);
        assert_eq!(logged(&wharf, &["come again"]), 0);
        wharf.limit(Resource::Data, None);
        wharf.logs(&["INFO", "events from the file system come again"]);
        says_loaded(&wharf, "D");
        folder.plugin("answers", &answers("E"));
        says_loaded(&wharf, "E");
        wharf.stop();
    }
}
