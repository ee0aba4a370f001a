//! The commands.

mod args;
pub mod check;
pub mod dev;
pub(crate) mod scaffold;
pub mod serve;

pub use args::{Arguments, Command, Exit};
