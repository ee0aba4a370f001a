//! What an instance of a component takes, counted over all that is instantiated in it: a module
//! that is instantiated twice, twice.

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, Instance, Payload,
};

use crate::sandbox::Requirements;

/// Counts while a file is read, payload by payload.
#[derive(Default)]
pub(super) struct Count {
    /// The module or component that is being read, and what it is part of.
    parts: Vec<Part>,
    /// Of the whole file, once it was read.
    pub(super) total: Requirements,
}

#[derive(Default)]
struct Part {
    is_component: bool,
    /// What an instance of it takes.
    demand: Requirements,
    /// What is known of the modules and components in it, by their indices. Those from elsewhere
    /// count for nothing: a plugin has none that it could be given.
    modules: Vec<Requirements>,
    components: Vec<Requirements>,
}

impl Requirements {
    /// Together with what another instance takes.
    fn and(&mut self, other: Self) {
        let Self { memories, memory, tables, table_elements, core_instances, upkeep } = self;
        *memories = memories.saturating_add(other.memories);
        *memory = memory.saturating_add(other.memory);
        *tables = tables.saturating_add(other.tables);
        *table_elements = other.table_elements.max(*table_elements);
        *core_instances = core_instances.saturating_add(other.core_instances);
        *upkeep = upkeep.saturating_add(other.upkeep);
    }
}

impl Count {
    /// # Errors
    /// A section is damaged.
    pub(super) fn see(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.parts.push(Part { is_component: *encoding == Encoding::Component, ..Part::default() });
            }
            Payload::End(_) => {
                let Some(part) = self.parts.pop() else { return Ok(()) };
                match self.parts.last_mut() {
                    Some(around) if part.is_component => around.components.push(part.demand),
                    Some(around) => around.modules.push(part.demand),
                    None => self.total = part.demand,
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let memory = memory?;
                    let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
                    let memory = memory.initial.saturating_mul(page);
                    self.add(Requirements { memories: 1, memory, ..Requirements::default() });
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone() {
                    self.add(Requirements { tables: 1, table_elements: table?.ty.initial, ..Requirements::default() });
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        let of = self.of(|part| &part.modules, 0, module_index);
                        self.add(of);
                        self.add(Requirements { core_instances: 1, ..Requirements::default() });
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        let of = self.of(|part| &part.components, 0, component_index);
                        self.add(of);
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    match alias? {
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
                            let of = self.of(|part| &part.modules, count, index);
                            self.define(ComponentExternalKind::Module, of);
                        }
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                            let of = self.of(|part| &part.components, count, index);
                            self.define(ComponentExternalKind::Component, of);
                        }
                        ComponentAlias::InstanceExport { kind, .. } => self.define(kind, Requirements::default()),
                        ComponentAlias::Outer { .. } | ComponentAlias::CoreInstanceExport { .. } => {}
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    match import?.ty {
                        ComponentTypeRef::Module(_) => {
                            self.define(ComponentExternalKind::Module, Requirements::default())
                        }
                        ComponentTypeRef::Component(_) => {
                            self.define(ComponentExternalKind::Component, Requirements::default());
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    let of = match export.kind {
                        ComponentExternalKind::Module => self.of(|part| &part.modules, 0, export.index),
                        _ => self.of(|part| &part.components, 0, export.index),
                    };
                    self.define(export.kind, of);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, demand: Requirements) {
        if let Some(part) = self.parts.last_mut() {
            part.demand.and(demand);
        }
    }

    /// What something takes that is defined in the part that is being read, or so many parts around
    /// it.
    fn of(&self, defined: impl Fn(&Part) -> &Vec<Requirements>, around: u32, index: u32) -> Requirements {
        let part = self.parts.iter().rev().nth(around as usize);
        part.and_then(|part| defined(part).get(index as usize)).copied().unwrap_or_default()
    }

    /// Another definition of a module or a component, by another name.
    fn define(&mut self, kind: ComponentExternalKind, of: Requirements) {
        let Some(part) = self.parts.last_mut() else { return };
        match kind {
            ComponentExternalKind::Module => part.modules.push(of),
            ComponentExternalKind::Component => part.components.push(of),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::Parser;

    use super::*;

    fn demand(text: &str) -> Requirements {
        let wasm = wat::parse_str(text).unwrap();
        let mut count = Count::default();
        for payload in Parser::new(0).parse_all(&wasm) {
            count.see(&payload.unwrap()).unwrap();
        }
        count.total
    }

    #[test]
    fn each_instance_counts_however_often_its_module_is_instantiated() {
        let module = "(core module $m (memory 2) (table 7 funcref))";
        let of = |times: u32| Requirements {
            memories: times,
            memory: u64::from(times) << 17,
            tables: times,
            table_elements: if times == 0 { 0 } else { 7 },
            core_instances: times,
            upkeep: 0,
        };
        let twice = "(core instance (instantiate $m)) (core instance (instantiate $m))";
        assert_eq!(demand(&format!("(component {module})")), of(0));
        assert_eq!(demand(&format!("(component {module} {twice})")), of(2));
        assert_eq!(
            demand(&format!(
                "(component {module} (component $c {twice}) (instance (instantiate $c)) (instance (instantiate $c)))"
            )),
            of(4)
        );
        assert_eq!(demand(&format!("(component {module} (component $c {twice}))")), of(0));
        assert_eq!(demand("(module (memory 2) (table 7 funcref))"), Requirements { core_instances: 0, ..of(1) });
    }

    #[test]
    fn components_that_double_at_each_level_cost_no_more_than_their_bytes() {
        let mut text = "(core module $m (memory 1)) (component $c0 (core instance (instantiate $m)))".to_owned();
        for level in 1..200 {
            let inner = level - 1;
            text += &format!(
                "(component $c{level} (instance (instantiate $c{inner})) (instance (instantiate $c{inner})))\n"
            );
        }
        let demand = demand(&format!("(component {text} (instance (instantiate $c199)))"));
        assert_eq!(demand.memories, u32::MAX, "far more than there can be");
    }
}
