//! Finds the one core module that a handler's component is made of, and what its imports lead to.
//!
//! What wit-component and its like make of a module is that module, a shim of indirect calls before its imports, and a fixup that
//! fills the shim's table. All of it is followed here, definition by definition, so that nothing is taken for granted of a component
//! that somebody else made: whatever can't be followed stays a component.

use std::ops::Range;

use wasmparser::types::Types;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentTypeRef, ExternalKind,
    Instance, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

use super::super::contract::PACKAGE;
use super::super::recognise::{Interface, WASI_0_1};
use super::modules::{exports, filled, imports_of, is_empty, is_shim, slot_of, started};
use super::types::{function, instance, type_of};

/// A module that can do without its component.
pub(super) struct Extracted<'a> {
    pub(super) module: &'a [u8],
    /// For each of its imports, all of which are functions, in their order.
    pub(super) imports: Vec<Import>,
    /// `setup`, `handle` and `finish`.
    pub(super) phases: [Phase; 3],
    /// Called once, before all else.
    pub(super) initialize: Option<String>,
    pub(super) memory: String,
    pub(super) realloc: String,
}

/// The names of two exports.
pub(super) struct Phase {
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

/// The most imports that a module may have: all that there are for it are some sixty.
const MOST_IMPORTS: usize = 128;

/// What a component imports of WASI 0.2 if its adapter has this function of WASI 0.1 from the host. One that answers by itself,
/// with files of its own for one, is to be asked itself.
fn behind(function: &str) -> Option<&'static str> {
    Some(match function {
        "fd_write" | "fd_read" => "wasi:io/streams@0.2.",
        "environ_get" | "environ_sizes_get" | "args_get" | "args_sizes_get" => "wasi:cli/environment@0.2.",
        "proc_exit" => "wasi:cli/exit@0.2.",
        "clock_time_get" | "clock_res_get" => "wasi:clocks/wall-clock@0.2.",
        "random_get" => "wasi:random/random@0.2.",
        "poll_oneoff" => "wasi:io/poll@0.2.",
        _ if function.starts_with("fd_") || function.starts_with("path_") => "wasi:filesystem/types@0.2.",
        _ => return None,
    })
}

/// Takes the module out of a component that exports `interface` of this version of the contract, and no other.
/// None if there is more to it than one module with the contract, with WASI 0.1 or with something to print by.
pub(super) fn extract<'a>(component: &'a [u8], interface: Interface, version: &str) -> Option<Extracted<'a>> {
    let parts = Parts::of(component)?;
    let export = format!("{PACKAGE}/{}@{version}", interface.name());
    // Hooks are called in instances of their own, and pass values that only the component model takes apart.
    if parts.exports != [export.as_str()] {
        return None;
    }
    let packet = if interface == Interface::Datagram { "(list<u8>)" } else { "()" };
    let types = [packet, packet, "()"].map(|params| format!("{params} -> result<_, string>"));
    let exported = instance(&parts.types, parts.types.component_item_for_export(&export)?.ty)?;
    let mut phases = Vec::new();
    let (mut main, mut memory, mut realloc) = (None, None, None);
    for (name, expected) in ["setup", "handle", "finish"].into_iter().zip(types) {
        if function(&parts.types, exported.get(name)?.ty)? != expected {
            return None;
        }
        let call = format!("{export}#{name}");
        let (lifted, options) = parts.lifted.iter().find(|(lifted, _)| lifted.1 == call)?;
        (*main.get_or_insert(lifted.0) == lifted.0).then_some(())?;
        let options = parts.options(options, lifted.0)?;
        memory = memory.or(options.memory);
        realloc = realloc.or(options.realloc);
        phases.push(Phase { call, post_return: options.post_return });
    }
    let main = main?;
    let Defined::Module(module, arguments) = parts.instances.get(main as usize)? else { return None };
    let module = &component[parts.modules.get(*module as usize)?.clone()];
    let mut imports = Vec::new();
    for import in imports_of(module)? {
        // Each is followed through the component by itself.
        if imports.len() == MOST_IMPORTS {
            return None;
        }
        let target = if import.module == WASI_0_1 {
            parts.imports_a(behind(import.name)?).then(|| Import::Wasi01(import.name.to_owned()))?
        } else {
            let arguments = arguments.iter().find(|(name, _)| *name == import.module)?.1;
            let found = parts.follow(arguments, import.name, component)?;
            match found {
                CoreFunc::Lowered { instance, name, options } => {
                    let target = parts.import(*instance, name)?;
                    let options = parts.options(options, main)?;
                    realloc = realloc.or(options.realloc);
                    target
                }
                CoreFunc::Dropped => Import::Print(Print::Drop),
                CoreFunc::Alias(..) | CoreFunc::Other => return None,
            }
        };
        imports.push(target);
    }
    let initialize =
        parts.only_helpers_beside(main, component, imports.iter().any(|i| matches!(i, Import::Wasi01(_))))?;
    let realloc = realloc.or_else(|| exports(module, "cabi_realloc").then(|| "cabi_realloc".to_owned()))?;
    Some(Extracted { module, imports, phases: phases.try_into().ok()?, initialize, memory: memory?, realloc })
}

