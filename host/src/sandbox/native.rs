//! Native code: what wasmtime makes of a component or of a core module.

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// Compiled wasm of either sort.
pub(crate) enum Native {
    Component(Component),
    Module(Module),
}

/// Native code that this program made, and may run.
#[derive(Clone, Copy)]
pub struct NativeCode<'a>(&'a [u8]);

impl<'a> NativeCode<'a> {
    /// # Safety
    /// The bytes have to be what [`Generation::code`](crate::plugin::Generation::code) or this
    /// program's compiler gave: they are run as they are.
    #[expect(unsafe_code, reason = "whether bytes are native code can't be seen from them")]
    pub unsafe fn new(code: &'a [u8]) -> Self {
        Self(code)
    }
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

    /// Takes in native code.
    ///
    /// # Errors
    /// Code of another version or with other settings.
    pub(crate) fn deserialize(engine: &Engine, code: NativeCode<'_>) -> wasmtime::Result<Self> {
        #[expect(unsafe_code, reason = "there is no safe way to take compiled code in")]
        // SAFETY: `NativeCode` is what `serialize` gave. wasmtime itself checks which of the two it
        // is, and that it is of the same version and settings.
        unsafe {
            match Engine::detect_precompiled(code.0) {
                Some(wasmtime::Precompiled::Module) => Module::deserialize(engine, code.0).map(Self::Module),
                _ => Component::deserialize(engine, code.0).map(Self::Component),
            }
        }
    }

    /// Does now what else the first instance would: where memory is copied on write, what it begins
    /// with is put where it is mapped from. For a large plugin that is work for milliseconds, and
    /// the first instance is made on a thread that serves.
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
