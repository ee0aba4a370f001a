//! Finds out what a file is, and makes of it what is compiled, in a process of its own.

use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::flatten::flatten;
use super::process::{self, WorkerFailure, WorkerTask};
use super::recognise::{Findings, Form, Recognised, recognise};
use crate::sandbox::{Engines, GuestKind, Profile};

/// The subcommand that makes this program such a process. Not for people.
pub const COMMAND: &str = "examine";

/// A plugin that can be compiled.
pub(super) struct Examined {
    pub(super) findings: Findings,
    /// The component, or a core module: a WASI 0.1 command, or a handler that can do without its
    /// component.
    pub(super) wasm: Vec<u8>,
}

/// What the process passes on, in front of the wasm.
#[derive(Serialize, Deserialize)]
struct Message {
    findings: Findings,
}

/// Examines `file`, for so many whole seconds of CPU time at most, and waits for it.
///
/// # Errors
/// Why it is no plugin.
pub(super) fn examine(file: &[u8], time: Duration) -> Result<Examined, WorkerFailure> {
    let answer = process::run(WorkerTask::Examine, &[COMMAND], file, time)?;
    let broken = || WorkerFailure::Host(std::io::Error::other("what examined it said half of it"));
    let (length, rest) = answer.split_first_chunk().ok_or_else(broken)?;
    let (text, wasm) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(broken)?;
    let text = str::from_utf8(text).map_err(|_| broken())?;
    let Message { findings } = toml::from_str(text).map_err(|_| broken())?;
    Ok(Examined { findings, wasm: wasm.to_owned() })
}

/// The same in this process, where nothing bounds it.
///
/// # Errors
/// Why it is no plugin.
pub(super) fn examine_here(file: &[u8], _: Duration) -> Result<Examined, WorkerFailure> {
    examined(file).map_err(WorkerFailure::Invalid)
}

/// The same, but a component is what is compiled, whatever could be made of it.
///
/// # Errors
/// Why it is no plugin.
pub(super) fn keep_here(file: &[u8], _: Duration) -> Result<Examined, WorkerFailure> {
    let Recognised { findings, wasm } = recognise(file).map_err(WorkerFailure::Invalid)?;
    Ok(Examined { findings, wasm })
}

fn examined(file: &[u8]) -> Result<Examined, String> {
    let Recognised { findings, wasm } = recognise(file)?;
    let module = match &findings.kind {
        GuestKind::Handler(interface, version) if Engines::profile_for(&findings.demand) == Profile::Small => {
            // A component that was made here has the adapter that it was given here.
            flatten(&wasm, *interface, version, findings.form == Form::TypedModule)
        }
        _ => None,
    };
    Ok(Examined { findings, wasm: module.unwrap_or(wasm) })
}

/// What the process does.
///
/// # Errors
/// It was not started by a loader.
pub fn run(seconds: u64) -> anyhow::Result<ExitCode> {
    let file = process::begin(seconds)?;
    let outcome = match examined(&file) {
        Ok(Examined { findings, wasm }) => {
            let text = toml::to_string(&Message { findings })?;
            let length = u32::try_from(text.len())?.to_le_bytes();
            Ok([&length[..], text.as_bytes(), &wasm].concat())
        }
        Err(reason) => Err(reason),
    };
    process::end(outcome)
}
