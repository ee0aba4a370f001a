//! What becomes of sessions: where one fails, and of what sort its fault is. Both are counted, and
//! named in the log.

use std::fmt;

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
pub enum FaultKind {
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
    /// What it gave the host is no value of the contract's: a pointer, a length, a case, text that
    /// is not UTF-8.
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
    /// The handler returned the error that it got when its client left: no fault of anybody's.
    Left,
    /// The host's own.
    Host,
}

impl FaultKind {
    /// In the order of their numbers.
    pub const ALL: [Self; 19] = [
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
        Self::Left,
        Self::Host,
    ];
}

impl fmt::Display for FaultKind {
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
            Self::Left => "left",
            Self::Host => "host",
        })
    }
}
