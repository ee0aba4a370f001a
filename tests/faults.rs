//! Faults around the host: what it lives on is taken away under it, and given back. It serves on, or ends with one clear line.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Resource, Signal};

use crate::harness::guests::rust;
use crate::harness::limits::namespaces_are_allowed;
use crate::harness::observe::until;
use crate::harness::{Client, Folder, Launch, Wharf, answer, answers, ask, ask_url, fixture};

/// A plugin that says `ok` to each message.
const POLITE: &str = "traps_in_handle";

#[track_caller]
fn talks(client: &mut Client) {
    client.send("x").hears("ok\n");
}

/// What the log has with all of these in it, by now.
fn logged(wharf: &Wharf, parts: &[&str]) -> usize {
    wharf.log().iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}

fn says_loaded(wharf: &Wharf, text: &str) {
    assert_eq!(wharf.event("loaded", "answers").generation, answers(text).generation());
}

// Descriptors

#[test]
fn without_descriptors_sessions_go_on_and_what_comes_waits() {
    let folder = Folder::new();
    folder.plugin("polite", &fixture(POLITE)).plugin("answers", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let (polite, address) = (wharf.address("polite"), wharf.address("answers"));
    says_loaded(&wharf, "A");
    let mut inside = Client::connect(polite);
    talks(&mut inside);

    wharf.leave_descriptors(0);
    // The kernel has them; nobody tells them to go.
    let mut outside = Client::connect(polite);
    outside.send("x");
    wharf.logs(&["ERROR", "can't accept", &polite.to_string()]);
    folder.plugin("answers", &answers("B")).plugin("late", &answers("L"));
    wharf.logs(&["WARN", "can't be read", "Too many open files"]);
    wharf.signal(Signal::HUP);
    talks(&mut inside);

    wharf.limit(Resource::Nofile, None);
    outside.hears("ok\n");
    says_loaded(&wharf, "B");
    assert_eq!(ask(address, "x"), answer("B"));
    assert_eq!(ask(wharf.address("late"), "x"), answer("L"));
    talks(&mut inside);
    drop((inside, outside));
    assert!(!wharf.stop().iter().any(|line| line.starts_with("unloaded")), "a folder that can't be read is not empty");
}

#[test]
fn what_one_session_lacks_a_descriptor_for_is_its_own_loss() {
    let folder = Folder::new();
    fs::create_dir(folder.parent().join("data")).expect("create a folder");
    fs::write(folder.parent().join("data/file"), "there").expect("write");
    let grant = format!("[[grants.dirs]]\nhost = '{}'\nguest = '/data'", folder.parent().join("data").display());
    folder.plugin("looks", &fixture("looks_around")).settings("looks", &grant);
    folder.plugin("apart", &answers("A")).settings("apart", "concurrency = 'process'");
    let wharf = Wharf::serve(&folder);
    let (looks, apart) = (wharf.address("looks"), wharf.address("apart"));
    let idle = wharf.descriptors();
    let is_idle = || wharf.descriptors() <= idle;
    assert_eq!(ask(looks, "r file"), "there");
    assert_eq!(ask(apart, "x"), answer("A"));

    // One is for the connection. None is left for the folder, or for what a child is told.
    until("the sessions are gone", is_idle);
    wharf.leave_descriptors(1);
    assert_eq!(ask(looks, "r file"), "errno 08", "there is no folder to begin with");
    wharf.logs(&["ERROR", "plugin=looks", "can't be opened", "Too many open files"]);
    until("the session is gone", is_idle);
    Client::connect(apart).sees_the_end();
    wharf.logs(&["ERROR", "host fault", "plugin=apart", "phase=process", "Too many open files"]);

    wharf.limit(Resource::Nofile, None);
    assert_eq!(ask(looks, "r file"), "there");
    assert_eq!(ask(apart, "x"), answer("A"));
    wharf.stop();
}

// Memory

#[test]
fn a_host_without_room_for_its_sandboxes_says_what_would_be_right() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let mut wharf = Launch::after("ulimit -v 50000000", ["serve".as_ref(), folder.path()]).start();
    assert_eq!(wharf.ended(), 1);
    let log = wharf.log();
    assert_eq!(log.len(), 1, "{log:#?}");
    for part in ["wharf: no room for ", " sandboxes", "ulimit -v", "max-connections", "wharf.toml"] {
        assert!(log[0].contains(part), "{part:?} in {log:?}");
    }
    assert_eq!(wharf.events(), [""; 0]);
}

