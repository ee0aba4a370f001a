//! What a module has, counted before another is made of it.

use wasm_encoder::ValType;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasmparser::{Parser, Payload, TypeRef};

use super::extract::Extracted;

/// The most globals that code can change in a sandbox that is put back: each is written after each
/// request, in one stretch, 30 ns each. Toolchains make a handful.
const MOST_GLOBALS: usize = 256;

/// What has to be known before the first section is written.
pub(super) struct StateSurvey {
    /// Of each import.
    pub(super) imported: Vec<u32>,
    /// Of each type, if it is a function's.
    pub(super) params: Vec<Option<Vec<ValType>>>,
    pub(super) defined: u32,
    /// For each of its globals, whether code can change it.
    pub(super) globals: Vec<bool>,
    /// Whether all that code can change of them can be read and written from outside.
    pub(super) can_be_reset: bool,
    /// Of memory, at first.
    pub(super) pages: u32,
    /// By name.
    functions: Vec<(String, u32)>,
}

impl StateSurvey {
    /// None if it has what a module without its component can't have.
    pub(super) fn of(extracted: &Extracted<'_>) -> Option<Self> {
        let mut survey = Self {
            imported: Vec::new(),
            params: Vec::new(),
            defined: 0,
            globals: Vec::new(),
            can_be_reset: true,
            pages: 0,
            functions: Vec::new(),
        };
        let (mut memories, mut has_memory) = (0, false);
        for payload in Parser::new(0).parse_all(extracted.module) {
            match payload.ok()? {
                Payload::TypeSection(types) => {
                    for group in types {
                        for ty in group.ok()?.into_types() {
                            survey.params.push(match ty.composite_type.inner {
                                wasmparser::CompositeInnerType::Func(function) => {
                                    function.params().iter().map(|ty| RoundtripReencoder.val_type(*ty).ok()).collect()
                                }
                                _ => None,
                            });
                        }
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let TypeRef::Func(ty) = import.ok()?.ty else { return None };
                        survey.imported.push(ty);
                    }
                }
                Payload::FunctionSection(functions) => survey.defined = functions.count(),
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory.ok()?;
                        if memory.memory64 || memory.shared || memory.page_size_log2.is_some() {
                            return None;
                        }
                        survey.pages = u32::try_from(memory.initial).ok()?;
                        memories += 1;
                    }
                }
                Payload::GlobalSection(globals) => {
                    for global in globals {
                        let ty = global.ok()?.ty;
                        survey.globals.push(ty.mutable);
                        survey.can_be_reset &= !(ty.mutable && ty.content_type.is_reference_type());
                    }
                    let changeable = survey.globals.iter().filter(|changeable| **changeable).count();
                    survey.can_be_reset &= changeable <= MOST_GLOBALS;
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export.ok()?;
                        match export.kind {
                            wasmparser::ExternalKind::Func => {
                                survey.functions.push((export.name.to_owned(), export.index));
                            }
                            wasmparser::ExternalKind::Memory if export.name == extracted.memory => has_memory = true,
                            _ => {}
                        }
                    }
                }
                // It would run before there is anything to be asked for.
                Payload::StartSection { .. } => return None,
                _ => {}
            }
        }
        (has_memory && memories == 1 && survey.imported.len() == extracted.imports.len()).then_some(survey)
    }

    /// The function that is exported under this name.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.functions.iter().find(|(export, _)| export == name).map(|(_, index)| *index)
    }
}
