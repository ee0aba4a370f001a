//! Sandboxes: what a generation's native code runs in, and what the host does for it there. Nothing
//! here knows files of plugins, and nothing here knows sockets but by the traits of `transport`.

mod blueprint;
mod client;
mod component;
mod contract;
mod cpu;
mod engine;
mod fault;
pub(crate) mod file_work;
mod guest;
mod host_calls;
mod idle;
mod limits;
mod module;
mod native;
mod output;
mod pool;
mod program;
mod progress;
mod request;
mod snapshot;
mod state;
mod transfer;
mod transport;
mod wasi;
mod words;

pub(crate) use blueprint::{Blueprint, GuestKind, Interface};
pub(crate) use component::Component;
pub(crate) use contract::{PACKAGE, VERSION, is_spoken};
pub use engine::Engines;
pub(crate) use engine::{Profile, Requirements};
pub use fault::{Cause, Fault};
pub(crate) use file_work::{FileWork, within};
pub use guest::{Guest, Running};
pub(crate) use limits::TABLE_ELEMENTS;
pub(crate) use module::{CoreModule, abi};
pub(crate) use native::Native;
pub use native::NativeCode;
pub(crate) use program::Program;
pub use progress::{Progress, Served};
pub use request::{Origin, Peer, Request};
pub(crate) use state::State;
pub use transport::{Connection, DatagramSocket};
