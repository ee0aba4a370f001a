//! The binary as a child of the test: started, watched, signalled, killed at the latest when the
//! test ends.

use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{dup2, fcntl_dupfd_cloexec};
use rustix::process::{Pid, PidfdFlags, Resource, Signal, kill_process, pidfd_open, setrlimit};

use super::client::limit_for_children;
use super::lines::Lines;
use super::{DEADLINE, Folder, clock};

/// A command line to be.
pub struct Launch {
    command: Command,
    cached: bool,
}

impl Launch {
    /// `wharf ARGUMENT…`
    pub fn new<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::by(Command::new(env!("CARGO_BIN_EXE_wharf"))).args(args)
    }

    /// `wharf ARGUMENT…` with room for so many descriptors.
    pub fn with_descriptors<A: AsRef<std::ffi::OsStr>>(limit: u32, args: impl IntoIterator<Item = A>) -> Self {
        Self::after(&format!("ulimit -n {limit}"), args)
    }

    /// `wharf ARGUMENT…` from a shell that has done something before: set a limit, or a mask.
    pub fn after<A: AsRef<std::ffi::OsStr>>(first: &str, args: impl IntoIterator<Item = A>) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_wharf")]);
        Self::by(shell).args(args)
    }

    /// `wharf ARGUMENT…` as root of a user namespace and a mount namespace of its own, from a shell
    /// that has done something before.
    pub fn in_namespaces<A: AsRef<std::ffi::OsStr>>(first: &str, args: impl IntoIterator<Item = A>) -> Self {
        let mut shell = Command::new("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        shell.args([&format!("{first} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_wharf")]);
        Self::by(shell).args(args)
    }

    /// `PROGRAM ARGUMENT…`, where PROGRAM is the binary at a path of the test's.
    pub fn program<A: AsRef<std::ffi::OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Self {
        Self::by(Command::new(program)).args(args)
    }

    /// `wharf ARGUMENT…` with these descriptors from 3 on, as systemd starts it.
    pub fn activated<A: AsRef<std::ffi::OsStr>>(sockets: Vec<OwnedFd>, args: impl IntoIterator<Item = A>) -> Self {
        let launch = Self::after("export LISTEN_PID=$$", args).env("LISTEN_FDS", sockets.len().to_string());
        launch.descriptors(sockets)
    }

    fn descriptors(mut self, descriptors: Vec<OwnedFd>) -> Self {
        let place = move || {
            // First out of the way of each other.
            let copies: Vec<OwnedFd> =
                descriptors.iter().map(|fd| fcntl_dupfd_cloexec(fd, 100)).collect::<Result<_, _>>()?;
            for (copy, number) in copies.iter().zip(3..) {
                #[expect(unsafe_code, reason = "dup2(2) has no safe form")]
                // SAFETY: the child is about to become another program; what it has under this
                // number goes with it.
                let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
                dup2(copy, &mut place)?;
            }
            Ok(())
        };
        #[expect(unsafe_code, reason = "descriptors are handed to a child in no other way")]
        // SAFETY: nothing in it takes a lock but the allocator, which glibc makes usable in the
        // child of a fork.
        unsafe {
            self.command.pre_exec(place);
        }
        self
    }

    fn by(mut command: Command) -> Self {
        clock::start();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in ["WHARF_LOG", "RUST_LOG", "XDG_CACHE_HOME", "NOTIFY_SOCKET"] {
            command.env_remove(variable);
        }
        Self { command, cached: true }
    }

    pub fn args<A: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Without the compiled code that the tests share.
    pub fn cache(self, dir: &Path) -> Self {
        let mut launch = self.args([Path::new("--cache-dir"), dir]);
        launch.cached = false;
        launch
    }

    /// Leaves the choice of a cache to the binary.
    pub fn own_cache(mut self) -> Self {
        self.cached = false;
        self
    }

    /// Reads from there, where it has nothing to read otherwise.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Has stdout somewhere else, where its lines are not collected.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// The same of stderr.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    pub fn start(mut self) -> Wharf {
        if self.cached {
            self.command.arg("--cache-dir").arg(shared_cache());
        }
        let held = limit_for_children();
        if let Some(limit) = *held {
            #[expect(unsafe_code, reason = "a child is given limits of its own before it begins in no other way")]
            // SAFETY: setrlimit(2) alone.
            unsafe {
                self.command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?));
            }
        }
        let begun = Instant::now();
        let mut child = loop {
            match self.command.spawn() {
                // A child that another test has just forked still has the copy of a binary open
                // that this test wrote.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && begun.elapsed() < DEADLINE => {
                    std::thread::yield_now();
                }
                child => break child.expect("the binary starts"),
            }
        };
        let events = child.stdout.take().map_or_else(Lines::none, Lines::collect);
        let log = child.stderr.take().map_or_else(Lines::none, Lines::collect);
        Wharf { child, events, log }
    }
}

/// Compiled code that all tests of a build share, as the servers of one user do.
fn shared_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// A running `wharf`. What it printed is shown if the test fails.
pub struct Wharf {
    child: Child,
    events: Lines,
    log: Lines,
}

