//! What a file is, told from its bytes alone, before anything of it is compiled.

use serde::{Deserialize, Serialize};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI_0_1, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

use super::contract::{PACKAGE, VERSION};

/// What is accepted, for every message that refuses something.
const WANTED: &str = "a component (or a core module with an embedded component type, or .wat text of either) that exports \
                      wharf:handler/stream-handler@0.1.0 or …/datagram-handler@0.1.0; or a WASI command (wasi:cli/run or _start)";

/// A file that is a plugin, as far as can be told without compiling it.
pub(super) struct Recognised {
    /// The component, or the core module of a WASI 0.1 command.
    pub(super) wasm: Vec<u8>,
    pub(super) form: Form,
    pub(super) kind: Kind,
    /// Names of what it imports.
    pub(super) imports: Vec<String>,
    /// The text of its own manifest.
    pub(super) manifest: Option<String>,
    pub(super) demand: Demand,
}

/// The kinds of guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A handler, by the version of the contract that it speaks.
    Handler(Interface, String),
    /// A component that is an ordinary program, by the name of its export.
    Command(String),
    /// A core module that is an ordinary program.
    Program,
}

impl Kind {
    /// As users call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Handler(interface, _) => interface.name(),
            Self::Command(_) | Self::Program => "command",
        }
    }

    /// What it keeps to.
    pub(super) fn contract(&self) -> String {
        match self {
            Self::Handler(_, version) => format!("{PACKAGE}@{version}"),
            Self::Command(export) => export.clone(),
            Self::Program => "WASI 0.1".to_owned(),
        }
    }
}

/// What a handler serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Interface {
    Stream,
    Datagram,
}

impl Interface {
    /// As the contract calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream-handler",
            Self::Datagram => "datagram-handler",
        }
    }
}

/// What stood in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What one instance takes to begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) memories: u32,
    /// Bytes, over all memories.
    pub(super) memory: u64,
    pub(super) tables: u32,
    /// Of the largest table.
    pub(super) table_elements: u64,
    pub(super) core_instances: u32,
}

/// Tells a plugin from anything else.
///
/// # Errors
/// What the bytes are instead, and what would be accepted, in one line.
pub(super) fn recognise(bytes: &[u8]) -> Result<Recognised, String> {
    examine(bytes).map_err(|what| format!("{what}; wanted: {WANTED}"))
}

fn examine(bytes: &[u8]) -> Result<Recognised, String> {
    let wasm = binary(bytes)?;
    let (wasm, form) = if Parser::is_component(&wasm) {
        (wasm.into_owned(), Form::Component)
    } else if Parser::is_core_wasm(&wasm) {
        let survey = Survey::of(&wasm).map_err(damaged)?;
        match (survey.is_typed, survey.is_program()) {
            (true, _) => (component_of(&wasm)?, Form::TypedModule),
            (false, true) => return recognised(wasm.into_owned(), Form::Module, Kind::Program, survey),
            (false, false) => {
                let remedy = "`wasm-tools component embed` adds one";
                return Err(format!("a core module without a component type ({remedy}), and without `_start`"));
            }
        }
    } else {
        return Err("wasm of an unknown version".to_owned());
    };
    let survey = Survey::of(&wasm).map_err(damaged)?;
    let kind = kind(&survey.exports)?;
    recognised(wasm, form, kind, survey)
}

fn recognised(wasm: Vec<u8>, form: Form, kind: Kind, survey: Survey) -> Result<Recognised, String> {
    let manifest = survey
        .manifest
        .map(|text| String::from_utf8(text).map_err(|_| "its section wharf:manifest is not UTF-8 text".to_owned()))
        .transpose()?;
    Ok(Recognised { wasm, form, kind, imports: survey.imports, manifest, demand: survey.demand })
}

fn damaged(error: wasmparser::BinaryReaderError) -> String {
    format!("damaged wasm: {error}")
}

