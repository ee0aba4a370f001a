//! Work on a plugin's bytes, in a process of its own: what a plugin may make it do, be it to run
//! for ever, to take all memory or to crash, ends that process and no other.
//!
//! The process is this same program, started again; `child` tells why. It inherits the niceness of
//! the lane that it is started from. Its stdin has the bytes, its stdout gets what comes of them.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{
    Resource, Rlimit, Signal, getpid, getrlimit, kill_process, set_parent_process_death_signal, setrlimit,
};

use crate::config::{Size, bounded};

/// The longest that such a process may be there at all, on however busy a machine.
const WORKER_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Memory that it may take, in bytes: so much, and so much more for each MiB of input, but not
/// without end. The usual guests take a fifth of it at most.
const MEMORY: u64 = 512 << 20;
const MEMORY_PER_MIB: u64 = 256 << 20;
const MOST_MEMORY: u64 = 3 << 30;

/// Exit status of a process that has said on stderr what is wrong with the plugin.
const INVALID: u8 = 3;

/// The most bytes of what it says that are read at all.
const MOST_HEARD: u64 = 64 << 10;

/// What may come of it, in bytes: so much, and so much more for each MiB of input, but not without
/// end. Native code is three to five times the wasm that it is made of.
const OUTPUT: u64 = 64 << 20;
const OUTPUT_PER_MIB: u64 = 32 << 20;
const MOST_OUTPUT: u64 = 1 << 30;

/// What is done with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerTask {
    /// Finding out what they are.
    Examine,
    Compile,
}

impl WorkerTask {
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

/// So much, and so much more for each MiB of `input` bytes, up to `most`.
fn in_proportion(input: usize, base: u64, per_mib: u64, most: u64) -> u64 {
    base.saturating_add((input as u64 >> 20).saturating_mul(per_mib)).min(most)
}

/// What working on so many bytes may take: CPU time in seconds, and memory in bytes. What this
/// process has been given by setrlimit(2) is the most.
fn limits(input: usize, time: Duration) -> [(Resource, u64); 2] {
    let memory = in_proportion(input, MEMORY, MEMORY_PER_MIB, MOST_MEMORY);
    [(Resource::Cpu, time.as_secs()), (Resource::Data, memory)]
        .map(|(resource, most)| (resource, most.min(getrlimit(resource).current.unwrap_or(u64::MAX))))
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum WorkerFailure {
    /// The plugin is wrong, and why.
    Invalid(String),
    /// It took longer than it may.
    Time(WorkerTask, Duration),
    /// It took more memory than it may.
    Memory(WorkerTask, u64),
    /// More came of it than is taken.
    Output(WorkerTask, u64),
    /// The process crashed, and what it said last.
    Crash(WorkerTask, ExitStatus, String),
    /// The host's own: no process could be started.
    Host(io::Error),
}

impl fmt::Display for WorkerFailure {
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
            Self::Output(work, limit) => {
                let (name, limit) = (work.name(), Size(*limit));
                write!(f, "{name} it gives more than the {limit} that are taken; {}", work.remedy())
            }
            Self::Crash(work, status, said) => {
                write!(f, "the process that was {} it crashed ({status}): {said}; {}", work.name(), work.remedy())
            }
            Self::Host(error) => write!(f, "no process could be started for it: {error}"),
        }
    }
}