#[test]
fn a_session_that_gets_no_memory_is_a_host_fault_for_itself_alone() {
    let folder = Folder::new();
    // One in the pool, whose memory is there and has to be made writable; one that maps its own.
    folder.plugin("polite", &fixture(POLITE));
    for concurrency in ["thread", "process"] {
        folder.settings(concurrency, &format!("concurrency = '{concurrency}'")).plugin(concurrency, &answers("A"));
    }
    folder.plugin("big", &fixture("big_memory")).settings("big", "[limits]\nmemory = '256MiB'");
    let wharf = Wharf::serve(&folder);
    let addresses = [wharf.address("polite"), wharf.address("big")];
    let apart = ["thread", "process"].map(|plugin| (plugin, wharf.address(plugin)));
    let mut inside = Client::connect(addresses[0]);
    talks(&mut inside);
    assert_eq!(ask(addresses[1], "x"), "");

    wharf.limit(Resource::Data, Some(wharf.status("VmData") << 10));
    let mut refused = 0;
    for (plugin, address) in ["polite", "big"].into_iter().zip(addresses) {
        // Some get what others before them gave back.
        let mut served = Vec::new();
        loop {
            let mut client = Client::connect(address);
            let name = client.name();
            client.send("x");
            if plugin == "polite" && !client.heard(1).is_empty() {
                served.push(client);
                continue;
            }
            client.sees_the_end();
            let log = wharf.logs(&["ERROR", "host fault", &format!("plugin={plugin}"), &name, "phase=instance"]);
            assert!(log.contains("Cannot allocate memory"), "{log}");
            refused += 1;
            break;
        }
        talks(&mut inside);
    }
    assert_eq!(refused, 2);
    // No thread for a session or to start a child with, either. Its stack is not all that it takes, and std would abort.
    for (plugin, address) in apart {
        Client::connect(address).sees_the_end();
        wharf.logs(&["ERROR", "host fault", &format!("plugin={plugin}"), "Cannot allocate memory"]);
        talks(&mut inside);
    }
    // No thread to load with has a stack.
    folder.plugin("late", &answers("L"));
    let late = wharf.event("refused", "late");
    assert!(late.reason.contains("the host failed to load it"), "{}", late.reason);

    wharf.limit(Resource::Data, None);
    assert_eq!(ask(wharf.address("late"), "x"), answer("L"), "it is tried again without a change");
    talks(&mut Client::connect(addresses[0]));
    assert_eq!(ask(addresses[1], "x"), "");
    talks(&mut inside);
    for (_, address) in apart {
        assert_eq!(ask(address, "x"), answer("A"));
    }
    assert_eq!(logged(&wharf, &["host fault"]), 4, "{:#?}", wharf.log());
    drop(inside);
    wharf.stop();
}

// Disk

/// Two plugins that are compiled and can't be kept: served all the same, which is said once.
#[track_caller]
fn serves_without_keeping(wharf: Wharf, error: &str) {
    for (plugin, text) in [("a", "A"), ("b", "B")] {
        assert_eq!(ask(wharf.address(plugin), "x"), answer(text));
    }
    wharf.logs(&["WARN", "can't be kept for the next run", error]);
    assert_eq!(logged(&wharf, &["can't be kept"]), 1, "{:#?}", wharf.log());
    wharf.stop();
}

