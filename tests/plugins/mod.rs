//! The plugin folder: what is loaded, granted and replaced.

mod cache;
mod causes;
pub mod churn;
mod components;
mod folder_faults;
mod granted_folders;
mod grants;
mod large;
mod loader;
mod moving;
mod reload;
mod replacing;
mod settings;
mod shipped;
mod writing;
