//! wharf: Python's `socketserver` for WebAssembly. The library behind the binary; `ARCHITECTURE.md` shows the two ways
//! through it.
#![deny(unsafe_code)] // Where it is needed all the same, the reason stands beside it.

pub mod activation;
pub mod alarm;
pub mod budget;
pub mod capacity;
pub mod check;
pub mod child;
pub mod cli;
pub mod commons;
pub mod concurrency;
pub mod config;
pub mod counters;
mod deadline;
pub mod endpoint;
pub mod events;
pub mod file;
pub mod file_work;
#[doc(hidden)]
pub mod fuzz;
pub mod listen;
pub mod log;
pub mod outlet;
pub mod plugin;
pub mod ports;
pub mod scaffold;
pub mod serve;
pub mod server;
pub mod session;
pub mod sources;
pub mod supervisor;
pub mod systemd;
pub mod throttle;
pub mod upgrade;
pub mod verify;
pub mod zone;
