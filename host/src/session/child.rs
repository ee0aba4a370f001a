//! A session in a process of its own: what the host does for it, and what the process does.
//!
//! The child is this same program, started again: a fork of a process with threads could do nothing
//! but start a program anyway. As inetd's, it has the socket as its stdin. Its stdout is a socket
//! with descriptors in it: a file in memory that holds all else it needs, and the granted folders.
//! So starting it takes no more than what posix_spawn(3) does without copying the host's mappings.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::iter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use super::run::{self, SessionContext};
use super::shared::SPARE_INSTANCES;
use crate::capacity::{outlive_file_size_limit, room_for_a_thread};
use crate::config::{GrantedFolder, Settings, SocketAddress};
use crate::listen::{Incoming, activation};
use crate::plugin::{self, DrainDeadline};
use crate::report::{FaultKind, LogCategory, LogStyle, Phase, PluginStats, Report, log, systemd};
use crate::sandbox::{Blueprint, Engines, FileWork, NativeCode};
use crate::upgrade;

/// The subcommand that makes this program such a child. Not for people.
pub const COMMAND: &str = "session";

/// How long a child may take to end once it was told to.
const CHILD_SHUTDOWN: Duration = Duration::from_secs(2);

/// What a child is told, beside its socket.
#[derive(Serialize, Deserialize)]
struct Job {
    plugin: String,
    generation: String,
    settings: Settings,
    blueprint: Blueprint,
    client: SocketAddress,
    server: SocketAddress,
    /// None where the socket is a connection.
    packet: Option<Vec<u8>>,
    log: u8,
}

/// Serves one request in a child, and waits for its end, which `kill` brings about at once.
pub async fn serve(arrival: Incoming, context: Arc<SessionContext>, kill: CancellationToken) {
    let (client, _) = arrival.ends();
    let client = client.clone();
    let SessionContext { plugin, stats, generation, .. } = &*context;
    stats.begun();
    let started = match room_for_a_thread() {
        Ok(()) => {
            let context = context.clone();
            let started = tokio::task::spawn_blocking(move || start(&arrival, &context));
            started.await.map_err(io::Error::other).flatten()
        }
        Err(error) => Err(error),
    };
    let phase = Phase::Process;
    let (mut child, file) = match started {
        Ok(started) => started,
        Err(error) => {
            stats.failed(phase, FaultKind::Host);
            if stats.may_log(LogCategory::Failures, 0) {
                let (generation, cause) = (&generation.id, error.to_string());
                tracing::error!(%plugin, %generation, %client, %phase, cause, "host fault");
            }
            return;
        }
    };
    let ended = tokio::select! {
        ended = lifetime(&mut child, &generation.deadline) => ended,
        () = kill.cancelled() => {
            let _ = child.kill().await;
            return;
        }
    };
    let (kind, cause) = match ended {
        Ok(status) if status.success() => {
            // It has said itself what became of the session; what is left is to count it.
            match read_report(file) {
                Ok(report) => stats.add(&report),
                Err(error) => {
                    stats.failed(phase, FaultKind::Host);
                    if stats.may_log(LogCategory::Failures, 0) {
                        let (generation, cause) = (&generation.id, format!("no report: {error}"));
                        tracing::error!(%plugin, %generation, %client, %phase, cause, "host fault");
                    }
                }
            }
            return;
        }
        Ok(status) => cause(status),
        Err(error) => (FaultKind::Host, error.to_string()),
    };
    stats.failed(phase, kind);
    if stats.may_log(LogCategory::Failures, cause.len()) {
        tracing::warn!(%plugin, generation = %generation.id, %client, %phase, cause, "session failed");
    }
}

/// What the child wrote in the place of its job.
fn read_report(mut file: File) -> anyhow::Result<Report> {
    let mut report = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut report)?;
    Ok(postcard::from_bytes(&report)?)
}

/// Waits for the child's end, and tells it of the drain deadline: once that it is near, and once
/// that it is now.
async fn lifetime(child: &mut Child, deadline: &DrainDeadline) -> io::Result<ExitStatus> {
    tokio::select! {
        ended = child.wait() => return ended,
        () = deadline.announced() => tell(child, Signal::ALARM)?,
    }
    tokio::select! {
        ended = child.wait() => return ended,
        () = deadline.reached() => tell(child, Signal::TERM)?,
    }
    if let Ok(ended) = tokio::time::timeout(CHILD_SHUTDOWN, child.wait()).await {
        return ended;
    }
    child.kill().await?;
    child.wait().await
}

fn tell(child: &Child, signal: Signal) -> io::Result<()> {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        kill_process(pid, signal)?;
    }
    Ok(())
}

fn cause(status: ExitStatus) -> (FaultKind, String) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (FaultKind::Exit, format!("exit: status {code}")),
        (None, Some(signal)) => (FaultKind::Signal, format!("signal: {signal}")),
        (None, None) => (FaultKind::Exit, "exit: unknown".to_owned()),
    }
}

