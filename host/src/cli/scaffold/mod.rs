//! `wharf new`: a project that builds and serves, from the very files of `examples/` that are built
//! and served here.

mod listen;
mod name;
mod project;
mod template;

pub(crate) use name::Name;
pub(crate) use project::NewProject;
pub(crate) use template::Language;
