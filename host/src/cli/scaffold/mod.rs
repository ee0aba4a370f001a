//! `wharf new`: a project that builds and serves, from the very files of `examples/` that are built and served here.

mod name;
mod project;
mod template;

pub use name::Name;
pub use project::Project;
pub use template::Language;