/// The file as binary wasm, `.wat` text assembled.
fn binary(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, String> {
    if bytes.starts_with(b"\0asm") {
        return if bytes.len() >= 8 {
            Ok(bytes.into())
        } else {
            Err("truncated wasm: only its first bytes are there".into())
        };
    }
    let kind = match bytes {
        [] => "an empty file",
        [0x7f, b'E', b'L', b'F', ..] => "an ELF program of this or another machine",
        [b'M', b'Z', ..] => "a Windows program",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [0x1f, 0x8b, ..] => "a gzip archive",
        [b'#', b'!', ..] => "a script",
        _ => match std::str::from_utf8(bytes) {
            Ok(text) if text.trim_start().starts_with("(;") || text.trim_start().starts_with([';', '(']) => {
                return wat::parse_str(text).map(Into::into).map_err(|error| {
                    // Of the multi-line message, what is wrong and where.
                    let text = error.to_string();
                    let place = text.lines().find_map(|line| line.trim().strip_prefix("--> "));
                    let what = text.lines().next().unwrap_or("syntax error");
                    match place {
                        Some(place) => format!("wrong .wat text: {what} at {}", place.trim_start_matches("<anon>:")),
                        None => format!("wrong .wat text: {what}"),
                    }
                });
            }
            Ok(_) => "a text file",
            Err(_) => "no wasm",
        },
    };
    Err(kind.to_owned())
}

/// Makes the component of a core module that says which one it is.
fn component_of(module: &[u8]) -> Result<Vec<u8>, String> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter(WASI_0_1, ADAPTER))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("no component can be made of this module: {error:#}").replace('\n', " "))
}

/// What a component is by its exports.
fn kind(exports: &[String]) -> Result<Kind, String> {
    let spoken = |version: &str| {
        let minor = VERSION.rsplit_once('.').map_or(VERSION, |(minor, _)| minor);
        version.strip_prefix(minor).is_some_and(|patch| patch.starts_with('.'))
    };
    let exported: Vec<(Interface, &str)> = [Interface::Stream, Interface::Datagram]
        .into_iter()
        .flat_map(|interface| {
            let prefix = format!("{PACKAGE}/{}@", interface.name());
            exports.iter().filter_map(move |name| Some((interface, name.strip_prefix(prefix.as_str())?)))
        })
        .collect();
    let mut of_this_host = exported.iter().filter(|(_, version)| spoken(version));
    match (of_this_host.next(), of_this_host.next(), exported.first()) {
        (Some((interface, version)), None, _) => return Ok(Kind::Handler(*interface, (*version).to_owned())),
        (Some(_), Some(_), _) => {
            return Err("both a stream handler and a datagram handler; it has to be one".to_owned());
        }
        (None, _, Some((_, version))) => return Err(format!("it speaks {PACKAGE}@{version}, and this host {VERSION}")),
        (None, _, None) => {}
    }
    if let Some(run) = exports.iter().find(|name| name.starts_with("wasi:cli/run@0.2.")) {
        return Ok(Kind::Command(run.clone()));
    }
    Err(match exports {
        [] => "a component that exports nothing".to_owned(),
        names => format!("a component of another world (it exports {})", shortened(names)),
    })
}

fn shortened(names: &[String]) -> String {
    let shown = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{shown} and {} more", names.len() - 3) } else { shown }
}

/// One pass over a component, or a core module.
#[derive(Default)]
struct Survey {
    imports: Vec<String>,
    exports: Vec<String>,
    manifest: Option<Vec<u8>>,
    demand: Demand,
    /// A core module's component type is in it.
    is_typed: bool,
}

impl Survey {
    /// Whether a core module is a WASI command.
    fn is_program(&self) -> bool {
        self.exports.iter().any(|name| name == "_start")
    }