/// A line of stdout.
#[derive(Debug)]
pub struct Event {
    pub url: String,
    pub generation: String,
    pub reason: String,
}

impl Wharf {
    /// `wharf serve FOLDER`
    pub fn serve(folder: &Folder) -> Self {
        Launch::new(["serve".as_ref(), folder.path()]).start()
    }

    /// Waits for the next event of this kind about this plugin; others stay to be waited for.
    #[track_caller]
    pub fn event(&self, word: &str, plugin: &str) -> Event {
        let line = self.line(&format!("{word} … {plugin}"), |line| {
            let (head, _) = line.split_once(": ").unwrap_or((line, ""));
            let words: Vec<&str> = head.split(' ').collect();
            let about = match word {
                "listening" | "closed" | "failed" => words.get(2),
                _ => words.get(1),
            };
            words[0] == word && about.copied().unwrap_or("") == plugin
        });
        let (head, reason) = line.split_once(": ").unwrap_or((&line, ""));
        let words: Vec<&str> = head.split(' ').collect();
        let url = words.iter().find(|word| word.contains("://")).copied().unwrap_or("");
        let generation = if matches!(word, "loaded" | "kept") { words.get(2).copied().unwrap_or("") } else { "" };
        Event { url: url.to_owned(), generation: generation.to_owned(), reason: reason.to_owned() }
    }

    /// Waits until another process has taken its place, or its successor's. stdout and the log are
    /// that one's, too.
    #[track_caller]
    pub fn upgraded(&self) -> Successor {
        let line = self.line("upgraded PID", |line| line.starts_with("upgraded "));
        let pid = line.strip_prefix("upgraded ").and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        Successor { pid: pid.expect("a process's number") }
    }

    /// Waits until nobody holds its stdout and stderr any more: it and all its successors have
    /// ended.
    #[track_caller]
    pub fn all_ended(&self) {
        assert!(self.events.wait_for_end() && self.log.wait_for_end(), "nobody else holds its stdout and stderr");
    }

    /// Waits for exactly this line on stdout.
    #[track_caller]
    pub fn says(&self, line: &str) {
        self.line(line, |said| said == line);
    }

    #[track_caller]
    fn line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.events.take(wanted).unwrap_or_else(|| panic!("waited for `{what}` on stdout in vain"))
    }

    /// Where the plugin listens, whatever the family; waits until it does.
    #[track_caller]
    pub fn url(&self, plugin: &str) -> String {
        self.event("listening", plugin).url
    }

    /// Where the plugin listens; waits until it does.
    #[track_caller]
    pub fn address(&self, plugin: &str) -> SocketAddr {
        let event = self.event("listening", plugin);
        let addr: SocketAddr =
            event.url.strip_prefix("tcp://").and_then(|addr| addr.parse().ok()).expect("a tcp:// address");
        assert_ne!(addr.port(), 0, "the real port is printed");
        addr
    }

    /// Lets nobody wait for an event that has come already.
    pub fn forget_events(&self) {
        self.events.take_all();
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<String> {
        self.events.all()
    }

    /// Waits for the next line of the log with all of these in it.
    #[track_caller]
    pub fn logs(&self, parts: &[&str]) -> String {
        self.log
            .take(|line| parts.iter().all(|part| line.contains(part)))
            .unwrap_or_else(|| panic!("waited for a log line with {parts:?} in vain"))
    }

    /// The whole log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child is there");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until it has ended by itself, and all that it started.
    #[track_caller]
    pub fn ended(&mut self) -> i32 {
        self.ended_within(DEADLINE)
    }

    /// The same, of what may take longer than most: a compiler with a large plugin, on a machine
    /// that has other work.
    #[track_caller]
    pub fn ended_within(&mut self, limit: Duration) -> i32 {
        let status = self.exited_within(limit);
        self.all_ended();
        status
    }

    /// Waits until it has ended by itself. What it started may go on.
    #[track_caller]
    pub fn exited(&mut self) -> i32 {
        self.exited_within(DEADLINE)
    }

    #[track_caller]
    fn exited_within(&mut self, limit: Duration) -> i32 {
        let watch = pidfd_open(self.pid(), PidfdFlags::empty()).expect("the child is ours");
        let deadline = limit.try_into().expect("a deadline fits a timespec");
        let ended = poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&deadline)).expect("poll");
        assert!(ended > 0, "waited for its end in vain");
        let status = self.child.wait().expect("the child is ours");
        status.code().unwrap_or_else(|| panic!("killed: {status}"))
    }

    /// Stops it and waits: every event it printed, in order. It must end well.
    #[track_caller]
    pub fn stop(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        assert_eq!(self.ended(), 0, "exit status");
        self.events()
    }
}

impl Drop for Wharf {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.events.wait_for_end();
            self.log.wait_for_end();
            eprintln!("--- its stdout\n{}", self.events().join("\n"));
            eprintln!("--- its stderr\n{}\n---", self.log().join("\n"));
        }
    }
}

/// The host that took another's place. Killed at the latest when the test ends.
pub struct Successor {
    pid: Pid,
}

impl Successor {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("it runs");
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = kill_process(self.pid, Signal::KILL);
    }
}
