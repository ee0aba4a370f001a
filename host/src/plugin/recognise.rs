//! What a file is, told from its bytes alone, before anything of it is compiled.

mod binary;
mod embedded;
mod foreign;
mod requirements;
mod survey;
mod upkeep;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
pub(super) use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI_0_1;
use wasmparser::Parser;

use crate::config::{self, Size};
use crate::sandbox::{GuestKind, Interface, PACKAGE, Requirements, VERSION, is_spoken};
use binary::binary;
use embedded::component_of;
pub(super) use foreign::{needs, unmet};
use survey::Survey;

/// What is accepted, for every message that refuses something.
const WANTED: &str = "a component (or a core module with an embedded component type, or .wat text of either) that exports \
                      wharf:handler/stream-handler@0.1.0 or …/datagram-handler@0.1.0; or a WASI command (wasi:cli/run or _start)";

/// The most things that a plugin may import, and the longest name of one, in bytes. Toolchains make
/// some fifty of less than a hundred.
const MOST_IMPORTS: usize = 10_000;
const LONGEST_NAME: usize = 1024;

/// The most bytes of a name that a line about a plugin has.
const SHOWN: usize = 200;

/// A file that is a plugin, as far as can be told without compiling it.
pub(super) struct Recognised {
    pub(super) findings: Findings,
    /// The component, or the core module of a WASI 0.1 command.
    pub(super) wasm: Vec<u8>,
}

/// All that there is to know of a plugin but its code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Findings {
    pub(super) form: Form,
    pub(super) kind: GuestKind,
    /// Names of what it imports.
    pub(super) imports: Vec<String>,
    /// The text of its own manifest.
    pub(super) manifest: Option<String>,
    pub(super) demand: Requirements,
    /// By what a program would have sockets of its own, though its client is its stdin and stdout.
    pub(super) sockets: Option<String>,
}

/// What stood in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    Component,
    /// A core module with a component type, of which the loader made a component.
    TypedModule,
    /// A core module that runs as it is.
    Module,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::TypedModule => "core module with a component type",
            Self::Module => "core module",
        })
    }
}

/// Tells a plugin from anything else.
///
/// # Errors
/// What the bytes are instead, and what would be accepted, in one line.
pub(super) fn recognise(bytes: &[u8]) -> Result<Recognised, String> {
    examine(bytes).map_err(|flaw| match flaw {
        Rejection::Other(what) => format!("{what}; wanted: {WANTED}"),
        Rejection::Near(what) => what,
    })
}

/// What kind of plugin a file is, told from its bytes alone: `stream-handler`, `datagram-handler`
/// or `command`.
///
/// # Errors
/// It is none: one line, in which what the file names may stand as it is.
pub fn identify(bytes: &[u8]) -> Result<&'static str, String> {
    recognise(bytes).map(|recognised| recognised.findings.kind.name())
}

/// Why a file is no plugin, in words.
enum Rejection {
    /// It is something else, so that what is wanted has to be said with it.
    Other(String),
    /// It lacks something, or has something too much: what would be right is said with that.
    Near(String),
}

impl From<String> for Rejection {
    fn from(what: String) -> Self {
        Self::Other(what)
    }
}

fn examine(bytes: &[u8]) -> Result<Recognised, Rejection> {
    let wasm = binary(bytes)?;
    let (wasm, form) = if Parser::is_component(&wasm) {
        (wasm.into_owned(), Form::Component)
    } else if Parser::is_core_wasm(&wasm) {
        let survey = Survey::of(&wasm).map_err(damaged)?;
        let misfit = || foreign::origin(&survey).or_else(|| foreign::strays(&survey, &wasm)).map(Rejection::Near);
        if survey.is_typed() {
            let component = component_of(&wasm).map_err(|what| {
                let needs = foreign::needs(&wasm).map(Rejection::Near);
                needs.or_else(misfit).unwrap_or(Rejection::Other(what))
            })?;
            (component, Form::TypedModule)
        } else if let Some(flaw) = misfit() {
            return Err(flaw);
        } else if survey.is_program() {
            return recognised(wasm.into_owned(), Form::Module, GuestKind::Program, survey);
        } else {
            let remedy = "`wasm-tools component embed` adds one";
            let what = format!("a core module without a component type ({remedy}), and without `_start`");
            return Err(Rejection::Other(what));
        }
    } else {
        return Err(Rejection::Other("wasm of an unknown version".to_owned()));
    };
    let survey = Survey::of(&wasm).map_err(damaged)?;
    let kind = kind(&survey.exports).map_err(|flaw| match (flaw, foreign::system(&survey.imports)) {
        (Rejection::Other(what), Some(system)) => Rejection::Other(format!("{what} (of its imports, {system})")),
        (flaw, _) => flaw,
    })?;
    recognised(wasm, form, kind, survey)
}