#[test]
fn a_cache_that_can_not_be_written_is_done_without() {
    let folder = Folder::new();
    folder.plugin("a", &answers("A")).plugin("b", &answers("B"));
    let cache = folder.parent().join("cache");
    // Of 512 bytes each. SIGXFSZ comes with it, which would end the process.
    let launch = |first: &str| Launch::after(first, ["serve".as_ref(), folder.path()]).cache(&cache).start();
    serves_without_keeping(launch("ulimit -f 8"), "File too large");
    assert_eq!(fs::read_dir(&cache).expect("it was made").count(), 0, "nothing is left of it");

    let wharf = launch("true");
    for (plugin, text) in [("a", "A"), ("b", "B")] {
        assert_eq!(ask(wharf.address(plugin), "x"), answer(text));
    }
    assert_eq!(
        fs::read_dir(&cache).expect("it is there").count(),
        4,
        "code and facts of two are kept, now that there is room"
    );
    wharf.stop();

    if namespaces_are_allowed("a full disk under the cache") {
        let full = folder.parent().join("full");
        fs::create_dir(&full).expect("create a folder");
        let mount = format!("mount -t tmpfs -o size=8k,mode=0700 none '{}'", full.display());
        let serve = ["serve".as_ref(), folder.path()];
        serves_without_keeping(Launch::in_namespaces(&mount, serve).cache(&full).start(), "No space left");
    }
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

// Log and events

/// How many plugins print: one of them alone has too little of the log.
const CHATTY: usize = 6;

/// Plugins that print what they are told to, which is logged, and the addresses that they listen on.
fn chatty() -> (Folder, Vec<String>) {
    let folder = Folder::new();
    let urls = (0..CHATTY).map(|number| {
        let name = format!("chatty{number}");
        let url = format!("unix://{}", folder.parent().join(format!("{name}.sock")).display());
        folder.manifest(&name, &format!("listen = '{url}'")).plugin(&name, &rust("misbehave"));
        url
    });
    let urls = urls.collect();
    (folder, urls)
}

/// Has it print so many bytes.
#[track_caller]
fn prints(url: &str, length: usize) {
    assert_eq!(ask_url(url, format!("print {}\n", "x".repeat(length))), "printed");
}

/// Waits until it can be connected to: where it listens can't be read.
#[track_caller]
fn listens(url: &str) {
    until("it listens", || Client::try_dial(url).is_ok());
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let (folder, urls) = chatty();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut wharf = Launch::new(["serve".as_ref(), folder.path()]).stderr(writer).start();
    // More than a pipe holds, and than is kept for a reader.
    for url in &urls {
        listens(url);
        for _ in 0..150 {
            prints(url, 3000);
        }
    }
    let url = &urls[0];
    folder.plugin("late", &answers("L"));
    assert_eq!(ask(wharf.address("late"), "x"), answer("L"));

    let (mut heard, lost) = (String::new(), "the log lost lines");
    let mut piece = [0; 65_536];
    while !heard.contains(lost) {
        let read = reader.read(&mut piece).expect("read");
        assert!(read > 0, "its end came without a word of what was lost");
        heard += &String::from_utf8_lossy(&piece[..read]);
    }
    // Nobody reads any more, and soon nobody is there.
    prints(url, 10);
    drop(reader);
    prints(url, 10);
    folder.plugin("late", &answers("M"));
    wharf.event("loaded", "late");
    wharf.event("loaded", "late");
    wharf.signal(Signal::TERM);
    assert_eq!(wharf.ended(), 0);
}

#[test]
fn events_that_nobody_reads_stop_nobody() {
    let (folder, urls) = chatty();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut wharf = Launch::new(["serve".as_ref(), folder.path()]).stdout(writer).start();
    // Each SIGHUP has all of them refused again, and said: more than a pipe holds.
    let refused = 400;
    for number in 0..refused {
        folder.overwrite(&format!("{}{number}.wasm", "long-".repeat(40)), "no plugin");
    }
    listens(&urls[0]);
    for round in 0..3 {
        let name = format!("late{round}");
        let url = format!("unix://{}", folder.parent().join(&name).display());
        folder.manifest(&name, &format!("listen = '{url}'")).plugin(&name, &answers("L"));
        wharf.signal(Signal::HUP);
        listens(&url);
        assert_eq!(ask_url(&url, "x"), answer("L"));
    }
    drop(reader);
    wharf.signal(Signal::HUP);
    folder.remove("late0.wat");
    until("it is unloaded", || {
        Client::try_dial(&format!("unix://{}", folder.parent().join("late0").display())).is_err()
    });
    prints(&urls[0], 10);
    wharf.signal(Signal::TERM);
    assert_eq!(wharf.ended(), 0);
}

#[test]
fn descriptors_that_were_closed_at_start_are_nobody_elses() {
    let (folder, urls) = chatty();
    let mut wharf = Launch::after("exec 0<&- 1>&- 2>&-", ["serve".as_ref(), folder.path()]).start();
    listens(&urls[0]);
    prints(&urls[0], 10);
    for number in 0..3 {
        let link = fs::read_link(wharf.proc(&format!("fd/{number}"))).expect("it is open");
        assert_eq!(link, Path::new("/dev/null"), "{number}");
    }
    wharf.signal(Signal::TERM);
    assert_eq!(wharf.ended(), 0);
}

// A host that stood still

#[test]
fn what_came_while_it_was_stopped_is_served_and_in_time() {
    const IDLE: Duration = Duration::from_secs(1);
    let folder = Folder::new();
    folder.plugin("polite", &fixture(POLITE)).settings("polite", "[timeouts]\nidle = '1s'");
    let wharf = Wharf::serve(&folder);
    let address: SocketAddr = wharf.address("polite");
    // On a machine that is busy, the time of some may be over before the host is stopped: once more, then.
    let waiting = (0..20).find_map(|_| {
        let began = Instant::now();
        let mut waiting: Vec<Client> = (0..30).map(|_| Client::connect(address)).collect();
        waiting.iter_mut().for_each(talks);
        wharf.signal(Signal::STOP);
        until("it stands still", || fs::read_to_string(wharf.proc("stat")).is_ok_and(|stat| stat.contains(") T ")));
        if began.elapsed() < IDLE {
            return Some(waiting);
        }
        wharf.signal(Signal::CONT);
        None
    });
    let mut waiting = waiting.expect("a machine that lets a process run once in a second");
    let stopped = Instant::now();
    // All of them in time, and it learns of that when their time is long over.
    waiting.iter_mut().for_each(|client| _ = client.send("x"));
    let mut new: Vec<Client> = (0..30).map(|_| Client::connect(address)).collect();
    new.iter_mut().for_each(|client| _ = client.send("x"));
    until("their time is over", || stopped.elapsed() > 2 * IDLE);
    wharf.signal(Signal::CONT);
    for client in waiting.iter_mut().chain(&mut new) {
        client.hears("ok\n");
    }
    for client in waiting.into_iter().chain(new) {
        assert_eq!(client.rest(), "", "and who says nothing more is told to go");
    }
    wharf.stop();
}
