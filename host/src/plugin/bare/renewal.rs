//! Puts a sandbox back into its first state, byte by byte, so that the next request has a fresh one without one being made.
//!
//! All that a handler's code can change is its memory and its mutable globals: [`rewrite`](super::rewrite) has looked, and names
//! them. What its memory and its globals begin with is learnt from an instance in which nothing was called yet.

use std::sync::OnceLock;

use wasmtime::{Global, Module, ModuleExport, Store, Val};

use super::super::instance::State;
use super::Instance;
use super::rewrite::{PAGES, state};

/// The most memory that a sandbox may have that is put back, in bytes: there, giving pages back to the kernel is dearer.
pub(super) const MOST: usize = 512 << 10;
/// What is compared and written at a time: a page of the kernel's, so that one which was never touched is only read.
const PIECE: usize = 4096;
static ZEROS: [u8; PIECE] = [0; PIECE];

/// How a sandbox of a module is put back.
pub(super) struct Renewal {
    globals: Vec<ModuleExport>,
    first: OnceLock<First>,
}

/// A sandbox's first state.
struct First {
    /// Without the zeros at its end.
    memory: Vec<u8>,
    globals: Vec<Val>,
}

impl Renewal {
    /// None if code of this module can change what can't be put back.
    pub(super) fn of(module: &Module) -> Option<Self> {
        let pages = module.get_export_index(PAGES)?;
        let globals = (0..).map_while(|number| module.get_export_index(&state(number)));
        Some(Self { globals: globals.chain([pages]).collect(), first: OnceLock::new() })
    }

    /// Remembers the state of an instance in which nothing was called yet.
    pub(super) fn learn(&self, store: &mut Store<State>, instance: &Instance) {
        let mut globals = Vec::new();
        for global in self.globals(store, instance) {
            globals.push(global.get(&mut *store));
        }
        let memory = instance.memory.data(&*store);
        let length = memory.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if memory.len() <= MOST {
            // All first states of a module are the same.
            let _ = self.first.set(First { memory: memory[..length].to_vec(), globals });
        }
    }

    /// What memory begins with, without the zeros that follow, once that is known.
    pub(super) fn memory(&self) -> Option<&[u8]> {
        self.first.get().map(|first| &*first.memory)
    }

    /// Puts it back; false if it is to be dropped. The request before ended well, and nothing is being called.
    pub(super) fn renew(&self, store: &mut Store<State>, instance: &Instance) -> bool {
        let Some(first) = self.first.get() else { return false };
        // What it had open there is not in its memory.
        if store.data().has_wasi() || instance.memory.data_size(&*store) > MOST {
            return false;
        }
        for (global, value) in self.globals(store, instance).into_iter().zip(&first.globals) {
            if global.set(&mut *store, *value).is_err() {
                return false;
            }
        }
        let memory = instance.memory.data_mut(&mut *store);
        let (begun, rest) = memory.split_at_mut(first.memory.len());
        for (piece, first) in begun.chunks_mut(PIECE).zip(first.memory.chunks(PIECE)) {
            if piece != first {
                piece.copy_from_slice(first);
            }
        }
        for piece in rest.chunks_mut(PIECE) {
            if *piece != ZEROS[..piece.len()] {
                piece.fill(0);
            }
        }
        store.data_mut().exchange.reset();
        true
    }

    fn globals(&self, store: &mut Store<State>, instance: &Instance) -> Vec<Global> {
        let exports = self.globals.iter().map(|export| instance.inner.get_module_export(&mut *store, export));
        exports.filter_map(|export| export?.into_global()).collect()
    }
}
