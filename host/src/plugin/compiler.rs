//! The compiler, in a process of its own.

use std::process::ExitCode;
use std::time::Duration;

use super::process::{self, WorkerFailure, WorkerTask};
use super::recognise::needs;
use crate::sandbox::{Engines, Native, Profile};

/// The subcommand that makes this program such a process. Not for people.
pub const COMMAND: &str = "compile";

/// Compiles `wasm`, for so many whole seconds of CPU time at most, and waits for it: the code as
/// [`Native::serialize`] gives it.
///
/// # Errors
/// Why there is none.
pub(super) fn compile(_: &Engines, profile: Profile, wasm: &[u8], time: Duration) -> Result<Vec<u8>, WorkerFailure> {
    process::run(WorkerTask::Compile, &[COMMAND, profile.name()], wasm, time)
}

/// The same in this process, where nothing bounds it.
///
/// # Errors
/// It is not valid, or asks for features that are off.
pub(super) fn compile_here(
    engines: &Engines,
    profile: Profile,
    wasm: &[u8],
    _: Duration,
) -> Result<Vec<u8>, WorkerFailure> {
    code_of(engines, profile, wasm).map_err(WorkerFailure::Invalid)
}

fn code_of(engines: &Engines, profile: Profile, wasm: &[u8]) -> Result<Vec<u8>, String> {
    Native::compile(engines.engine(profile), wasm)
        .and_then(|native| native.serialize())
        .map_err(|error| needs(wasm).unwrap_or_else(|| format!("it does not compile: {error:#}")))
}

/// What the process does.
///
/// # Errors
/// It was not started by a loader, or the machine does not give what compiling takes.
pub fn run(profile: &str, seconds: u64) -> anyhow::Result<ExitCode> {
    let profile = Profile::named(profile).ok_or_else(|| anyhow::anyhow!("no profile is called {profile}"))?;
    let wasm = process::begin(seconds)?;
    let engines = Engines::new(1).map_err(anyhow::Error::from)?;
    process::end(code_of(&engines, profile, &wasm))
}
