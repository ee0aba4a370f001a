//! Finds the one core module that a handler's component is made of, and what its imports lead to.
//!
//! What wit-component and its like make of a module is that module, a shim of indirect calls before its imports, and a fixup that
//! fills the shim's table. All of it is followed here, definition by definition, so that nothing is taken for granted of a component
//! that somebody else made: whatever can't be followed stays a component.

use std::ops::Range;

use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentItem, ComponentValType, VariantCase,
};
use wasmparser::types::Types;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentTypeRef, ElementItems,
    ElementKind, ExternalKind, Instance, Operator, Parser, Payload, TableInit, TypeRef, ValidPayload, Validator,
    WasmFeatures,
};

use super::super::contract::PACKAGE;
use super::super::recognise::{Interface, WASI_0_1};

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

const ERROR_CODE: &str =
    "variant{timed-out, connection-reset, broken-pipe, message-too-large, not-permitted, other(string)}";
const ADDRESS: &str = "variant{inet(record{ip: string, port: u16}), unix(option<string>)}";

/// The types of all that a handler may import from the contract.
fn type_of(function: &str) -> Option<String> {
    Some(match function {
        "recv" => format!("(u32) -> result<list<u8>, {ERROR_CODE}>"),
        "send" => format!("(list<u8>) -> result<_, {ERROR_CODE}>"),
        "shutdown" => format!("(enum{{read, write, both}}) -> result<_, {ERROR_CODE}>"),
        "set-timeout" => "(option<u64>)".to_owned(),
        "client-address" | "server-address" => format!("() -> {ADDRESS}"),
        "start-tls" => format!("() -> result<_, {ERROR_CODE}>"),
        "send-to" => format!("(list<u8>, {ADDRESS}) -> result<_, {ERROR_CODE}>"),
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
        let target = if import.module == WASI_0_1 {
            Import::Wasi01(import.name.to_owned())
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
    lifted: Vec<((u32, &'a str), Box<[CanonicalOption]>)>,
    exports: Vec<&'a str>,
}

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
                        let range = unchecked_range;
                        parts.modules.push(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?);
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
        let exports = self::instance(&self.types, self.types.component_item_for_import(interface)?.ty)?;
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

/// A module's import of a function.
struct Imported<'a> {
    module: &'a str,
    name: &'a str,
}

/// The imports of a module that imports functions alone.
fn imports_of(module: &[u8]) -> Option<Vec<Imported<'_>>> {
    let mut all = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(imports) = payload.ok()? {
            for import in imports.into_imports() {
                let import = import.ok()?;
                let TypeRef::Func(_) = import.ty else { return None };
                all.push(Imported { module: import.module, name: import.name });
            }
        }
    }
    Some(all)
}

fn exports(module: &[u8], name: &str) -> bool {
    Parser::new(0).parse_all(module).flatten().any(|payload| match payload {
        Payload::ExportSection(exports) => exports.into_iter().flatten().any(|export| export.name == name),
        _ => false,
    })
}

/// Which place of which of its tables a shim's function calls, and does nothing else.
fn slot_of(shim: &[u8], function: &str) -> Option<(u32, String)> {
    is_shim(shim)?.then_some(())?;
    let (mut index, mut table, mut body) = (None, None, 0);
    for payload in Parser::new(0).parse_all(shim) {
        match payload.ok()? {
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.ok()?;
                    match export.kind {
                        ExternalKind::Func if export.name == function => index = Some(export.index),
                        ExternalKind::Table => table = Some(export.name.to_owned()),
                        _ => {}
                    }
                }
            }
            Payload::CodeSectionEntry(code) => {
                if Some(body) == index {
                    return Some((indirect(&code)?, table?));
                }
                body += 1;
            }
            _ => {}
        }
    }
    None
}

/// The place that a function calls with all its parameters.
fn indirect(code: &wasmparser::FunctionBody<'_>) -> Option<u32> {
    let mut operators = code.get_operators_reader().ok()?;
    let mut next = 0;
    let slot = loop {
        match operators.read().ok()? {
            Operator::LocalGet { local_index } if local_index == next => next += 1,
            Operator::I32Const { value } => break u32::try_from(value).ok()?,
            _ => return None,
        }
    };
    let Operator::CallIndirect { table_index: 0, .. } = operators.read().ok()? else { return None };
    let Operator::End = operators.read().ok()? else { return None };
    operators.eof().then_some(slot)
}

/// Whether a module is nothing but one table of its own and functions that call what is in it.
fn is_shim(module: &[u8]) -> Option<bool> {
    let (mut tables, mut functions) = (0, true);
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::TableSection(section) => {
                for table in section {
                    tables += 1;
                    functions &= matches!(table.ok()?.init, TableInit::RefNull);
                }
            }
            Payload::CodeSectionEntry(code) => functions &= indirect(&code).is_some(),
            Payload::ImportSection(_)
            | Payload::MemorySection(_)
            | Payload::GlobalSection(_)
            | Payload::ElementSection(_)
            | Payload::DataSection(_)
            | Payload::StartSection { .. } => return Some(false),
            _ => {}
        }
    }
    Some(tables == 1 && functions)
}

