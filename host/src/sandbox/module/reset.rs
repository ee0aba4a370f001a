//! Puts a sandbox back into its first state, byte by byte, so that the next request has a fresh one
//! without one being made.
//!
//! All that a handler's code can change is its memory and its mutable globals:
//! [`flatten`](crate::plugin::flatten) has looked, and names them. What its memory and its globals
//! begin with is learnt from an instance in which nothing was called yet.

use std::sync::{Arc, OnceLock};

use wasmtime::{Global, Instance, Memory, Module, ModuleExport, Store, Val};

use super::super::snapshot::{First, Snapshot};
use super::super::state::State;
use super::abi::{PAGES, state};

/// The most memory that a sandbox may have that is put back, in bytes: there, giving pages back to
/// the kernel is dearer.
pub(super) const MAX_RESET_BYTES: usize = 512 << 10;

/// How a sandbox of a module is put back.
pub(super) struct Reset {
    globals: Vec<ModuleExport>,
    first: Arc<OnceLock<First>>,
}

impl Reset {
    /// None if code of this module can change what can't be put back.
    pub(super) fn of(module: &Module) -> Option<Self> {
        let pages = module.get_export_index(PAGES)?;
        let globals = (0..).map_while(|number| module.get_export_index(&state(number)));
        Some(Self { globals: globals.chain([pages]).collect(), first: Arc::default() })
    }

    /// Remembers the state of an instance in which nothing was called yet.
    pub(super) fn learn(&self, store: &mut Store<State>, instance: Instance, memory: Memory) {
        let mut globals = Vec::new();
        for global in self.globals(store, instance) {
            globals.push(global.get(&mut *store));
        }
        let memory = memory.data(&*store);
        if memory.len() <= MAX_RESET_BYTES {
            // All first states of a module are the same.
            let _ = self.first.set(First { memory: Snapshot::of(memory), globals });
        }
    }

    /// What it is put back into, once that is known.
    pub(super) fn first(&self) -> &Arc<OnceLock<First>> {
        &self.first
    }

    /// Puts it back; false if it is to be dropped. The request before ended well, and nothing is
    /// being called.
    pub(super) fn renew(&self, store: &mut Store<State>, instance: Instance, memory: Memory) -> bool {
        let Some(first) = self.first.get() else { return false };
        // What it had open there is not in its memory.
        if store.data().has_wasi() || memory.data_size(&*store) > MAX_RESET_BYTES {
            return false;
        }
        for (global, value) in self.globals(store, instance).into_iter().zip(&first.globals) {
            if global.set(&mut *store, *value).is_err() {
                return false;
            }
        }
        first.memory.put_back(memory.data_mut(&mut *store));
        store.data_mut().exchange.reset();
        true
    }

    /// Whether the stack that a compiler keeps in memory has run out: its pointer, which began
    /// high, is at the memory's beginning or beyond. The size that it had, in bytes.
    ///
    /// Linkers place the stack first, so that what is beyond it traps.
    pub(super) fn exhausted_stack(&self, store: &mut Store<State>, instance: Instance) -> Option<u64> {
        /// No compiler's stack is smaller, and no frame that traps leaves more.
        const SMALLEST: i32 = 4096;
        const LEFT: i32 = 512;
        let first = self.first.get()?;
        let globals = self.globals(store, instance);
        globals.into_iter().zip(&first.globals).find_map(|(global, first)| match (first, global.get(&mut *store)) {
            (Val::I32(first), Val::I32(now)) if *first >= SMALLEST && now < LEFT => u64::try_from(*first).ok(),
            _ => None,
        })
    }

    fn globals(&self, store: &mut Store<State>, instance: Instance) -> Vec<Global> {
        let exports = self.globals.iter().map(|export| instance.get_module_export(&mut *store, export));
        exports.filter_map(|export| export?.into_global()).collect()
    }
}
