//! The three ways a call into a guest can fail, kept apart: what the guest says, what ends it, and
//! what is our own.

use std::fmt;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::limits::{BrokenPipe, CpuLimitReached, IN_VAIN, MemoryLimitReached, RESOURCES};
use super::words;
use crate::config::Size;
use crate::report::FaultKind;

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
    Trap(FaultKind, String),
    /// Its stack ran out.
    Stack,
    /// It asked for more memory than its limit.
    Memory(u64),
    /// It ran for longer than its limit without dealing with its client.
    Cpu(Duration),
    /// A phase ran for longer than its limit.
    Timeout(Duration),
    /// With this status; and what it wrote to stderr before.
    Exit(i32, Option<String>),
    /// It held more of WASI's resources open than it may.
    Resources,
    /// It went on reading and writing when its client had gone.
    BrokenPipe,
    /// Its server stopped, or its generation was replaced, and the drain deadline came.
    Drain,
    /// Its client was gone for longer than it may be.
    Gone(Duration),
}

fn kind_of(trap: Trap) -> FaultKind {
    match trap {
        Trap::UnreachableCodeReached => FaultKind::Unreachable,
        Trap::MemoryOutOfBounds | Trap::TableOutOfBounds | Trap::HeapMisaligned | Trap::ArrayOutOfBounds => {
            FaultKind::OutOfBounds
        }
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => FaultKind::Arithmetic,
        Trap::IndirectCallToNull | Trap::BadSignature => FaultKind::IndirectCall,
        _ => FaultKind::Trap,
    }
}

impl Fault {
    /// Whether the instance is gone, so that nothing more may be called in it.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Handler(_))
    }

    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Handler(_) => FaultKind::Error,
            Self::Host(_) => FaultKind::Host,
            Self::Ended(cause) => match cause {
                Cause::Trap(kind, _) => *kind,
                Cause::Stack => FaultKind::Stack,
                Cause::Memory(_) => FaultKind::Memory,
                Cause::Cpu(_) => FaultKind::Cpu,
                Cause::Timeout(_) => FaultKind::Timeout,
                Cause::Exit(..) => FaultKind::Exit,
                Cause::Resources => FaultKind::Resources,
                Cause::BrokenPipe => FaultKind::BrokenPipe,
                Cause::Drain => FaultKind::Drain,
                Cause::Gone(_) => FaultKind::Gone,
            },
        }
    }

    /// The same, where an access out of bounds was one beyond the stack that a compiler keeps in
    /// memory.
    pub(super) fn beyond_its_stack(self, size: u64) -> Self {
        match self {
            Self::Ended(Cause::Trap(kind, text)) => {
                let text = format!("{text}; its stack of {} in its memory is exhausted", Size(size));
                Self::Ended(Cause::Trap(kind, text))
            }
            other => other,
        }
    }

    /// The same, with what its guest wrote to stderr last, where that may tell why.
    pub(super) fn with(self, last_words: impl FnOnce() -> Option<String>) -> Self {
        match self {
            Self::Ended(Cause::Trap(kind, text)) => {
                let text = last_words().map_or(text.clone(), |said| format!("{text}; it said: {said}"));
                Self::Ended(Cause::Trap(kind, text))
            }
            Self::Ended(Cause::Exit(status, None)) => Self::Ended(Cause::Exit(status, last_words())),
            other => other,
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
            return Self::Ended(Cause::Exit(exit.0, None));
        }
        if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
            return Self::Ended(Cause::Resources);
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Self::Ended(Cause::Stack),
            Some(trap) => {
                let mut text = trap.to_string().trim_start_matches("wasm trap: ").to_owned();
                let frames = words::frames(&error);
                if !frames.is_empty() {
                    text.push_str("; in ");
                    text.push_str(&frames);
                }
                Self::Ended(Cause::Trap(kind_of(*trap), text))
            }
            // What is left is said of values that crossed the boundary: pointers, lengths, text
            // that is not UTF-8.
            None => Self::Ended(Cause::Trap(FaultKind::Value, error.root_cause().to_string().replace('\n', " "))),
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
            Self::Exit(status, None) => write!(f, "exit: status {status}"),
            Self::Exit(status, Some(said)) => write!(f, "exit: status {status}; it said: {said}"),
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
