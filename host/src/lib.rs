//! wharf: Python's `socketserver` for WebAssembly. The library behind the binary; `ARCHITECTURE.md` shows its rooms, and the ways
//! through them.
#![deny(unsafe_code)] // Where it is needed all the same, the reason stands beside it.

pub mod alarm;
pub mod capacity;
pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod fuzz;
pub mod listen;
pub mod plugin;
pub mod report;
pub mod sandbox;
pub mod session;
pub mod supervisor;
pub mod upgrade;
