//! WASI, as much of it as the library has, and what of it guests get otherwise: within the bounds
//! of one call, and without opening what is no file.

mod buffers;
mod calls;
mod files;

use wasmtime::component;

use super::state::State;

/// Links WASI 0.1.
///
/// # Errors
/// A name is defined twice, which every start of the program would show.
pub(super) fn link_0_1(linker: &mut wasmtime::Linker<State>) -> wasmtime::Result<()> {
    calls::link_0_1(linker)?;
    buffers::link(linker)?;
    files::link_0_1(linker)
}

/// Links WASI 0.2.
///
/// # Errors
/// As [`link_0_1`].
pub(super) fn link_0_2(linker: &mut component::Linker<State>) -> wasmtime::Result<()> {
    calls::link_0_2(linker)?;
    files::link_0_2(linker)
}