/// Starts the child. The host's own descriptor of the connection goes with `arrival`. In the file
/// there will be what the child has counted.
fn start(arrival: &Incoming, context: &SessionContext) -> io::Result<(Child, File)> {
    let (client, server) = arrival.ends();
    let (socket, packet) = match arrival {
        Incoming::Connection(stream) => (stream.as_fd(), None),
        Incoming::Datagram(packet) => (packet.socket.as_fd(), Some(packet.bytes.to_vec())),
    };
    let job = Job {
        plugin: context.plugin.to_string(),
        generation: context.generation.id.to_string(),
        settings: (*context.settings).clone(),
        blueprint: context.generation.guest.blueprint(),
        client: client.clone(),
        server: server.clone(),
        packet,
        log: log::to_number(LevelFilter::current()),
    };
    let code = context.generation.code()?;
    let job = postcard::to_stdvec(&job).map_err(io::Error::other)?;
    let mut file = File::from(memfd_create("wharf-session", MemfdFlags::CLOEXEC)?);
    file.write_all(&(job.len() as u64).to_le_bytes())?;
    file.write_all(&job)?;
    file.write_all(&code)?;
    // What is sent stays in the socket until the child takes it from there.
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let folders = context.settings.grants.dirs.iter().filter_map(|grant| grant.folder.as_deref());
    let descriptors: Vec<_> = iter::once(file.as_fd()).chain(folders.map(AsFd::as_fd)).collect();
    send_descriptors(ours.as_fd(), &descriptors)?;
    let mut command = Command::new("/proc/self/exe");
    for name in activation::VARIABLES.into_iter().chain([systemd::VARIABLE, upgrade::VARIABLE]) {
        command.env_remove(name);
    }
    let child = command
        .arg(COMMAND)
        .stdin(Stdio::from(socket.try_clone_to_owned()?))
        .stdout(Stdio::from(theirs))
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, file))
}

/// What the child does: its one session.
///
/// # Errors
/// It was not started by [`serve`], or the machine does not give what a session takes.
pub fn run() -> anyhow::Result<ExitCode> {
    let (job, file, code) = read_job().context("not started by a host; `wharf serve` starts what it needs")?;
    log::to_stderr(log::from_number(job.log), LogStyle::Full);
    // As many as the session's own, and one for what it tells of its failure.
    let engines = Engines::new(2).map_err(anyhow::Error::from)?;
    #[expect(unsafe_code, reason = "compiled code is taken in")]
    // SAFETY: the host has it from `Generation::code`, and nobody else has sent a job here: this
    // process was given the socket by it.
    let code = unsafe { NativeCode::new(&code) };
    let generation = plugin::revive(&engines, &job.blueprint, code, job.generation.into())
        .map_err(anyhow::Error::from)
        .context("the host's code can't be taken over")?;
    let generation = Arc::new(generation);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let arrival = Incoming::inherited(socket, job.client, job.server, job.packet)?;
        let stats = Arc::new(PluginStats::of_one_session(&job.plugin));
        let context = SessionContext {
            plugin: job.plugin.into(),
            stats: stats.clone(),
            generation: generation.clone(),
            settings: Arc::new(job.settings),
            spare: Arc::new(Semaphore::new(SPARE_INSTANCES as usize)),
            files: Arc::new(FileWork::new(stats.clone())),
        };
        outlive_file_size_limit()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut announce = signal(SignalKind::alarm())?;
        // A terminal's interrupt goes to host and children alike; when they end is the host's to
        // say.
        let _interrupt = signal(SignalKind::interrupt())?;
        // A signal to all processes called wharf is meant for the host.
        let _ask = signal(SignalKind::user_defined1())?;
        // As is a reload, and the end of a terminal.
        let _hangup = signal(SignalKind::hangup())?;
        // As is an upgrade, when a service manager sends its signal to all processes of a service.
        let _upgrade = signal(SignalKind::user_defined2())?;
        let session = run::serve(arrival, Arc::new(context), ());
        tokio::pin!(session);
        loop {
            tokio::select! {
                () = &mut session => break,
                _ = announce.recv() => generation.deadline.announce(),
                _ = terminate.recv() => generation.deadline.reach(),
            }
        }
        write_report(file, &stats.report())?;
        Ok(ExitCode::SUCCESS)
    });
    // File work that outlasts the session is nobody's any more, and ends with the process.
    runtime.shutdown_background();
    end
}

fn write_report(mut file: File, report: &Report) -> anyhow::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    Ok(file.write_all(&postcard::to_stdvec(report)?)?)
}

/// What [`start`] has left for this process: the job, the file that it came in, and the code.
fn read_job() -> anyhow::Result<(Job, File, Vec<u8>)> {
    let mut descriptors = receive_descriptors(io::stdout().as_fd())?.into_iter();
    let mut file = File::from(descriptors.next().context("no job")?);
    file.rewind()?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    let length = usize::try_from(u64::from_le_bytes(length))?;
    ensure!(length <= rest.len(), "the job is cut off");
    let code = rest.split_off(length);
    let mut job: Job = postcard::from_bytes(&rest)?;
    for grant in &mut job.settings.grants.dirs {
        grant.folder = Some(GrantedFolder::taken_over(descriptors.next().context("a folder is missing")?));
    }
    Ok((job, file, code))
}

/// The most descriptors that a child is given: its job, and the folders of a manifest.
const DESCRIPTORS: usize = 128;

fn send_descriptors(socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_descriptors(socket: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(rights.flatten().collect())
}
