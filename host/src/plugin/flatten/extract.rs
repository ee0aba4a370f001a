//! Finds the one core module that a handler's component is made of, and what its imports lead to.
//!
//! What wit-component and its like make of a module is that module, a shim of indirect calls before
//! its imports, and a fixup that fills the shim's table. All of it is followed here, definition by
//! definition, so that nothing is taken for granted of a component that somebody else made:
//! whatever can't be followed stays a component.

use std::ops::Range;

use wasmparser::types::Types;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, ExternalKind, Instance, Parser, Payload, ValidPayload, Validator,
    WasmFeatures,
};

use super::super::recognise::WASI_0_1;
use super::modules::{exports, filled, imports_of, is_empty, is_shim, passed_on, slot_of, started};
use super::types::{PACKET_PHASE, PHASE, instance, is_function, type_of};
use crate::sandbox::{Interface, PACKAGE, is_spoken};

/// A module that can do without its component.
pub(super) struct Extracted<'a> {
    pub(super) module: &'a [u8],
    /// For each of its imports, all of which are functions, in their order.
    pub(super) imports: Vec<Import>,
    /// `setup`, `handle` and `finish`.
    pub(super) phases: [PhaseExport; 3],
    /// Called once, before all else.
    pub(super) initialize: Option<String>,
    pub(super) memory: String,
    pub(super) realloc: String,
}

/// The names of two exports.
pub(super) struct PhaseExport {
    pub(super) call: String,
    /// Called with what `call` returned, once that has been read.
    pub(super) post_return: Option<String>,
}

/// What a module's import leads to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Import {
    /// A function of the contract.
    Contract(String),
    /// A function of WASI 0.1, for which the component has an adapter.
    Wasi01(String),
    /// What a guest without WASI prints by.
    Print(Print),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Print {
    Stdout,
    Stderr,
    Write,
    Drop,
}

/// Whether an adapter of WASI 0.1 has this function beside those of WASI 0.1, for guests that know
/// that it is there.
fn is_adapters_own(name: &str) -> bool {
    name.starts_with("adapter_") || name == "reset_adapter_state"
}

/// The most imports that a module may have: all that there are for it are some sixty.
const MOST_IMPORTS: usize = 128;
/// The most core instances that are looked through for what they have to do with each other.
/// Toolchains make some ten.
const MOST_INSTANCES: usize = 64;

/// Takes the module out of a component that exports `interface` of this version of the contract,
/// and no other. None if there is more to it than one module with the contract, with WASI 0.1 or
/// with something to print by.
///
/// WASI 0.1 is the host's own to answer where the component's adapter is the host's own too, as it
/// is with `own_adapter`. Another adapter may do as it likes, and is to be asked itself.
pub(super) fn extract<'a>(
    component: &'a [u8],
    interface: Interface,
    version: &str,
    own_adapter: bool,
) -> Option<Extracted<'a>> {
    let parts = Parts::of(component)?;
    let export = format!("{PACKAGE}/{}@{version}", interface.name());
    // Hooks are called in instances of their own, and pass values that only the component model
    // takes apart.
    let [(exported, ComponentExternalKind::Instance, index)] = parts.exports[..] else { return None };
    if exported != export {
        return None;
    }
    let signature = if interface == Interface::Datagram { &PACKET_PHASE } else { &PHASE };
    let types = instance(&parts.types, parts.types.component_item_for_export(&export)?.ty)?;
    let mut phases = Vec::new();
    let (mut main, mut named) = (None, Options::default());
    for (name, signature) in [("setup", signature), ("handle", signature), ("finish", &PHASE)] {
        if !is_function(&parts.types, types.get(name)?.ty, signature) {
            return None;
        }
        let (core, options) = parts.lifted(index, name, component)?;
        let CoreFunc::Alias(instance, call) = parts.core_funcs.get(core as usize)? else { return None };
        (*main.get_or_insert(*instance) == *instance).then_some(())?;
        let options = parts.options(options, *instance)?;
        phases.push(PhaseExport { call: (*call).to_owned(), post_return: options.post_return.clone() });
        named.agree(options)?;
    }
    let main = main?;
    let Defined::Module(module, arguments) = parts.instances.get(main as usize)? else { return None };
    let module = &component[parts.modules.get(*module as usize)?.clone()];
    let fixups = parts.fixups(component)?;
    let mut imports = Vec::new();
    for import in imports_of(module)? {
        // Each is followed through the component by itself.
        if imports.len() == MOST_IMPORTS {
            return None;
        }
        let target = if import.module == WASI_0_1 {
            (own_adapter && !is_adapters_own(import.name)).then(|| Import::Wasi01(import.name.to_owned()))?
        } else {
            let arguments = arguments.iter().find(|(name, _)| *name == import.module)?.1;
            match parts.follow(arguments, import.name, &fixups, component)? {
                CoreFunc::Lowered { instance, name, options } => {
                    let target = parts.import(*instance, name)?;
                    named.agree(parts.options(options, main)?)?;
                    target
                }
                CoreFunc::Dropped => Import::Print(Print::Drop),
                CoreFunc::Alias(..) | CoreFunc::Other => return None,
            }
        };
        imports.push(target);
    }
    let adapted = imports.iter().any(|import| matches!(import, Import::Wasi01(_)));
    let initialize = parts.only_helpers_beside(main, component, adapted)?;
    let realloc = named.realloc.or_else(|| exports(module, "cabi_realloc").then(|| "cabi_realloc".to_owned()))?;
    Some(Extracted { module, imports, phases: phases.try_into().ok()?, initialize, memory: named.memory?, realloc })
}

