//! What stands in a component, or in a core module, seen in one pass over its sections.

use std::collections::HashSet;

use wasmparser::{BinaryReaderError, Encoding, Parser, Payload};

use super::requirements::Count;
use super::upkeep::Upkeep;
use crate::sandbox::Requirements;

/// One pass over a component, or a core module.
#[derive(Default)]
pub(super) struct Survey {
    /// Names of a component's, modules of a core module's.
    pub(super) imports: Vec<String>,
    /// A core module's, by module and name.
    pub(super) core_imports: Vec<(String, String)>,
    pub(super) exports: Vec<String>,
    pub(super) manifest: Option<Vec<u8>>,
    pub(super) demand: Requirements,
    /// Of a core module's own custom sections.
    pub(super) sections: Vec<String>,
}

impl Survey {
    /// Whether a core module has its component type in it.
    pub(super) fn is_typed(&self) -> bool {
        self.sections.iter().any(|name| name.starts_with("component-type"))
    }

    /// Whether a core module is a WASI command.
    pub(super) fn is_program(&self) -> bool {
        self.exports.iter().any(|name| name == "_start")
    }

    /// # Errors
    /// The sections are not those of a component or a module.
    pub(super) fn of(wasm: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut survey = Self::default();
        // The component itself is 0 deep, the modules and components in it deeper.
        let mut depth = 0_u32;
        let mut modules = HashSet::new();
        let (mut count, mut upkeep) = (Count::default(), Upkeep::new());
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            count.see(&payload)?;
            upkeep.see(&payload)?;
            match payload {
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
                        let import = import?;
                        let module = import.module.to_owned();
                        if modules.insert(import.module) {
                            survey.imports.push(module.clone());
                        }
                        survey.core_imports.push((module, import.name.to_owned()));
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        survey.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) => {
                    // The outermost counts: the last tool that packed a component knows best.
                    if section.name() == "wharf:manifest" && (depth == 0 || survey.manifest.is_none()) {
                        survey.manifest = Some(section.data().to_owned());
                    }
                    if depth == 0 {
                        survey.sections.push(section.name().to_owned());
                    }
                }
                _ => {}
            }
        }
        survey.demand = count.total;
        survey.demand.upkeep = upkeep.total();
        Ok(survey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_counts_what_an_instance_takes_and_finds_the_manifest() {
        let component = wat::parse_str(
            r#"(component
                (core module $m (memory 2) (table 7 funcref) (@custom "wharf:manifest" "inner"))
                (core instance (instantiate $m)))"#,
        )
        .unwrap();
        let survey = Survey::of(&component).unwrap();
        let expected =
            Requirements { memories: 1, memory: 2 << 16, tables: 1, table_elements: 7, core_instances: 1, upkeep: 0 };
        assert_eq!(survey.demand, expected);
        assert_eq!(survey.manifest.as_deref(), Some(&b"inner"[..]));
    }
}
