//! A server under test: a process on the server's core, and where it listens.

mod peers;
mod wharf;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::Bench;

pub use wharf::{CodeCache, Wharf};

/// For each server to say where it listens. Python plugins compile for seconds.
const START: Duration = Duration::from_secs(60);

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Kind {
    /// The same in tokio, without wasm: the limit
    Native,
    /// A fresh sandbox for each connection
    Wharf,
    /// Warm sandboxes, one connection at a time
    WharfReused,
    /// Python's ThreadingTCPServer, or ThreadingUDPServer
    Python,
    /// workerd's connect() handler, a loop in JavaScript
    Workerd,
    /// Go's net
    Go,
    /// A process for each connection: ucspi-tcp's tcpserver and cat
    Tcpserver,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native tokio",
            Self::Wharf => "wharf",
            Self::WharfReused => "wharf, reused",
            Self::Python => "Python",
            Self::Workerd => "workerd",
            Self::Go => "Go",
            Self::Tcpserver => "tcpserver",
        }
    }

    /// Starts one that echoes on all that it can listen on.
    pub fn start(self, bench: &Bench) -> Result<Server> {
        let started = match self {
            Self::Native => announcing(bench, Command::new(&bench.native)),
            Self::Wharf => Wharf::echo(bench, ""),
            Self::WharfReused => Wharf::echo(bench, "instance = \"reused\"\n"),
            Self::Python => peers::python(bench),
            Self::Workerd => peers::workerd(bench),
            Self::Go => peers::go(bench),
            Self::Tcpserver => peers::tcpserver(bench),
        };
        started.with_context(|| self.name())
    }
}

/// A process that is killed when it is dropped.
pub struct Process(Child);

impl Process {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whether it still ran or not, it does not now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server, and where it listens.
pub struct Server {
    pub process: Process,
    pub tcp: Option<SocketAddr>,
    pub unix: Option<PathBuf>,
    pub udp: Option<SocketAddr>,
    /// Its files, which go when it goes.
    _folder: tempfile::TempDir,
}

impl Server {
    fn new(process: Process, folder: tempfile::TempDir) -> Self {
        Self { process, tcp: None, unix: None, udp: None, _folder: folder }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Remembers an address that the server said it listens on.
    fn listens(&mut self, url: &str) -> Result<()> {
        match url.split_once("://").with_context(|| format!("{url} is no URL"))? {
            ("tcp", address) => self.tcp = Some(address.parse()?),
            ("udp", address) => self.udp = Some(address.parse()?),
            (_, path) => self.unix = Some(Path::new(path).to_owned()),
        }
        Ok(())
    }
}

/// Starts one that takes a path for its Unix socket, and prints `listening URL` for each of its
/// three.
fn announcing(bench: &Bench, mut command: Command) -> Result<Server> {
    let folder = tempfile::tempdir()?;
    let (process, lines) = spawn(bench, command.arg(folder.path().join("echo.sock")))?;
    let mut server = Server::new(process, folder);
    let deadline = Instant::now() + START;
    for _ in 0..3 {
        let line = lines.next(deadline)?;
        server.listens(line.strip_prefix("listening ").with_context(|| line.clone())?)?;
    }
    Ok(server)
}

/// Lines that a child prints, read by a thread so that waiting for one can end.
pub struct Lines(Receiver<String>);

impl Lines {
    fn of(stdout: ChildStdout) -> Self {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    pub fn next(&self, deadline: Instant) -> Result<String> {
        self.0.recv_timeout(deadline.saturating_duration_since(Instant::now())).context("no word from the server")
    }
}

/// Starts `command` on the server's core; its log goes nowhere, so that no terminal is measured.
fn spawn(bench: &Bench, command: &mut Command) -> Result<(Process, Lines)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    if !bench.verbose {
        command.stderr(Stdio::null());
    }
    let mut child = bench
        .cores
        .start_server(|| command.spawn().with_context(|| format!("can't start {}", command.get_program().display())))?;
    let stdout = child.stdout.take().context("no stdout")?;
    Ok((Process(child), Lines::of(stdout)))
}

/// A port that is free now: some peers can't be asked for the one that the kernel chose.
fn free_port() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until somebody listens there.
fn until_listening(address: SocketAddr, process: &mut Process) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        match std::net::TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => bail!("nobody listens on {address}: {error}"),
            Err(_) => {}
        }
        if let Some(status) = process.ended()? {
            bail!("it ended: {status}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
