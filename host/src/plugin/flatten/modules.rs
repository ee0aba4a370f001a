//! What the modules of a component are, of which most are there for another's sake.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef, ElementItems, ElementKind,
    ExternalKind, Operator, Parser, Payload, TableInit, TypeRef,
};

/// A module's import of a function.
pub(super) struct Imported<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

/// The imports of a module that imports functions alone.
pub(super) fn imports_of(module: &[u8]) -> Option<Vec<Imported<'_>>> {
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

/// Whether a module exports this.
pub(super) fn exports(module: &[u8], name: &str) -> bool {
    Parser::new(0).parse_all(module).flatten().any(|payload| match payload {
        Payload::ExportSection(exports) => exports.into_iter().flatten().any(|export| export.name == name),
        _ => false,
    })
}

/// The largest shim, in bytes, as it is read once for each import: one has some fifty for each
/// function.
const LARGEST_SHIM: usize = 64 << 10;

/// The place that a function of this type calls with all its parameters, and nothing less.
fn indirect(code: &wasmparser::FunctionBody<'_>, ty: u32, params: usize) -> Option<u32> {
    let mut operators = code.get_operators_reader().ok()?;
    let mut next = 0;
    let slot = loop {
        match operators.read().ok()? {
            Operator::LocalGet { local_index } if local_index == next => next += 1,
            Operator::I32Const { value } => break u32::try_from(value).ok()?,
            _ => return None,
        }
    };
    let Operator::CallIndirect { type_index, table_index: 0 } = operators.read().ok()? else { return None };
    let Operator::End = operators.read().ok()? else { return None };
    (operators.eof() && type_index == ty && next as usize == params).then_some(slot)
}

/// A module that is nothing but one table of its own and functions that call what is in it.
struct Shim {
    /// Of each function: the place that it calls.
    slots: Vec<u32>,
    table: Option<String>,
    functions: Vec<(String, u32)>,
}

impl Shim {
    /// None where the module is more than that, or damaged.
    fn of(module: &[u8]) -> Option<Self> {
        let mut shim = Self { slots: Vec::new(), table: None, functions: Vec::new() };
        let (mut tables, mut types, mut defined) = (0, Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        types.push(ty.ok()?.params().len());
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        defined.push(ty.ok()?);
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        tables += 1;
                        matches!(table.ok()?.init, TableInit::RefNull).then_some(())?;
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export.ok()?;
                        match export.kind {
                            ExternalKind::Func => shim.functions.push((export.name.to_owned(), export.index)),
                            // By another name, others would put something into the same table.
                            ExternalKind::Table if shim.table.is_some() => return None,
                            ExternalKind::Table => shim.table = Some(export.name.to_owned()),
                            _ => {}
                        }
                    }
                }
                Payload::CodeSectionEntry(code) => {
                    let ty = *defined.get(shim.slots.len())?;
                    shim.slots.push(indirect(&code, ty, *types.get(ty as usize)?)?);
                }
                Payload::ImportSection(_)
                | Payload::MemorySection(_)
                | Payload::GlobalSection(_)
                | Payload::ElementSection(_)
                | Payload::DataSection(_)
                | Payload::StartSection { .. } => return None,
                _ => {}
            }
        }
        (tables == 1).then_some(shim)
    }
}

/// Which place of which of its tables a shim's function calls, and does nothing else.
pub(super) fn slot_of(shim: &[u8], function: &str) -> Option<(u32, String)> {
    (shim.len() <= LARGEST_SHIM).then_some(())?;
    let Shim { slots, table, functions } = Shim::of(shim)?;
    let (_, index) = functions.iter().find(|(name, _)| name == function)?;
    Some((*slots.get(*index as usize)?, table?))
}

/// Whether a module is nothing but one table of its own and functions that call what is in it.
pub(super) fn is_shim(module: &[u8]) -> bool {
    Shim::of(module).is_some()
}

/// The import that a component exports as `name`, where all that it does is to pass on what it
/// imports.
pub(super) fn passed_on<'a>(component: &'a [u8], name: &str) -> Option<&'a str> {
    let (mut functions, mut passed) = (Vec::new(), None);
    for payload in Parser::new(0).parse_all(component) {
        match payload.ok()? {
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import.ok()?;
                    match import.ty {
                        ComponentTypeRef::Func(_) => functions.push(import.name.name),
                        ComponentTypeRef::Type(_) => {}
                        _ => return None,
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export.ok()?;
                    match export.kind {
                        ComponentExternalKind::Func => {
                            let function = *functions.get(export.index as usize)?;
                            if export.name.name == name {
                                passed = Some(function);
                            }
                            // An export is one more function.
                            functions.push(function);
                        }
                        ComponentExternalKind::Type => {}
                        _ => return None,
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    match alias.ok()? {
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
                        | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => {}
                        _ => return None,
                    }
                }
            }
            Payload::Version { .. }
            | Payload::ComponentTypeSection(_)
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return None,
        }
    }
    passed
}

/// What a module does that fills a table with functions, all of them imported.
pub(super) struct Filled<'a> {
    pub(super) table: (&'a str, &'a str),
    pub(super) functions: Vec<(&'a str, &'a str)>,
}

/// None if it does anything else; it may start something.
pub(super) fn filled(module: &[u8]) -> Option<Filled<'_>> {
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
pub(super) fn started(module: &[u8]) -> Option<Option<(&str, &str)>> {
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
pub(super) fn is_empty(module: &[u8]) -> Option<bool> {
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