    fn of(wasm: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut survey = Self::default();
        // The component itself is 0 deep, the modules and components in it deeper.
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::Version { encoding: Encoding::Module | Encoding::Component, .. } => {}
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        survey.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ExportSection(exports) if depth == 0 => {
                    for export in exports {
                        survey.exports.push(export?.name.to_owned());
                    }
                }
                Payload::ImportSection(imports) if depth == 0 => {
                    for import in imports.into_imports() {
                        let module = import?.module.to_owned();
                        if !survey.imports.contains(&module) {
                            survey.imports.push(module);
                        }
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                    survey.is_typed |= depth == 0;
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        survey.exports.push(export?.name.name.to_owned());
                    }
                }
                // The outermost counts: whoever packed a component last knows best.
                Payload::CustomSection(section)
                    if section.name() == "wharf:manifest" && (depth == 0 || survey.manifest.is_none()) =>
                {
                    survey.manifest = Some(section.data().to_owned());
                }
                Payload::InstanceSection(instances) => {
                    let instantiated = instances.into_iter().flatten();
                    survey.demand.core_instances += instantiated
                        .filter(|instance| matches!(instance, wasmparser::Instance::Instantiate { .. }))
                        .count() as u32;
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        let memory = memory?;
                        survey.demand.memories += 1;
                        let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
                        survey.demand.memory = survey.demand.memory.saturating_add(memory.initial.saturating_mul(page));
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        survey.demand.tables += 1;
                        survey.demand.table_elements = survey.demand.table_elements.max(table?.ty.initial);
                    }
                }
                _ => {}
            }
        }
        Ok(survey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        match recognise(bytes) {
            Ok(_) => panic!("taken for a plugin: {bytes:?}"),
            Err(reason) => reason,
        }
    }

    #[test]
    fn whatever_is_no_plugin_is_called_by_its_name() {
        for (bytes, name) in [
            (&b""[..], "an empty file"),
            (b"hello", "a text file"),
            (b"#!/bin/sh", "a script"),
            (b"\x7fELF\x02", "an ELF program"),
            (b"\xff\xfe\xfd", "no wasm"),
            (b"\0asm\x01", "truncated wasm"),
            (b"\0asm\x07\0\0\0", "wasm of an unknown version"),
            (b"(module", "wrong .wat text"),
            (b"(module)", "a core module without a component type"),
            (b"(component)", "a component that exports nothing"),
            (b"(component (instance $i) (export \"wasi:cli/run@0.3.0\" (instance $i)))", "of another world"),
            (
                b"(component (instance $i) (export \"a:b/c@1.0.0\" (instance $i)))",
                "of another world (it exports a:b/c@1.0.0)",
            ),
            (b"(component (instance $i) (export \"wharf:handler/stream-handler@9.9.9\" (instance $i)))", "@9.9.9"),
            (
                b"(component (instance $i) (instance $j) (export \"wharf:handler/datagram-handler@0.1.0\" (instance $i)) \
                  (export \"wharf:handler/stream-handler@0.1.0\" (instance $j)))",
                "both a stream handler and a datagram handler",
            ),
        ] {
            let reason = refusal(bytes);
            assert!(reason.contains(name), "{name}: {reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn patch_versions_of_the_contract_are_compatible() {
        let exporting = |version: &str| [format!("wharf:handler/stream-handler@{version}")];
        assert!(kind(&exporting("0.1.0")).is_ok());
        assert!(kind(&exporting("0.1.7")).is_ok());
        assert!(kind(&exporting("0.10.0")).is_err());
        assert!(kind(&exporting("0.2.0")).is_err());
    }

    #[test]
    fn a_survey_counts_what_an_instance_takes_and_finds_the_manifest() {
        let component = wat::parse_str(
            r#"(component
                (core module $m (memory 2) (table 7 funcref) (@custom "wharf:manifest" "inner"))
                (core instance (instantiate $m)))"#,
        )
        .unwrap();
        let survey = Survey::of(&component).unwrap();
        let expected = Demand { memories: 1, memory: 2 << 16, tables: 1, table_elements: 7, core_instances: 1 };
        assert_eq!(survey.demand, expected);
        assert_eq!(survey.manifest.as_deref(), Some(&b"inner"[..]));
    }
}
