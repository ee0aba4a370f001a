//! The three ways a call into a guest can fail, kept apart: what the guest says, what ends it, and what is our own.

use std::fmt;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::limits::{IN_VAIN, RESOURCES};
use crate::config::Size;

/// Why a call into a guest failed.
#[derive(Debug)]
pub enum Fault {
    /// The handler returned an error; its instance goes on.
    Handler(String),
    /// The instance trapped or was stopped, and is gone.
    Ended(Cause),
    /// The host's own fault.
    Host(wasmtime::Error),
}

/// What ended an instance.
#[derive(Debug)]
pub enum Cause {
    /// By an instruction, or by a value that it gave the host; in words.
    Trap(Kind, String),
    /// Its stack ran out.
    Stack,
    /// It asked for more memory than its limit.
    Memory(u64),
    /// It ran for longer than its limit without dealing with its client.
    Cpu(Duration),
    /// A phase ran for longer than its limit.
    Timeout(Duration),
    Exit(i32),
    /// It held more of WASI's resources open than it may.
    Resources,
    /// It went on reading and writing when its client had gone.
    BrokenPipe,
    /// Its server stopped, or its generation was replaced, and the drain deadline came.
    Drain,
    /// Its client was gone for longer than it may be.
    Gone(Duration),
}

/// The steps that a session may fail in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The wait for a first byte, where there is one before everything else.
    FirstByte,
    Instance,
    VerifyRequest,
    Setup,
    Handle,
    Finish,
    HandleError,
    ServiceActions,
    /// The thread that a session has for itself.
    Thread,
    /// The process that a session has for itself.
    Process,
}

impl Phase {
    /// In the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::FirstByte,
        Self::Instance,
        Self::VerifyRequest,
        Self::Setup,
        Self::Handle,
        Self::Finish,
        Self::HandleError,
        Self::ServiceActions,
        Self::Thread,
        Self::Process,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstByte => "first-byte",
            Self::Instance => "instance",
            Self::VerifyRequest => "verify-request",
            Self::Setup => "setup",
            Self::Handle => "handle",
            Self::Finish => "finish",
            Self::HandleError => "handle-error",
            Self::ServiceActions => "service-actions",
            Self::Thread => "thread",
            Self::Process => "process",
        })
    }
}

/// What sort of a fault it was: what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The handler returned an error.
    Error,
    /// Trapped by its own word, as a panic ends.
    Unreachable,
    /// Trapped by an access beyond its memory or its tables.
    OutOfBounds,
    /// Trapped by a division by zero, an overflow, a number that is none.
    Arithmetic,
    /// Trapped by a call of no function, or of one of another type.
    IndirectCall,
    /// What it gave the host is no value of the contract's: a pointer, a length, a case, text that is not UTF-8.
    Value,
    /// Trapped in another way.
    Trap,
    Stack,
    Memory,
    Cpu,
    Timeout,
    Exit,
    Resources,
    /// Ended as SIGPIPE ends a program.
    BrokenPipe,
    /// The process of its session was killed.
    Signal,
    Drain,
    /// Its client was gone.
    Gone,
    /// The host's own.
    Host,
}

impl Kind {
    /// In the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::Error,
        Self::Unreachable,
        Self::OutOfBounds,
        Self::Arithmetic,
        Self::IndirectCall,
        Self::Value,
        Self::Trap,
        Self::Stack,
        Self::Memory,
        Self::Cpu,
        Self::Timeout,
        Self::Exit,
        Self::Resources,
        Self::BrokenPipe,
        Self::Signal,
        Self::Drain,
        Self::Gone,
        Self::Host,
    ];

    fn of_trap(trap: Trap) -> Self {
        match trap {
            Trap::UnreachableCodeReached => Self::Unreachable,
            Trap::MemoryOutOfBounds | Trap::TableOutOfBounds | Trap::HeapMisaligned | Trap::ArrayOutOfBounds => {
                Self::OutOfBounds
            }
            Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => Self::Arithmetic,
            Trap::IndirectCallToNull | Trap::BadSignature => Self::IndirectCall,
            _ => Self::Trap,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Unreachable => "unreachable",
            Self::OutOfBounds => "out-of-bounds",
            Self::Arithmetic => "arithmetic",
            Self::IndirectCall => "indirect-call",
            Self::Value => "value",
            Self::Trap => "trap",
            Self::Stack => "stack",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Timeout => "timeout",
            Self::Exit => "exit",
            Self::Resources => "resources",
            Self::BrokenPipe => "broken-pipe",
            Self::Signal => "signal",
            Self::Drain => "drain",
            Self::Gone => "gone",
            Self::Host => "host",
        })
    }
}

