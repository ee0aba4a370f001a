//! What the host keeps for each sandbox beside its memory: a place for each function, global and
//! import of each instance in it, and for each element that may be put into a table. It is counted
//! here, as no limit of wasmtime's is about it.

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, ElementItems, ExternalKind, Instance, Payload,
};

/// Bytes of a place: the largest of them has so many.
const PLACE: u64 = 32;

/// Counts it, payload by payload of one file.
pub(super) struct Upkeep {
    /// The file's, and those of the modules and components that it is in by now.
    frames: Vec<Frame>,
    /// Of the dearest module or component so far.
    dearest: u64,
}

#[derive(Default)]
struct Frame {
    is_module: bool,
    cost: Cost,
    /// What one instance costs; none where what is instantiated comes from elsewhere.
    modules: Vec<Option<Cost>>,
    components: Vec<Option<Cost>>,
}

/// In bytes.
#[derive(Clone, Copy, Default)]
struct Cost {
    known: u64,
    /// How many instances of what is not known are in it.
    unknown: u64,
}

impl Frame {
    fn places(&mut self, count: u32) {
        self.cost.known = self.cost.known.saturating_add(u64::from(count).saturating_mul(PLACE));
    }

    fn instantiate(&mut self, of: Option<Cost>) {
        let Cost { known, unknown } = of.unwrap_or(Cost { known: 0, unknown: 1 });
        self.cost.known = self.cost.known.saturating_add(known);
        self.cost.unknown = self.cost.unknown.saturating_add(unknown);
    }

    fn define(&mut self, kind: ComponentExternalKind, cost: Option<Cost>) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(cost),
            ComponentExternalKind::Component => self.components.push(cost),
            _ => {}
        }
    }
}

impl Upkeep {
    pub(super) fn new() -> Self {
        Self { frames: vec![Frame::default()], dearest: 0 }
    }

    /// Bytes of one sandbox.
    pub(super) fn total(&self) -> u64 {
        let Cost { known, unknown } = self.frames.first().map(|frame| frame.cost).unwrap_or_default();
        known.saturating_add(unknown.saturating_mul(self.dearest))
    }

    /// # Errors
    /// A section is damaged.
    pub(super) fn see(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        let known = |all: &[Option<Cost>], index: u32| all.get(index as usize).copied().flatten();
        let depth = self.frames.len();
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        match payload {
            Payload::ModuleSection { .. } => self.frames.push(Frame { is_module: true, ..Frame::default() }),
            Payload::ComponentSection { .. } => self.frames.push(Frame::default()),
            Payload::End(_) if depth > 1 => {
                let Frame { is_module, cost, .. } = self.frames.pop().unwrap_or_default();
                self.dearest = self.dearest.max(cost.known);
                let kind = if is_module { ComponentExternalKind::Module } else { ComponentExternalKind::Component };
                if let Some(around) = self.frames.last_mut() {
                    around.define(kind, Some(cost));
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    import?;
                    frame.places(1);
                }
            }
            Payload::FunctionSection(functions) => frame.places(functions.count()),
            Payload::GlobalSection(globals) => frame.places(globals.count()),
            Payload::ElementSection(elements) => {
                for element in elements.clone() {
                    frame.places(match element?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    });
                }
            }
            Payload::ComponentCanonicalSection(functions) => frame.places(functions.count()),
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        let of = known(&frame.modules, module_index);
                        frame.instantiate(of);
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        let of = known(&frame.components, component_index);
                        frame.instantiate(of);
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    match import?.ty {
                        ComponentTypeRef::Module(_) => frame.define(ComponentExternalKind::Module, None),
                        ComponentTypeRef::Component(_) => frame.define(ComponentExternalKind::Component, None),
                        _ => {}
                    }
                }
            }
            // What is exported has one more number.
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    frame.define(export.kind, None);
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    self.alias(alias?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) {
        let (kind, cost) = match alias {
            ComponentAlias::InstanceExport { kind, .. } => (kind, None),
            ComponentAlias::Outer { kind, count, index } => {
                let around = self.frames.len().checked_sub(1 + count as usize).and_then(|n| self.frames.get(n));
                let of = |all: fn(&Frame) -> &Vec<Option<Cost>>| *all(around?).get(index as usize)?;
                match kind {
                    ComponentOuterAliasKind::CoreModule => (ComponentExternalKind::Module, of(|frame| &frame.modules)),
                    ComponentOuterAliasKind::Component => {
                        (ComponentExternalKind::Component, of(|frame| &frame.components))
                    }
                    _ => return,
                }
            }
            ComponentAlias::CoreInstanceExport { kind: ExternalKind::Func, .. } => {
                // A function that is passed on has a place for its caller.
                if let Some(frame) = self.frames.last_mut() {
                    frame.places(1);
                }
                return;
            }
            ComponentAlias::CoreInstanceExport { .. } => return,
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.define(kind, cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::Parser;

    use super::*;

    fn total(text: &str) -> u64 {
        let wasm = wat::parse_str(text).unwrap();
        let mut upkeep = Upkeep::new();
        for payload in Parser::new(0).parse_all(&wasm) {
            upkeep.see(&payload.unwrap()).unwrap();
        }
        upkeep.total() / PLACE
    }

    #[test]
    fn a_sandbox_costs_what_its_instances_do() {
        let fields =
            "(import \"a\" \"b\" (func)) (func) (global i32 (i32.const 0)) (table 9 funcref) (elem func 0 1 1)";
        assert_eq!(total(&format!("(module {fields})")), 6);
        let module = "(core module $m (func) (func))";
        let twice = "(core instance (instantiate $m)) (core instance (instantiate $m))";
        assert_eq!(total(&format!("(component {module})")), 0);
        assert_eq!(total(&format!("(component {module} {twice})")), 4);
        let inner = format!("(component $c {module} {twice})");
        assert_eq!(total(&format!("(component {inner} (instance (instantiate $c)) (instance (instantiate $c)))")), 8);
        let outer = format!(
            "(component {module} (component $c (alias outer 1 0 (core module $m)) {twice}) (instance (instantiate $c)))"
        );
        assert_eq!(total(&outer), 4);
        let handed = format!(
            "(component {module} (component $c (import \"m\" (core module $m)) {twice})
             (instance (instantiate $c (with \"m\" (core module $m)))))"
        );
        assert_eq!(total(&handed), 4, "as much as the dearest that it could be");
    }
}
