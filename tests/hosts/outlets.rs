//! stdout and stderr: whatever becomes of their readers stops nobody.

use std::fs;
use std::io::Read;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;

use crate::harness::guests::rust;
use crate::harness::observe::until;
use crate::harness::{Client, DEADLINE, Folder, Launch, answer, answers, ask, ask_url};

/// How many plugins print: one of them alone has too little of the log.
const CHATTY: usize = 6;

/// Plugins that print what they are told to, which is logged, and the addresses that they listen
/// on.
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
    let deadline = DEADLINE.try_into().expect("a deadline fits a timespec");
    while !heard.contains(lost) {
        let some = poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&deadline)).expect("poll");
        assert!(some > 0, "waited in vain for a word of what was lost");
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
