//! wharf: Python's `socketserver` for WebAssembly. The library behind the binary; `ARCHITECTURE.md`
//! shows its rooms, and the ways through them.
#![deny(unsafe_code)] // Where it is needed all the same, the reason stands beside it.

pub(crate) mod capacity;
pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod fuzz;
pub mod listen;
pub mod plugin;
pub mod report;
pub mod sandbox;
pub mod session;
pub(crate) mod supervisor;
pub(crate) mod timer;
pub(crate) mod upgrade;
