//! `wharf dev`: serves a project while somebody writes it, and builds it again when a source
//! changes.

mod build;
mod project;
mod sources;
mod work;

use std::path::Path;
use std::process::ExitCode;

use super::args::Dev;
use super::serve;
use crate::config::{ConfigError, PROJECT_FILE};
use crate::listen::PassedSocket;
use crate::plugin::{Folder, PluginSource};
use crate::report;
use project::Project;

/// Builds and serves until told to stop. A folder of plugins that has no `wharf-dev.toml` is served
/// as it is.
///
/// # Errors
/// There is no project, or something in it is wrong. The inner error is that of [`serve::serve`].
pub fn dev(command: Dev, sockets: Vec<PassedSocket>) -> Result<anyhow::Result<ExitCode>, ConfigError> {
    let folder = command.project.clone();
    if !folder.is_dir() {
        return Err(ConfigError::new(folder.display(), "no such folder; `wharf new NAME` makes a project"));
    }
    let project = Project::open(&folder)?;
    let served = match &project {
        Some(project) => {
            project.check_manifest()?;
            project.put_manifest().map_err(|error| ConfigError::new(project.served().display(), error))?;
            project.served()
        }
        None if has_plugins(&folder) => folder,
        None => {
            let what = format!("neither {PROJECT_FILE} nor a plugin is in it; `wharf new NAME` makes a project");
            return Err(ConfigError::new(folder.display(), what));
        }
    };
    let options = command.serving(served)?;
    report::colour_events();
    Ok(match project {
        Some(project) => serve::serve_beside(options, sockets, |stopping| work::work(project, stopping)),
        None => serve::serve(options, sockets),
    })
}

fn has_plugins(folder: &Path) -> bool {
    Folder::new(PluginSource::Folder(folder.to_owned())).scan().is_ok_and(|found| !found.is_empty())
}
