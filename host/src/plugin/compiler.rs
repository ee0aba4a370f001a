//! The compiler, in a process of its own: what a plugin may make it do, be it to run for ever, to take all memory or to
//! crash, ends that process and no other.
//!
//! The process is this same program, started again; `child` tells why. It inherits the niceness of the lane that it is
//! started from. Its stdin is a file in memory with the wasm, its stdout gets the code.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getrlimit, kill_process, set_parent_process_death_signal, setrlimit,
};

use super::Engines;
use super::engine::Profile;
use super::native::Native;
use crate::config::Size;

/// The subcommand that makes this program such a process. Not for people.
pub const COMMAND: &str = "compile";

/// The longest that a compiler may be there at all, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Memory that compiling may take, in bytes: so much, and so much more for each MiB of wasm, but not without end. The
/// usual guests take a fifth of it at most.
const MEMORY: u64 = 512 << 20;
const MEMORY_PER_MIB: u64 = 256 << 20;
const MOST_MEMORY: u64 = 3 << 30;

/// Exit status of a compiler that has said on stderr what is wrong with the plugin.
const INVALID: u8 = 3;

/// What compiling so many bytes may take: CPU time in seconds, and memory in bytes. What this process has been given by
/// setrlimit(2) is the most.
fn limits(wasm: usize, time: Duration) -> [(Resource, u64); 2] {
    let memory = MEMORY.saturating_add((wasm as u64 >> 20).saturating_mul(MEMORY_PER_MIB)).min(MOST_MEMORY);
    [(Resource::Cpu, time.as_secs()), (Resource::Data, memory)]
        .map(|(resource, most)| (resource, most.min(getrlimit(resource).current.unwrap_or(u64::MAX))))
}

/// Why there is no code.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is not valid, or asks for features that are off.
    Invalid(String),
    /// Compiling took longer than it may.
    Time(Duration),
    /// It took more memory than it may.
    Memory(u64),
    /// The compiler crashed, and what it said last.
    Crash(ExitStatus, String),
    /// The host's own: no process could be started.
    Host(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = "build it with smaller functions, or make several plugins of it";
        match self {
            Self::Invalid(reason) => write!(f, "it does not compile: {reason}"),
            Self::Time(limit) => {
                let limit = humantime::format_duration(*limit);
                write!(f, "compiling it takes more than the {limit} of CPU time that it may; {remedy}")
            }
            Self::Memory(limit) => {
                write!(f, "compiling it takes more than the {} of memory that it may; {remedy}", Size(*limit))
            }
            Self::Crash(status, said) => write!(f, "the compiler crashed over it ({status}): {said}; {remedy}"),
            Self::Host(error) => write!(f, "no compiler could be started: {error}"),
        }
    }
}

/// Compiles `wasm`, for so many whole seconds of CPU time at most, and waits for it: the code as [`Native::serialize`] gives it.
///
/// # Errors
/// Why there is none.
pub(super) fn compile(_: &Engines, profile: Profile, wasm: &[u8], time: Duration) -> Result<Vec<u8>, Failure> {
    let Output { status, stdout, stderr } = start(profile, wasm, time).map_err(Failure::Host)?;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr);
    if status.code() == Some(INVALID.into()) {
        return Err(Failure::Invalid(said.trim_end().to_owned()));
    }
    let [(_, seconds), (_, memory)] = limits(wasm.len(), time);
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Err(Failure::Time(Duration::from_secs(seconds)));
    }
    // What Rust's allocator says before it aborts.
    if said.contains("memory allocation of") {
        return Err(Failure::Memory(memory));
    }
    // Of a panic where it was, and why.
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    Err(Failure::Crash(status, said.join(" ")))
}

/// The same in this process, where nothing bounds it.
///
/// # Errors
/// It is not valid, or asks for features that are off.
pub(super) fn compile_here(engines: &Engines, profile: Profile, wasm: &[u8], _: Duration) -> Result<Vec<u8>, Failure> {
    code_of(engines, profile, wasm).map_err(|error| Failure::Invalid(format!("{error:#}")))
}

fn code_of(engines: &Engines, profile: Profile, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    Native::compile(engines.engine(profile), wasm)?.serialize()
}

fn start(profile: Profile, wasm: &[u8], time: Duration) -> io::Result<Output> {
    let mut file = File::from(memfd_create("wharf-wasm", MemfdFlags::CLOEXEC)?);
    file.write_all(wasm)?;
    file.rewind()?;
    Command::new("/proc/self/exe")
        .args([COMMAND, profile.name(), &time.as_secs().to_string()])
        // Memory is counted as it is taken, and not as the allocator lays it aside.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        // Who is out of memory has none for a backtrace, and would wait for itself.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::from(file))
        .output()
}

/// What the process does.
///
/// # Errors
/// It was not started by a loader, or the machine does not give what compiling takes.
pub fn run(profile: &str, seconds: u64) -> anyhow::Result<ExitCode> {
    let profile = Profile::named(profile).ok_or_else(|| anyhow::anyhow!("no profile is called {profile}"))?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut wasm = Vec::new();
    io::stdin().read_to_end(&mut wasm)?;
    // A dump of a compiler that was stopped is of use to nobody.
    for (resource, most) in limits(wasm.len(), Duration::from_secs(seconds)).into_iter().chain([(Resource::Core, 0)]) {
        let Rlimit { maximum, .. } = getrlimit(resource);
        setrlimit(resource, Rlimit { current: Some(most), maximum })?;
    }
    thread::Builder::new().name("patience".to_owned()).spawn(|| {
        thread::sleep(PATIENCE);
        kill_process(getpid(), Signal::XCPU)
    })?;
    let engines = Engines::new(1).map_err(anyhow::Error::from)?;
    match code_of(&engines, profile, &wasm) {
        Ok(code) => {
            io::stdout().write_all(&code)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{error:#}");
            Ok(ExitCode::from(INVALID))
        }
    }
}
