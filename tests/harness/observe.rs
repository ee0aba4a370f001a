//! What the kernel tells of a running host: its threads, its children, its descriptors, its memory.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, Wharf};

/// Waits until `condition` holds, of things that the kernel has no event for.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        // Not for the time to pass, but to leave the core to what is waited for.
        thread::sleep(Duration::from_millis(2));
    }
}

impl Wharf {
    /// How many of its threads have this name.
    pub fn threads_named(&self, name: &str) -> usize {
        self.stats_of_threads_named(name).len()
    }

    /// How long all of them have run, in hundredths of a second.
    pub fn ticks_of_threads_named(&self, name: &str) -> u64 {
        self.stats_of_threads_named(name).iter().map(|stat| ticks_in(stat)).sum()
    }

    fn stats_of_threads_named(&self, name: &str) -> Vec<String> {
        // The kernel keeps 15 bytes of it.
        let name = format!(" ({}) ", &name[..name.len().min(15)]);
        let threads = self.numbers_in("task").into_iter();
        // One that is gone by now is none.
        let stats = threads.filter_map(|thread| fs::read_to_string(self.proc(&format!("task/{thread}/stat"))).ok());
        stats.filter(|stat| stat.contains(&name)).collect()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        self.numbers_in("fd").len()
    }

    /// Its children, those included that have ended and that it has not waited for.
    pub fn children(&self) -> Vec<Pid> {
        let parent = self.pid().as_raw_nonzero().to_string();
        let is_child = |pid: &i32| stat_of(*pid).is_some_and(|stat| field(&stat, 4) == Some(&parent));
        numbers_in("/proc").into_iter().filter(is_child).filter_map(Pid::from_raw).collect()
    }

    /// A number of its `/proc/PID/status`: kB for what is memory.
    #[track_caller]
    pub fn status(&self, key: &str) -> u64 {
        status(self.pid(), key)
    }

    /// Whether it catches this signal by now.
    pub fn catches(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(self.proc("status")).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("the kernel tells");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("a set of signals in hexadecimal");
        caught & 1 << (signal.as_raw() - 1) != 0
    }

    fn numbers_in(&self, folder: &str) -> Vec<i32> {
        numbers_in(&self.proc(folder))
    }

    pub fn proc(&self, inside: &str) -> String {
        format!("/proc/{}/{inside}", self.pid().as_raw_nonzero())
    }
}

/// A child of the host's, which the host learns of from the kernel alone.
pub fn kill(child: Pid, signal: Signal) {
    kill_process(child, signal).expect("the child is there");
}

/// Which numbers a process's descriptors have.
pub fn descriptor_numbers(process: Pid) -> BTreeSet<u64> {
    let numbers = numbers_in(&format!("/proc/{}/fd", process.as_raw_nonzero())).into_iter();
    numbers.filter_map(|number| u64::try_from(number).ok()).collect()
}

/// A number of `/proc/PID/status`: kB for what is memory.
#[track_caller]
pub fn status(process: Pid, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).expect("it runs");
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("the kernel tells");
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// How long a process has run, in hundredths of a second.
pub fn ticks(process: Pid) -> u64 {
    stat_of(process.as_raw_nonzero().get()).map_or(0, |stat| ticks_in(&stat))
}

/// The sockets that a process has open, by the kernel's numbers for them.
pub fn sockets(process: Pid) -> BTreeSet<String> {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).expect("it runs").flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok());
    links.filter(|link| link.starts_with("socket:")).collect()
}

fn stat_of(process: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/stat")).ok()
}

/// A field of a stat file, from the third on, as proc(5) counts them. The second is the name in
/// parentheses, which may have anything in it.
fn field(stat: &str, number: usize) -> Option<&str> {
    stat.rsplit_once(") ")?.1.split(' ').nth(number - 3)
}

fn ticks_in(stat: &str) -> u64 {
    [14, 15].into_iter().filter_map(|number| field(stat, number)?.parse::<u64>().ok()).sum()
}

/// The entries of a folder of the kernel's that are numbers.
fn numbers_in(folder: &str) -> Vec<i32> {
    let entries = fs::read_dir(folder).expect("the kernel has it").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