fn recognised(wasm: Vec<u8>, form: Form, kind: GuestKind, survey: Survey) -> Result<Recognised, Rejection> {
    if survey.imports.len() > MOST_IMPORTS {
        let what = format!("it imports {} things, and {MOST_IMPORTS} is the most that it may", survey.imports.len());
        return Err(Rejection::Near(what));
    }
    if let Some(name) = survey.imports.iter().find(|name| name.len() > LONGEST_NAME) {
        let (length, name) = (name.len(), shown(name));
        let what =
            format!("it imports {name}, a name of {length} bytes, and {LONGEST_NAME} is the most that it may have");
        return Err(Rejection::Near(what));
    }
    if let Some(manifest) = survey.manifest.as_ref().filter(|text| text.len() as u64 > config::MAX_TEXT_BYTES) {
        let (size, most) = (Size(manifest.len() as u64), Size(config::MAX_TEXT_BYTES));
        return Err(Rejection::Near(format!(
            "its section wharf:manifest has {size}, and {most} is the most that is read"
        )));
    }
    let manifest = survey
        .manifest
        .map(|text| {
            String::from_utf8(text)
                .map_err(|_| Rejection::Near("its section wharf:manifest is not UTF-8 text".to_owned()))
        })
        .transpose()?;
    let of_0_1 = |kind: &GuestKind| {
        let accepts = |(module, name): &&(String, String)| module == WASI_0_1 && name == "sock_accept";
        let import = survey.core_imports.iter().find(accepts).filter(|_| *kind == GuestKind::Program);
        import.map(|(module, name)| format!("{module}.{name}"))
    };
    let of_0_2 = |kind: &GuestKind| {
        let import = survey.imports.iter().find(|import| import.starts_with("wasi:sockets/tcp"));
        import.filter(|_| matches!(kind, GuestKind::Command(_))).cloned()
    };
    let sockets = of_0_1(&kind).or_else(|| of_0_2(&kind));
    let findings = Findings { form, kind, imports: survey.imports, manifest, demand: survey.demand, sockets };
    Ok(Recognised { findings, wasm })
}

fn damaged(error: wasmparser::BinaryReaderError) -> String {
    format!("damaged wasm: {error}")
}

/// What a component is by its exports.
fn kind(exports: &[String]) -> Result<GuestKind, Rejection> {
    let bounded = || exports.iter().filter(|name| name.len() <= LONGEST_NAME);
    let exported: Vec<(Interface, &str)> = [Interface::Stream, Interface::Datagram]
        .into_iter()
        .flat_map(|interface| {
            let prefix = format!("{PACKAGE}/{}@", interface.name());
            bounded().filter_map(move |name| Some((interface, name.strip_prefix(prefix.as_str())?)))
        })
        .collect();
    let mut of_this_host = exported.iter().filter(|(_, version)| is_spoken(version));
    match (of_this_host.next(), of_this_host.next(), exported.first()) {
        (Some((interface, version)), None, _) => return Ok(GuestKind::Handler(*interface, (*version).to_owned())),
        (Some(_), Some(_), _) => {
            let what = "both a stream handler and a datagram handler; it has to be one, and the other another plugin";
            return Err(Rejection::Near(what.to_owned()));
        }
        (None, _, Some((_, version))) => {
            let what =
                format!("it speaks {PACKAGE}@{version}, and this host {VERSION}; bind that version's wit/handler.wit");
            return Err(Rejection::Near(what));
        }
        (None, _, None) => {}
    }
    if let Some(run) = bounded().find(|name| name.starts_with("wasi:cli/run@0.2.")) {
        return Ok(GuestKind::Command(run.clone()));
    }
    let exports_a = |interface: &str| exports.iter().any(|name| name.starts_with(interface));
    Err(Rejection::Other(match exports {
        [] => "a component that exports nothing".to_owned(),
        _ if exports_a("wasi:http/") => {
            "a component that answers HTTP requests, where a plugin has connections".to_owned()
        }
        _ if exports_a("wasi:cli/run@") => {
            format!("a command of another WASI ({}), where 0.1 and 0.2 are run", shortened(exports))
        }
        [hooks] if hooks.starts_with("wharf:handler/server-hooks@") => {
            "a component that exports server-hooks alone".to_owned()
        }
        names => format!("a component of another world (it exports {})", shortened(names)),
    }))
}

fn shortened(names: &[String]) -> String {
    let first = names.iter().take(3).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{first} and {} more", names.len() - 3) } else { first }
}

/// As much of a name as a line has room for.
fn shown(name: &str) -> Cow<'_, str> {
    if name.len() <= SHOWN { name.into() } else { format!("{}…", &name[..name.floor_char_boundary(SHOWN)]).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_versions_of_the_contract_are_compatible() {
        let exporting = |version: &str| [format!("wharf:handler/stream-handler@{version}")];
        assert!(kind(&exporting("0.1.0")).is_ok());
        assert!(kind(&exporting("0.1.7")).is_ok());
        assert!(kind(&exporting("0.10.0")).is_err());
        assert!(kind(&exporting("0.2.0")).is_err());
    }
}