/// Has `work` done on `input` by a process that is started with `arguments`, for so many whole
/// seconds of CPU time at most, and waits for what comes of it. The seconds are its last argument.
///
/// # Errors
/// Why nothing came of it.
pub(super) fn run(
    work: WorkerTask,
    arguments: &[&str],
    input: &[u8],
    time: Duration,
) -> Result<Vec<u8>, WorkerFailure> {
    let most = in_proportion(input.len(), OUTPUT, OUTPUT_PER_MIB, MOST_OUTPUT);
    let Output { status, stdout, stderr } =
        answer_of(&mut program(arguments, time), input, most).map_err(WorkerFailure::Host)?;
    if stdout.len() as u64 > most {
        return Err(WorkerFailure::Output(work, most));
    }
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr);
    if status.code() == Some(INVALID.into()) {
        return Err(WorkerFailure::Invalid(bounded(said.trim_end()).into_owned()));
    }
    let [(_, seconds), (_, memory)] = limits(input.len(), time);
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Err(WorkerFailure::Time(work, Duration::from_secs(seconds)));
    }
    // What Rust's allocator says before it aborts.
    if said.contains("memory allocation of") {
        return Err(WorkerFailure::Memory(work, memory));
    }
    // Of a panic where it was, and why.
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    Err(WorkerFailure::Crash(work, status, bounded(&said.join(" ")).into_owned()))
}

fn program(arguments: &[&str], time: Duration) -> Command {
    let mut program = Command::new("/proc/self/exe");
    program
        .args(arguments)
        .arg(time.as_secs().to_string())
        // Memory is counted as it is taken, and not as the allocator lays it aside.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        // A process that is out of memory has none for a backtrace, and would wait for itself.
        .env("RUST_BACKTRACE", "0");
    program
}

/// What a program answers that is given `input`. Of more than `most` bytes only the first are
/// taken, and one more, and the program is ended; of what it says on stderr, the first are taken.
fn answer_of(program: &mut Command, input: &[u8], most: u64) -> io::Result<Output> {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let answered = thread::scope(|scope| {
        let said = thread::Builder::new().name("heard".to_owned()).spawn_scoped(scope, || heard(stderr))?;
        // By a pipe, and not by a file in memory: RLIMIT_FSIZE, which some hosts have, counts for
        // that as well. The process takes all of it before it answers, so that neither waits for
        // the other. What it does not take, it has ended over.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input);
        }
        let mut answer = Vec::new();
        let taken = stdout.map_or(Ok(0), |stdout| stdout.take(most + 1).read_to_end(&mut answer));
        if taken.is_err() || answer.len() as u64 > most {
            let _ = child.kill();
        }
        let said = said.join().unwrap_or_default();
        taken.map(|_| (answer, said))
    });
    if answered.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    answered.map(|(stdout, stderr)| Output { status, stdout, stderr })
}

/// The beginning of what comes. The rest of it is let go by, so that nobody waits for it to be
/// read.
fn heard(stderr: Option<impl Read>) -> Vec<u8> {
    let mut beginning = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = stderr.by_ref().take(MOST_HEARD).read_to_end(&mut beginning);
        let _ = io::copy(&mut stderr, &mut io::sink());
    }
    beginning
}

/// What such a process does first: it takes its input, and the limits that go with so much.
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
        thread::sleep(WORKER_TIMEOUT);
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

    fn answers(script: &str, most: u64) -> Output {
        answer_of(Command::new("sh").args(["-c", script]), b"input", most).unwrap()
    }

    #[test]
    fn what_comes_of_a_process_has_an_end() {
        let Output { status, stdout, stderr } = answers("cat; echo said >&2; exit 3", 5);
        assert_eq!((status.code(), &stdout[..], &stderr[..]), (Some(3), &b"input"[..], &b"said\n"[..]));
        // It does not end by itself.
        let Output { status, stdout, .. } = answers("cat > /dev/null; exec yes", 1000);
        // By us, or by the pipe that nobody reads any more: whichever it meets first.
        let by = status.signal();
        assert!([Signal::KILL, Signal::PIPE].iter().any(|signal| by == Some(signal.as_raw())), "{status}");
        assert_eq!(stdout.len(), 1001);
        let Output { stdout, stderr, .. } = answers("head -c 1000000 /dev/zero >&2; cat", 5);
        assert_eq!((&stdout[..], stderr.len() as u64), (&b"input"[..], MOST_HEARD));
    }
}
