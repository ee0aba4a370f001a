//! Native code: what wasmtime makes of a component or of a core module.

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// Compiled wasm of either sort.
pub(crate) enum Native {
    Component(Component),
    Module(Module),
}

impl Native {
    /// Compiles `wasm`.
    ///
    /// # Errors
    /// It is not valid, or asks for features that are off.
    pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        if wasmparser::Parser::is_component(wasm) {
            Component::from_binary(engine, wasm).map(Self::Component)
        } else {
            Module::from_binary(engine, wasm).map(Self::Module)
        }
    }

    /// Takes in what [`serialize`](Self::serialize) gave.
    ///
    /// # Errors
    /// Code of another version or with other settings.
    ///
    /// # Safety
    /// The code has to be what `serialize` gave: it is run as it is.
    #[expect(unsafe_code, reason = "there is no safe way to take compiled code in")]
    pub(crate) unsafe fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: the code is what `serialize` gave. wasmtime itself checks which of the two it is, and that it is of the same version
        // and settings.
        unsafe {
            match Engine::detect_precompiled(code) {
                Some(wasmtime::Precompiled::Module) => Module::deserialize(engine, code).map(Self::Module),
                _ => Component::deserialize(engine, code).map(Self::Component),
            }
        }
    }

    /// Does now what else the first instance would: where memory is copied on write, what it begins with is put where it is
    /// mapped from. For a large plugin that is work for milliseconds, and the first instance is made on a thread that serves.
    ///
    /// # Errors
    /// The machine does not give the memory.
    pub(crate) fn prepare(&self) -> wasmtime::Result<()> {
        match self {
            Self::Component(component) => component.initialize_copy_on_write_image(),
            Self::Module(module) => module.initialize_copy_on_write_image(),
        }
    }

    pub(crate) fn serialize(&self) -> wasmtime::Result<Vec<u8>> {
        match self {
            Self::Component(component) => component.serialize(),
            Self::Module(module) => module.serialize(),
        }
    }
}