impl Fault {
    /// Whether the instance is gone, so that nothing more may be called in it.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Handler(_))
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Handler(_) => Kind::Error,
            Self::Host(_) => Kind::Host,
            Self::Ended(cause) => match cause {
                Cause::Trap(kind, _) => *kind,
                Cause::Stack => Kind::Stack,
                Cause::Memory(_) => Kind::Memory,
                Cause::Cpu(_) => Kind::Cpu,
                Cause::Timeout(_) => Kind::Timeout,
                Cause::Exit(_) => Kind::Exit,
                Cause::Resources => Kind::Resources,
                Cause::BrokenPipe => Kind::BrokenPipe,
                Cause::Drain => Kind::Drain,
                Cause::Gone(_) => Kind::Gone,
            },
        }
    }

    /// Sorts what wasmtime returned from a call.
    pub(super) fn from_call(error: wasmtime::Error) -> Self {
        if error.is::<PoolConcurrencyLimitError>() || is_short_of_memory(&error) {
            return Self::Host(error);
        }
        if let Some(limit) = error.downcast_ref::<MemoryLimitReached>() {
            return Self::Ended(Cause::Memory(limit.0));
        }
        if let Some(limit) = error.downcast_ref::<CpuLimitReached>() {
            return Self::Ended(Cause::Cpu(limit.0));
        }
        if error.is::<BrokenPipe>() {
            return Self::Ended(Cause::BrokenPipe);
        }
        if let Some(exit) = error.downcast_ref::<I32Exit>() {
            return Self::Ended(Cause::Exit(exit.0));
        }
        if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
            return Self::Ended(Cause::Resources);
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Self::Ended(Cause::Stack),
            Some(trap) => {
                let text = trap.to_string().trim_start_matches("wasm trap: ").to_owned();
                Self::Ended(Cause::Trap(Kind::of_trap(*trap), text))
            }
            // What is left is said of values that crossed the boundary: pointers, lengths, text that is not UTF-8.
            None => Self::Ended(Cause::Trap(Kind::Value, error.root_cause().to_string().replace('\n', " "))),
        }
    }
}

/// Whether the kernel refused memory: for want of it, or at the process's own limit.
fn is_short_of_memory(error: &wasmtime::Error) -> bool {
    let refused = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
            || cause.downcast_ref::<Errno>() == Some(&Errno::NOMEM)
    };
    error.is::<wasmtime::OutOfMemory>() || error.chain().any(refused)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(text) => write!(f, "error: {text}"),
            Self::Ended(cause) => cause.fmt(f),
            Self::Host(error) => write!(f, "host: {error:#}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(_, trap) => write!(f, "trap: {trap}"),
            Self::Stack => f.write_str("stack: call stack exhausted"),
            Self::Memory(limit) => write!(f, "memory: more than its {} asked for", Size(*limit)),
            Self::Cpu(limit) => {
                write!(f, "cpu: ran for {} without its client", humantime::format_duration(*limit))
            }
            Self::Timeout(limit) => write!(f, "timeout: not done after {}", humantime::format_duration(*limit)),
            Self::Exit(status) => write!(f, "exit: status {status}"),
            Self::Resources => {
                write!(f, "resources: more than {RESOURCES} files, streams and waits of WASI open at once")
            }
            Self::BrokenPipe => {
                write!(f, "broken-pipe: {IN_VAIN} reads and writes in a row when the client had gone")
            }
            Self::Drain => f.write_str("drain: still running at the drain deadline"),
            Self::Gone(grace) => {
                let grace = humantime::format_duration(*grace);
                write!(f, "gone: still at something else {grace} after its client had gone")
            }
        }
    }
}

/// The memory limiter's verdict, on its way through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("memory limit of {0} bytes reached")]
pub(super) struct MemoryLimitReached(pub u64);

/// The verdict on a guest that goes on without its client, on its way through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("{IN_VAIN} reads and writes in a row without a client")]
pub(super) struct BrokenPipe;

/// The CPU meter's verdict, on its way through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("cpu limit of {0:?} reached")]
pub(super) struct CpuLimitReached(pub Duration);
