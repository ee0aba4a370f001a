//! What the modules of a component are, of which most are there for another's sake.

use wasmparser::{ElementItems, ElementKind, ExternalKind, Operator, Parser, Payload, TableInit, TypeRef};

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

/// The largest shim, in bytes, as it is read once for each import: one has some fifty for each function.
const LARGEST_SHIM: usize = 64 << 10;

/// Which place of which of its tables a shim's function calls, and does nothing else.
pub(super) fn slot_of(shim: &[u8], function: &str) -> Option<(u32, String)> {
    (shim.len() <= LARGEST_SHIM && is_shim(shim)?).then_some(())?;
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
pub(super) fn is_shim(module: &[u8]) -> Option<bool> {
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