/// What a module does that fills a table with functions, all of them imported.
struct Filled<'a> {
    table: (&'a str, &'a str),
    functions: Vec<(&'a str, &'a str)>,
}

/// None if it does anything else; it may start something.
fn filled(module: &[u8]) -> Option<Filled<'_>> {
    let (mut table, mut functions, mut filled) = (None, Vec::new(), None);
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.ok()?;
                    match import.ty {
                        TypeRef::Func(_) => functions.push((import.module, import.name)),
                        TypeRef::Table(_) if table.is_none() => table = Some((import.module, import.name)),
                        _ => return None,
                    }
                }
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    let element = element.ok()?;
                    let ElementKind::Active { table_index: None | Some(0), offset_expr } = element.kind else {
                        return None;
                    };
                    let mut offset = offset_expr.get_operators_reader();
                    let Operator::I32Const { value: 0 } = offset.read().ok()? else { return None };
                    let Operator::End = offset.read().ok()? else { return None };
                    let ElementItems::Functions(items) = element.items else { return None };
                    let items: Vec<(&str, &str)> = items
                        .into_iter()
                        .map(|item| functions.get(item.ok()? as usize).copied())
                        .collect::<Option<_>>()?;
                    filled.replace(items).is_none().then_some(())?;
                }
            }
            Payload::Version { .. }
            | Payload::TypeSection(_)
            | Payload::CustomSection(_)
            | Payload::StartSection { .. }
            | Payload::End(_) => {}
            _ => return None,
        }
    }
    Some(Filled { table: table?, functions: filled? })
}

/// What a module imports in order to start it, if it starts anything.
fn started(module: &[u8]) -> Option<Option<(&str, &str)>> {
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.ok()?;
                    if let TypeRef::Func(_) = import.ty {
                        functions.push((import.module, import.name));
                    }
                }
            }
            // One that is its own stays there.
            Payload::StartSection { func, .. } => return functions.get(func as usize).copied().map(Some),
            _ => {}
        }
    }
    Some(None)
}

/// Whether a module has nothing of its own, though it may start something.
fn is_empty(module: &[u8]) -> Option<bool> {
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::Version { .. }
            | Payload::TypeSection(_)
            | Payload::ImportSection(_)
            | Payload::StartSection { .. }
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return Some(false),
        }
    }
    Some(true)
}

type Exports<'t> = &'t wasmparser::collections::IndexMap<String, ComponentItem>;

fn instance(types: &Types, ty: ComponentEntityType) -> Option<Exports<'_>> {
    let ComponentEntityType::Instance(id) = ty else { return None };
    Some(&types[id].exports)
}

/// A function's type in words, names of its parameters left out.
fn function(types: &Types, ty: ComponentEntityType) -> Option<String> {
    let ComponentEntityType::Func(id) = ty else { return None };
    let function = &types[id];
    if function.async_ {
        return None;
    }
    let params: Vec<String> = function.params.iter().map(|(_, ty)| value(types, *ty)).collect();
    let result = function.result.map(|ty| format!(" -> {}", value(types, ty))).unwrap_or_default();
    Some(format!("({}){result}", params.join(", ")))
}

/// A type in words, as far as the contract has such; what it has not is a `?`.
fn value(types: &Types, ty: ComponentValType) -> String {
    let of = |ty: &Option<ComponentValType>| ty.map_or("_".to_owned(), |ty| value(types, ty));
    let id = match ty {
        ComponentValType::Primitive(primitive) => return primitive.to_string(),
        ComponentValType::Type(id) => id,
    };
    match &types[id] {
        ComponentDefinedType::Primitive(primitive) => primitive.to_string(),
        ComponentDefinedType::Record(record) => {
            let fields: Vec<_> =
                record.fields.iter().map(|(name, ty)| format!("{name}: {}", value(types, *ty))).collect();
            format!("record{{{}}}", fields.join(", "))
        }
        ComponentDefinedType::Variant(variant) => {
            let case = |(name, case): (&wasmparser::names::KebabString, &VariantCase)| match case.ty {
                Some(ty) => format!("{name}({})", value(types, ty)),
                None => name.to_string(),
            };
            format!("variant{{{}}}", variant.cases.iter().map(case).collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::List { element, .. } => format!("list<{}>", value(types, *element)),
        ComponentDefinedType::Enum(names) => {
            format!("enum{{{}}}", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::Option { ty, .. } => format!("option<{}>", value(types, *ty)),
        ComponentDefinedType::Result { ok, err, .. } => match err {
            None => format!("result<{}>", of(ok)),
            Some(_) => format!("result<{}, {}>", of(ok), of(err)),
        },
        _ => "?".to_owned(),
    }
}