/// A component's definitions, as far as they matter here, each in its index space.
struct Parts<'a> {
    types: Types,
    modules: Vec<Range<usize>>,
    instances: Vec<Defined<'a>>,
    core_funcs: Vec<CoreFunc<'a>>,
    memories: Vec<(u32, &'a str)>,
    tables: Vec<(u32, &'a str)>,
    /// Imported instances by name; the others are nobody's here.
    imported: Vec<Option<&'a str>>,
    /// Functions that are exports of imported instances.
    funcs: Vec<Option<(u32, &'a str)>>,
    /// What is lifted: exports of core instances.
    lifted: Vec<Lifted<'a>>,
    exports: Vec<&'a str>,
}

/// An export of a core instance that is lifted, and with what.
type Lifted<'a> = ((u32, &'a str), Box<[CanonicalOption]>);

/// A core instance.
enum Defined<'a> {
    /// Of a module, with what it is given by name.
    Module(u32, Vec<(&'a str, u32)>),
    /// Of definitions.
    Exports(Vec<(&'a str, ExternalKind, u32)>),
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

impl<'a> Parts<'a> {
    fn of(component: &'a [u8]) -> Option<Self> {
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut parts = Self {
            // Replaced below: a component ends with its types.
            types: Validator::new().validate_all(b"\0asm\x0d\0\x01\0").ok()?,
            modules: Vec::new(),
            instances: Vec::new(),
            core_funcs: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            imported: Vec::new(),
            funcs: Vec::new(),
            lifted: Vec::new(),
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
                Payload::ComponentSection { .. } => depth += 1,
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
                            Defined::Exports(exports.iter().map(|e| (e.name, e.kind, e.index)).collect())
                        }
                    });
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    match function.ok()? {
                        CanonicalFunction::Lift { core_func_index, options, .. } => {
                            self.funcs.push(None);
                            if let CoreFunc::Alias(instance, name) = self.core_funcs.get(core_func_index as usize)? {
                                self.lifted.push(((*instance, *name), options));
                            }
                        }
                        CanonicalFunction::Lower { func_index, options } => {
                            let lowered = match self.funcs.get(func_index as usize)? {
                                Some((instance, name)) => CoreFunc::Lowered { instance: *instance, name, options },
                                None => CoreFunc::Other,
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
                            self.funcs.push(Some((instance_index, name)));
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Instance, .. } => {
                            self.imported.push(None);
                        }
                        // Modules from elsewhere would shift those of this component.
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => return None,
                        ComponentAlias::InstanceExport { .. } | ComponentAlias::Outer { .. } => {}
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import.ok()?;
                    match import.ty {
                        ComponentTypeRef::Instance(_) => self.imported.push(Some(import.name.name)),
                        ComponentTypeRef::Func(_) => self.funcs.push(None),
                        ComponentTypeRef::Module(_) => return None,
                        _ => {}
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                self.imported.extend(instances.into_iter().map(|_| None));
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export.ok()?;
                    self.exports.push(export.name.name);
                    match export.kind {
                        ComponentExternalKind::Instance => self.imported.push(None),
                        ComponentExternalKind::Func => self.funcs.push(None),
                        _ => {}
                    }
                }
            }
            Payload::ComponentStartSection { .. } => return None,
            _ => {}
        }
        Some(())
    }

    /// Whether it imports an instance whose name begins so.
    fn imports_a(&self, interface: &str) -> bool {
        self.imported.iter().flatten().any(|name| name.starts_with(interface))
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

    /// What a function of an imported instance is, if it is one of the contract's and of its type there, or what one prints by.
    fn import(&self, instance: u32, name: &str) -> Option<Import> {
        let interface = (*self.imported.get(instance as usize)?)?;
        let of = |prefix: &str| interface.strip_prefix(prefix).is_some_and(|version| version.starts_with("0.2."));
        match name {
            "get-stdout" if of("wasi:cli/stdout@") => return Some(Import::Print(Print::Stdout)),
            "get-stderr" if of("wasi:cli/stderr@") => return Some(Import::Print(Print::Stderr)),
            "[method]output-stream.blocking-write-and-flush" if of("wasi:io/streams@") => {
                return Some(Import::Print(Print::Write));
            }
            _ => {}
        }
        let connection = interface.strip_prefix(PACKAGE)?.strip_prefix("/connection@").is_some();
        let datagram = interface.strip_prefix(PACKAGE)?.strip_prefix("/datagram@").is_some();
        let belongs = match name {
            "client-address" | "server-address" => connection || datagram,
            "send-to" => datagram,
            _ => connection,
        };
        let exports = super::types::instance(&self.types, self.types.component_item_for_import(interface)?.ty)?;
        let typed = function(&self.types, exports.get(name)?.ty)? == type_of(name)?;
        (belongs && typed).then(|| Import::Contract(name.to_owned()))
    }

    /// The function that an instance given to the main module has under `name`, through the shim if there is one.
    fn follow(&self, instance: u32, name: &str, component: &[u8]) -> Option<&CoreFunc<'a>> {
        let Defined::Exports(exports) = self.instances.get(instance as usize)? else { return None };
        let index = exports.iter().find(|(export, kind, _)| *export == name && *kind == ExternalKind::Func)?.2;
        let function = self.core_funcs.get(index as usize)?;
        let CoreFunc::Alias(shim, export) = function else { return Some(function) };
        let Defined::Module(module, _) = self.instances.get(*shim as usize)? else { return None };
        let (slot, table) = slot_of(&component[self.modules.get(*module as usize)?.clone()], export)?;
        let fixup = self.instances.iter().find_map(|instance| self.fills(instance, *shim, &table, component))?;
        let index = *fixup.get(slot as usize)?;
        self.core_funcs.get(index as usize)
    }

    /// The functions that this instance puts into the shim's table, if that is what it does.
    fn fills(&self, instance: &Defined<'a>, shim: u32, table: &str, component: &[u8]) -> Option<Vec<u32>> {
        let Defined::Module(module, arguments) = instance else { return None };
        let given = |module: &str, name: &str, wanted: ExternalKind| {
            let arguments = arguments.iter().find(|(argument, _)| *argument == module)?.1;
            let Defined::Exports(exports) = self.instances.get(arguments as usize)? else { return None };
            exports.iter().find(|(export, kind, _)| *export == name && *kind == wanted).map(|(_, _, index)| *index)
        };
        let filled = filled(&component[self.modules.get(*module as usize)?.clone()])?;
        let (table_module, table_name) = filled.table;
        let filled_table = self.tables.get(given(table_module, table_name, ExternalKind::Table)? as usize)?;
        (*filled_table == (shim, table)).then_some(())?;
        filled.functions.iter().map(|(module, name)| given(module, name, ExternalKind::Func)).collect()
    }

    /// Makes sure that no other module has a part in this but those that are there for its sake, and finds out what is called first
    /// of all, if anything is.
    fn only_helpers_beside(&self, main: u32, component: &[u8], adapted: bool) -> Option<Option<String>> {
        let mut initialize = None;
        for (index, instance) in self.instances.iter().enumerate() {
            let Defined::Module(module, arguments) = instance else { continue };
            if index == main as usize {
                continue;
            }
            let module = &component[self.modules.get(*module as usize)?.clone()];
            if let Some((from, name)) = started(module)? {
                let arguments = arguments.iter().find(|(argument, _)| *argument == from)?.1;
                let Defined::Exports(exports) = self.instances.get(arguments as usize)? else { return None };
                let function = exports.iter().find(|(export, ..)| *export == name)?.2;
                let CoreFunc::Alias(instance, export) = self.core_funcs.get(function as usize)? else { return None };
                (*instance == main && initialize.is_none()).then_some(())?;
                initialize = Some((*export).to_owned());
            }
            // What the adapter of WASI 0.1 does, the host does without it.
            if !(adapted || is_shim(module)? || filled(module).is_some() || is_empty(module)?) {
                return None;
            }
        }
        Some(initialize)
    }
}
