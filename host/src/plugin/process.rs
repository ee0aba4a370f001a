//! Work on a plugin's bytes, in a process of its own: what a plugin may make it do, be it to run for ever, to take all memory or to
//! crash, ends that process and no other.
//!
//! The process is this same program, started again; `child` tells why. It inherits the niceness of the lane that it is started
//! from. Its stdin has the bytes, its stdout gets what comes of them.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{
    Resource, Rlimit, Signal, getpid, getrlimit, kill_process, set_parent_process_death_signal, setrlimit,
};

use crate::config::Size;

/// The longest that such a process may be there at all, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Memory that it may take, in bytes: so much, and so much more for each MiB of input, but not without end. The usual guests take a
/// fifth of it at most.
const MEMORY: u64 = 512 << 20;
const MEMORY_PER_MIB: u64 = 256 << 20;
const MOST_MEMORY: u64 = 3 << 30;

/// Exit status of a process that has said on stderr what is wrong with the plugin.
const INVALID: u8 = 3;

/// The most characters of what it says that are passed on. A plugin can have it say names of any length.
const MOST_SAID: usize = 2000;

/// What is done with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Finding out what they are.
    Examine,
    Compile,
}

impl Work {
    /// As it is called where it fails.
    fn name(self) -> &'static str {
        match self {
            Self::Examine => "examining",
            Self::Compile => "compiling",
        }
    }

    /// What an author can do where it fails.
    fn remedy(self) -> &'static str {
        match self {
            Self::Examine => "build it with fewer and simpler imports, exports and types",
            Self::Compile => "build it with smaller functions, or make several plugins of it",
        }
    }
}

/// What working on so many bytes may take: CPU time in seconds, and memory in bytes. What this process has been given by
/// setrlimit(2) is the most.
fn limits(input: usize, time: Duration) -> [(Resource, u64); 2] {
    let memory = MEMORY.saturating_add((input as u64 >> 20).saturating_mul(MEMORY_PER_MIB)).min(MOST_MEMORY);
    [(Resource::Cpu, time.as_secs()), (Resource::Data, memory)]
        .map(|(resource, most)| (resource, most.min(getrlimit(resource).current.unwrap_or(u64::MAX))))
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The plugin is wrong, and why.
    Invalid(String),
    /// It took longer than it may.
    Time(Work, Duration),
    /// It took more memory than it may.
    Memory(Work, u64),
    /// The process crashed, and what it said last.
    Crash(Work, ExitStatus, String),
    /// The host's own: no process could be started.
    Host(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) => f.write_str(reason),
            Self::Time(work, limit) => {
                let (name, limit) = (work.name(), humantime::format_duration(*limit));
                write!(f, "{name} it takes more than the {limit} of CPU time that it may; {}", work.remedy())
            }
            Self::Memory(work, limit) => {
                let (name, limit) = (work.name(), Size(*limit));
                write!(f, "{name} it takes more than the {limit} of memory that it may; {}", work.remedy())
            }
            Self::Crash(work, status, said) => {
                write!(f, "the process that was {} it crashed ({status}): {said}; {}", work.name(), work.remedy())
            }
            Self::Host(error) => write!(f, "no process could be started for it: {error}"),
        }
    }
}

/// Has `work` done on `input` by a process that is started with `arguments`, for so many whole seconds of CPU time at most, and waits
/// for what comes of it. The seconds are its last argument.
///
/// # Errors
/// Why nothing came of it.
pub(super) fn run(work: Work, arguments: &[&str], input: &[u8], time: Duration) -> Result<Vec<u8>, Failure> {
    let Output { status, stdout, stderr } = start(arguments, input, time).map_err(Failure::Host)?;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr);
    if status.code() == Some(INVALID.into()) {
        return Err(Failure::Invalid(bounded(said.trim_end())));
    }
    let [(_, seconds), (_, memory)] = limits(input.len(), time);
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Err(Failure::Time(work, Duration::from_secs(seconds)));
    }
    // What Rust's allocator says before it aborts.
    if said.contains("memory allocation of") {
        return Err(Failure::Memory(work, memory));
    }
    // Of a panic where it was, and why.
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    Err(Failure::Crash(work, status, bounded(&said.join(" "))))
}

/// The beginning of a text that may be of any length.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(MOST_SAID) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

fn start(arguments: &[&str], input: &[u8], time: Duration) -> io::Result<Output> {
    let mut child = Command::new("/proc/self/exe")
        .args(arguments)
        .arg(time.as_secs().to_string())
        // Memory is counted as it is taken, and not as the allocator lays it aside.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        // Who is out of memory has none for a backtrace, and would wait for itself.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // By a pipe, and not by a file in memory: RLIMIT_FSIZE, which some hosts have, counts for that as well. The process takes all of
    // it before it says anything, so that neither waits for the other. What it does not take, it has ended over.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input);
    }
    child.wait_with_output()
}

/// What such a process does first: it takes its input, and the limits that go with so much. Its input is taken under the largest.
///
/// # Errors
/// It was not started by a loader, or the machine does not give what the work takes.
pub(super) fn begin(seconds: u64) -> anyhow::Result<Vec<u8>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    // A dump of a process that was stopped is of use to nobody.
    for (resource, most) in limits(input.len(), Duration::from_secs(seconds)).into_iter().chain([(Resource::Core, 0)]) {
        let Rlimit { maximum, .. } = getrlimit(resource);
        setrlimit(resource, Rlimit { current: Some(most), maximum })?;
    }
    thread::Builder::new().name("patience".to_owned()).spawn(|| {
        thread::sleep(PATIENCE);
        kill_process(getpid(), Signal::XCPU)
    })?;
    Ok(input)
}

/// What it does last: it passes on what came of its input, or what is wrong with that.
///
/// # Errors
/// Nobody reads it any more.
pub(super) fn end(outcome: Result<Vec<u8>, String>) -> anyhow::Result<ExitCode> {
    match outcome {
        Ok(output) => {
            io::stdout().write_all(&output)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            eprintln!("{}", bounded(&reason));
            Ok(ExitCode::from(INVALID))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_of_a_text_has_an_end() {
        assert_eq!(bounded("short"), "short");
        let long = bounded(&"ü".repeat(1 << 20));
        assert!(long.starts_with("üü") && long.ends_with("ü… (2097152 bytes in all)"), "{long}");
        assert!(long.chars().count() < MOST_SAID + 50);
    }
}