/// A component's definitions, as far as they matter here, each in its index space.
struct Parts<'a> {
    types: Types,
    modules: Vec<Range<usize>>,
    components: Vec<Range<usize>>,
    instances: Vec<Defined<'a>>,
    core_funcs: Vec<CoreFunc<'a>>,
    memories: Vec<(u32, &'a str)>,
    tables: Vec<(u32, &'a str)>,
    component_instances: Vec<Composed<'a>>,
    funcs: Vec<Func<'a>>,
    exports: Vec<(&'a str, ComponentExternalKind, u32)>,
}

/// An instance of a component.
enum Composed<'a> {
    Imported(&'a str),
    /// Of a component, with the functions that it is given by name.
    Component(u32, Vec<(&'a str, u32)>),
    /// Of functions.
    ExportedTypes(Vec<(&'a str, u32)>),
    Other,
}

/// A component's function.
enum Func<'a> {
    /// An export of an instance.
    Of(u32, &'a str),
    /// A core function, and what it is lifted with.
    Lifted(u32, Box<[CanonicalOption]>),
    Other,
}

/// What an instance puts into the table of another: functions by their index.
struct Fixup<'a> {
    table: (u32, &'a str),
    functions: Vec<u32>,
}

/// A core instance.
enum Defined<'a> {
    /// Of a module, with what it is given by name.
    Module(u32, Vec<(&'a str, u32)>),
    /// Of definitions.
    ExportedTypes(Vec<(&'a str, ExternalKind, u32)>),
}

/// A core function.
enum CoreFunc<'a> {
    /// Of an imported instance.
    Lowered {
        instance: u32,
        name: &'a str,
        options: Box<[CanonicalOption]>,
    },
    /// What drops a handle.
    Dropped,
    /// A core instance's.
    Alias(u32, &'a str),
    Other,
}

/// What a function is lifted or lowered with, as exports of the main module.
#[derive(Default)]
struct Options {
    memory: Option<String>,
    realloc: Option<String>,
    post_return: Option<String>,
}

impl Options {
    /// Takes in what another function is lifted or lowered with. None where that is another memory,
    /// or another function to make room by: one of each is all that a module without its component
    /// has.
    fn agree(&mut self, other: Self) -> Option<()> {
        for (one, other) in [(&mut self.memory, other.memory), (&mut self.realloc, other.realloc)] {
            match (&one, other) {
                (Some(one), Some(other)) if **one != other => return None,
                (None, Some(other)) => *one = Some(other),
                _ => {}
            }
        }
        Some(())
    }
}

impl<'a> Parts<'a> {
    fn of(component: &'a [u8]) -> Option<Self> {
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut parts = Self {
            // Replaced below: a component ends with its types.
            types: Validator::new().validate_all(b"\0asm\x0d\0\x01\0").ok()?,
            modules: Vec::new(),
            components: Vec::new(),
            instances: Vec::new(),
            core_funcs: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            component_instances: Vec::new(),
            funcs: Vec::new(),
            exports: Vec::new(),
        };
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.ok()?;
            // Functions' bodies are the compiler's to look at.
            if let ValidPayload::End(types) = validator.payload(&payload).ok()? {
                parts.types = types;
            }
            match &payload {
                Payload::ModuleSection { unchecked_range, .. } => {
                    if depth == 0 {
                        parts.modules.push(unchecked_range.clone());
                    }
                    depth += 1;
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    if depth == 0 {
                        parts.components.push(unchecked_range.clone());
                    }
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth == 0 => parts.define(payload)?,
                _ => {}
            }
        }
        Some(parts)
    }

    fn define(&mut self, payload: Payload<'a>) -> Option<()> {
        match payload {
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    self.instances.push(match instance.ok()? {
                        Instance::Instantiate { module_index, args } => {
                            Defined::Module(module_index, args.iter().map(|arg| (arg.name, arg.index)).collect())
                        }
                        Instance::FromExports(exports) => {
                            Defined::ExportedTypes(exports.iter().map(|e| (e.name, e.kind, e.index)).collect())
                        }
                    });
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    match function.ok()? {
                        CanonicalFunction::Lift { core_func_index, options, .. } => {
                            self.funcs.push(Func::Lifted(core_func_index, options));
                        }
                        CanonicalFunction::Lower { func_index, options } => {
                            let lowered = match self.funcs.get(func_index as usize)? {
                                Func::Of(instance, name) => CoreFunc::Lowered { instance: *instance, name, options },
                                Func::Lifted(..) | Func::Other => CoreFunc::Other,
                            };
                            self.core_funcs.push(lowered);
                        }
                        CanonicalFunction::ResourceDrop { .. } => self.core_funcs.push(CoreFunc::Dropped),
                        _ => self.core_funcs.push(CoreFunc::Other),
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    match alias.ok()? {
                        ComponentAlias::CoreInstanceExport { kind, instance_index, name } => match kind {
                            ExternalKind::Func => self.core_funcs.push(CoreFunc::Alias(instance_index, name)),
                            ExternalKind::Memory => self.memories.push((instance_index, name)),
                            ExternalKind::Table => self.tables.push((instance_index, name)),
                            _ => {}
                        },
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Func, instance_index, name } => {
                            self.funcs.push(Func::Of(instance_index, name));
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Instance, .. } => {
                            self.component_instances.push(Composed::Other);
                        }
                        // Modules and components by another name would shift those of this
                        // component. An outer one may be its own.
                        ComponentAlias::InstanceExport {
                            kind: ComponentExternalKind::Module | ComponentExternalKind::Component,
                            ..
                        }
                        | ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::CoreModule | ComponentOuterAliasKind::Component,
                            ..
                        } => return None,
                        ComponentAlias::InstanceExport { .. } | ComponentAlias::Outer { .. } => {}
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import.ok()?;
                    match import.ty {
                        ComponentTypeRef::Instance(_) => {
                            self.component_instances.push(Composed::Imported(import.name.name));
                        }
                        ComponentTypeRef::Func(_) => self.funcs.push(Func::Other),
                        ComponentTypeRef::Module(_) | ComponentTypeRef::Component(_) => return None,
                        _ => {}
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    self.component_instances.push(match instance.ok()? {
                        ComponentInstance::Instantiate { component_index, args } => {
                            let functions = args.iter().filter(|arg| arg.kind == ComponentExternalKind::Func);
                            let functions = functions.map(|arg| (arg.name, arg.index)).collect();
                            Composed::Component(component_index, functions)
                        }
                        ComponentInstance::FromExports(exports) => {
                            let functions = exports.iter().filter(|export| export.kind == ComponentExternalKind::Func);
                            Composed::ExportedTypes(functions.map(|export| (export.name.name, export.index)).collect())
                        }
                    });
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export.ok()?;
                    self.exports.push((export.name.name, export.kind, export.index));
                    match export.kind {
                        ComponentExternalKind::Instance => self.component_instances.push(Composed::Other),
                        ComponentExternalKind::Func => self.funcs.push(Func::Other),
                        _ => {}
                    }
                }
            }
            Payload::ComponentStartSection { .. } => return None,
            _ => {}
        }
        Some(())
    }

    /// The core function that is lifted to be this export of an instance, and what it is lifted
    /// with.
    fn lifted(&self, instance: u32, name: &str, component: &[u8]) -> Option<(u32, &[CanonicalOption])> {
        let named = |functions: &[(&str, u32)], name: &str| {
            functions.iter().find(|(function, _)| *function == name).map(|(_, index)| *index)
        };
        let index = match self.component_instances.get(instance as usize)? {
            Composed::ExportedTypes(functions) => named(functions, name)?,
            // One that is there for the sake of types, and passes on what it is given.
            Composed::Component(index, functions) => {
                let nested = &component[self.components.get(*index as usize)?.clone()];
                named(functions, passed_on(nested, name)?)?
            }
            Composed::Imported(_) | Composed::Other => return None,
        };
        let Func::Lifted(core, options) = self.funcs.get(index as usize)? else { return None };
        Some((*core, options))
    }

    /// The options of a function, where all that they name is `main`'s.
    fn options(&self, options: &[CanonicalOption], main: u32) -> Option<Options> {
        let mut named = Options::default();
        let core_func = |index: u32| match self.core_funcs.get(index as usize)? {
            CoreFunc::Alias(instance, name) if *instance == main => Some((*name).to_owned()),
            _ => None,
        };
        for option in options {
            match option {
                CanonicalOption::UTF8 => {}
                CanonicalOption::Memory(index) => {
                    let (instance, name) = self.memories.get(*index as usize)?;
                    (*instance == main).then_some(())?;
                    named.memory = Some((*name).to_owned());
                }
                CanonicalOption::Realloc(index) => named.realloc = Some(core_func(*index)?),
                CanonicalOption::PostReturn(index) => named.post_return = Some(core_func(*index)?),
                _ => return None,
            }
        }
        Some(named)
    }

    /// What a function of an imported instance is, if it is one of the contract's and of its type
    /// there, or what one prints by.
    fn import(&self, instance: u32, name: &str) -> Option<Import> {
        let Composed::Imported(interface) = self.component_instances.get(instance as usize)? else { return None };
        let of = |prefix: &str| interface.strip_prefix(prefix).is_some_and(|version| version.starts_with("0.2."));
        match name {
            "get-stdout" if of("wasi:cli/stdout@") => return Some(Import::Print(Print::Stdout)),
            "get-stderr" if of("wasi:cli/stderr@") => return Some(Import::Print(Print::Stderr)),
            "[method]output-stream.blocking-write-and-flush" if of("wasi:io/streams@") => {
                return Some(Import::Print(Print::Write));
            }
            _ => {}
        }
        let (interface_name, version) = interface.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')?;
        let belongs = is_spoken(version)
            && match name {
                "client-address" | "server-address" => matches!(interface_name, "connection" | "datagram"),
                "send-to" => interface_name == "datagram",
                _ => interface_name == "connection",
            };
        let exports = super::types::instance(&self.types, self.types.component_item_for_import(interface)?.ty)?;
        let typed = is_function(&self.types, exports.get(name)?.ty, type_of(name)?);
        (belongs && typed).then(|| Import::Contract(name.to_owned()))
    }

    /// The function that an instance given to the main module has under `name`, through the shim if
    /// there is one.
    fn follow(&self, instance: u32, name: &str, fixups: &[Fixup<'_>], component: &[u8]) -> Option<&CoreFunc<'a>> {
        let Defined::ExportedTypes(exports) = self.instances.get(instance as usize)? else { return None };
        let index = exports.iter().find(|(export, kind, _)| *export == name && *kind == ExternalKind::Func)?.2;
        let function = self.core_funcs.get(index as usize)?;
        let CoreFunc::Alias(shim, export) = function else { return Some(function) };
        let (slot, table) = slot_of(self.module_of(*shim, component)?, export)?;
        let mut filling = fixups.iter().filter(|fixup| fixup.table == (*shim, table.as_str()));
        // Of two that fill one table the last would count, in each of its places.
        let (Some(fixup), None) = (filling.next(), filling.next()) else { return None };
        self.core_funcs.get(*fixup.functions.get(slot as usize)? as usize)
    }

    /// The bytes of the module that a core instance is of.
    fn module_of<'b>(&self, instance: u32, component: &'b [u8]) -> Option<&'b [u8]> {
        let Defined::Module(module, _) = self.instances.get(instance as usize)? else { return None };
        Some(&component[self.modules.get(*module as usize)?.clone()])
    }

    /// All that instances put into tables of others, each looked at once.
    fn fixups(&self, component: &[u8]) -> Option<Vec<Fixup<'a>>> {
        if self.instances.len() > MOST_INSTANCES {
            return None;
        }
        Some((0..self.instances.len()).filter_map(|index| self.fixup(index as u32, component)).collect())
    }

    fn fixup(&self, instance: u32, component: &[u8]) -> Option<Fixup<'a>> {
        let Defined::Module(_, arguments) = self.instances.get(instance as usize)? else { return None };
        let filled = filled(self.module_of(instance, component)?)?;
        (filled.functions.len() <= MOST_IMPORTS).then_some(())?;
        let given = |module: &str, name: &str, wanted: ExternalKind| {
            let arguments = arguments.iter().find(|(argument, _)| *argument == module)?.1;
            let Defined::ExportedTypes(exports) = self.instances.get(arguments as usize)? else { return None };
            exports.iter().find(|(export, kind, _)| *export == name && *kind == wanted).map(|(_, _, index)| *index)
        };
        let (table_module, table_name) = filled.table;
        let table = *self.tables.get(given(table_module, table_name, ExternalKind::Table)? as usize)?;
        let functions: Option<_> =
            filled.functions.iter().map(|(module, name)| given(module, name, ExternalKind::Func)).collect();
        Some(Fixup { table, functions: functions? })
    }

    /// Makes sure that no other module has a part in this but those that are there for its sake,
    /// and finds out what is called first of all, if anything is.
    fn only_helpers_beside(&self, main: u32, component: &[u8], adapted: bool) -> Option<Option<String>> {
        let mut initialize = None;
        for (index, instance) in self.instances.iter().enumerate() {
            let Defined::Module(_, arguments) = instance else { continue };
            if index == main as usize {
                continue;
            }
            let module = self.module_of(index as u32, component)?;
            if let Some((from, name)) = started(module)? {
                let arguments = arguments.iter().find(|(argument, _)| *argument == from)?.1;
                let Defined::ExportedTypes(exports) = self.instances.get(arguments as usize)? else { return None };
                let function = exports.iter().find(|(export, ..)| *export == name)?.2;
                let CoreFunc::Alias(instance, export) = self.core_funcs.get(function as usize)? else { return None };
                (*instance == main && initialize.is_none()).then_some(())?;
                initialize = Some((*export).to_owned());
            }
            // What the adapter of WASI 0.1 does, the host does without it.
            let helps = adapted
                || is_shim(module)
                || is_empty(module)?
                // Of a shim, and of nobody who would miss what was there.
                || match self.fixup(index as u32, component) {
                    Some(fixup) => is_shim(self.module_of(fixup.table.0, component)?),
                    None => false,
                };
            if !helps {
                return None;
            }
        }
        Some(initialize)
    }
}
