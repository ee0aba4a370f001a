//! The three ways a call into a guest can fail, kept apart: what the guest says, what ends it, and what is our own.

use std::fmt;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

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
    Trap(String),
    /// Its stack ran out.
    Stack,
    /// It asked for more memory than its limit.
    Memory(u64),
    /// It ran for longer than its limit without dealing with its client.
    Cpu(Duration),
    /// A phase ran for longer than its limit.
    Timeout(Duration),
    Exit(i32),
    /// Its server stopped, or its generation was replaced, and the drain deadline came.
    Drain,
}

impl Fault {
    /// Whether the instance is gone, so that nothing more may be called in it.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Handler(_))
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
        if let Some(exit) = error.downcast_ref::<I32Exit>() {
            return Self::Ended(Cause::Exit(exit.0));
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Self::Ended(Cause::Stack),
            Some(trap) => Self::Ended(Cause::Trap(trap.to_string().trim_start_matches("wasm trap: ").to_owned())),
            // What is left is said of values that crossed the boundary: pointers, lengths, text that is not UTF-8.
            None => Self::Ended(Cause::Trap(error.root_cause().to_string().replace('\n', " "))),
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
            Self::Trap(trap) => write!(f, "trap: {trap}"),
            Self::Stack => f.write_str("stack: call stack exhausted"),
            Self::Memory(limit) => write!(f, "memory: more than its {} asked for", Size(*limit)),
            Self::Cpu(limit) => {
                write!(f, "cpu: ran for {} without its client", humantime::format_duration(*limit))
            }
            Self::Timeout(limit) => write!(f, "timeout: not done after {}", humantime::format_duration(*limit)),
            Self::Exit(status) => write!(f, "exit: status {status}"),
            Self::Drain => f.write_str("drain: still running at the drain deadline"),
        }
    }
}

/// The memory limiter's verdict, on its way through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("memory limit of {0} bytes reached")]
pub(super) struct MemoryLimitReached(pub u64);

/// The CPU meter's verdict, on its way through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("cpu limit of {0:?} reached")]
pub(super) struct CpuLimitReached(pub Duration);
