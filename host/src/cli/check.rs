//! `wharf check`: what plugins are, ask for and would be given.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::args::Check;
use super::serve;
use crate::capacity::outlive_file_size_limit;
use crate::config::{Access, HostConfig, ListenAddress, ManifestFile, ManifestOrigin, Settings, Size, one_line};
use crate::listen::overlap;
use crate::plugin::{Folder, Loaded, Loader, PluginFiles, PluginSource, Refusal, STDIO};
use crate::report::{LogStyle, log};

/// Prints what there is to know of each plugin.
///
/// # Errors
/// A path that can't be read, or a machine that can't make a sandbox.
pub fn check(command: &Check) -> anyhow::Result<ExitCode> {
    log::to_stderr(command.common.log, LogStyle::Full);
    let loader = Arc::new(serve::loader(1, command.common.cache(), false)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    runtime.block_on(async { outlive_file_size_limit() })?;
    let mut out = io::stdout().lock();
    let mut all_good = true;
    for path in &command.paths {
        let Looked { found, defaults, lonely } = match look(path, command.config.as_deref()) {
            Ok(looked) => looked,
            Err(error) => {
                writeln!(out, "{}: refused: {}", path.display(), one_line(&format_args!("{error:#}")))?;
                all_good = false;
                continue;
            }
        };
        // A host has each address for one plugin.
        let mut taken: Vec<(ListenAddress, String)> = Vec::new();
        for (name, found) in found {
            let loaded = runtime.block_on(load(&loader, &name, &found, defaults.clone()));
            match loaded.and_then(|loaded| claim(&mut taken, &name, &loaded).map(|()| loaded)) {
                Ok(loaded) => describe(&mut out, &name, &loaded)?,
                Err(refusal) => {
                    writeln!(out, "{name}: refused: {}", one_line(&refusal))?;
                    all_good = false;
                }
            }
        }
        for manifest in lonely {
            writeln!(out, "{}: no plugin stands beside it, so it is not used", one_line(&manifest.display()))?;
        }
    }
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What there is at a path.
#[derive(Default)]
struct Looked {
    found: BTreeMap<String, PluginFiles>,
    /// The settings under their manifests.
    defaults: ManifestFile,
    /// Manifests of no plugin.
    lonely: Vec<PathBuf>,
}

fn look(path: &Path, config: Option<&Path>) -> anyhow::Result<Looked> {
    let is_folder = path.is_dir();
    let beside = is_folder.then(|| HostConfig::beside(path));
    let read = match (config, &beside) {
        (Some(file), _) => {
            let read = HostConfig::read_when_written(file)?;
            anyhow::ensure!(read.is_some(), "{}: no such file", file.display());
            read
        }
        (None, Some(file)) => HostConfig::read_when_written(file)?,
        (None, None) => None,
    };
    let defaults = read.unwrap_or_default().defaults;
    if !is_folder {
        let found = Folder::new(PluginSource::File(path.to_owned())).scan()?;
        anyhow::ensure!(!found.is_empty(), "no such file");
        return Ok(Looked { found, defaults, ..Looked::default() });
    }
    let found = Folder::new(PluginSource::Folder(path.to_owned())).scan()?;
    let mut lonely = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_manifest = file.extension().is_some_and(|extension| extension == "toml");
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_used = found.values().any(|found| found.manifest() == file) || beside.as_ref() == Some(&file);
        if is_manifest && !is_hidden && !is_used && config != Some(&file) {
            lonely.push(file);
        }
    }
    lonely.sort();
    Ok(Looked { found, defaults, lonely })
}

/// Enters a plugin's addresses.
///
/// # Errors
/// One that another plugin has.
fn claim(taken: &mut Vec<(ListenAddress, String)>, name: &str, loaded: &Loaded) -> Result<(), Refusal> {
    let fixed =
        |address: &&ListenAddress| !matches!(address, ListenAddress::Tcp(a) | ListenAddress::Udp(a) if a.port() == 0);
    let addresses: Vec<ListenAddress> = loaded.settings.listen.iter().filter(fixed).cloned().collect();
    for address in &addresses {
        if let Some((other, plugin)) = taken.iter().find(|(other, _)| overlap(other, address)) {
            return Err(Refusal::Plugin(format!("{address}: plugin {plugin} has {other}")));
        }
    }
    taken.extend(addresses.into_iter().map(|address| (address, name.to_owned())));
    Ok(())
}

async fn load(
    loader: &Arc<Loader>,
    name: &str,
    found: &PluginFiles,
    defaults: ManifestFile,
) -> Result<Loaded, Refusal> {
    let files = found.read_when_written()?;
    let (path, text) = files.manifest;
    let beside = ManifestFile::parse(text.as_deref().unwrap_or(""), ManifestOrigin::Operator(&path))?;
    loader.load(name, files.plugin, beside, defaults).await
}

fn describe(out: &mut impl Write, name: &str, loaded: &Loaded) -> io::Result<()> {
    let Loaded { generation, settings, facts, .. } = loaded;
    writeln!(out, "{name}: ok")?;
    let mut line = |key: &str, value: &dyn Display| writeln!(out, "  {key:<12}{}", one_line(value));
    line("kind", &format_args!("{}, {}, {}", facts.kind, facts.contract, facts.form))?;
    line("generation", &generation.id)?;
    line("size", &Size(facts.size as u64))?;
    match facts.compiled {
        Some(took) => line("compiled", &format_args!("in {} ms", took.as_millis()))?,
        None => line("compiled", &"before, and kept")?,
    }
    line("memory", &format_args!("{} to begin with, {} at most", Size(facts.memory), Size(settings.limits.memory)))?;
    let sandbox = match (&settings.reuse, generation.guest.is_put_back()) {
        (Some(_), _) => "reused from request to request",
        (None, true) => "put back after each request",
        (None, false) => "made for each request",
    };
    line("sandbox", &sandbox)?;
    for address in &settings.listen {
        line("listen", address)?;
    }
    for import in &facts.imports {
        line("imports", &format_args!("{import} ({})", given(import, facts.kind, settings)))?;
    }
    if let Some(import) = &facts.sockets {
        line("note", &format_args!("it imports {import}, and {STDIO}"))?;
    }
    for grant in &settings.grants.dirs {
        let access = match grant.access {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "read-write",
        };
        line("granted", &format_args!("{} as {}, {access}", grant.host.display(), grant.guest))?;
    }
    for variable in settings.grants.env.keys() {
        line("granted", &format_args!("the variable {variable}"))?;
    }
    if settings.grants.dirs.is_empty() && settings.grants.env.is_empty() {
        line("granted", &"nothing")?;
    }
    Ok(())
}

/// What an import gives a plugin under these settings.
fn given(import: &str, kind: &str, settings: &Settings) -> String {
    let number = |n: usize, what: &str| match n {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let folders = || number(settings.grants.dirs.len(), "folder");
    let variables = || number(settings.grants.env.len(), "variable");
    let arguments = || number(settings.args.len(), "argument");
    match import.split('@').next().unwrap_or(import) {
        name if name.starts_with("wasi:filesystem/") => folders(),
        name if name.starts_with("wasi:sockets/") => "no network".to_owned(),
        "wasi:cli/environment" => format!("{}, {}", variables(), arguments()),
        "wasi:cli/stdin" | "wasi:cli/stdout" if kind == "command" => "the client".to_owned(),
        "wasi:cli/stdin" => "empty".to_owned(),
        "wasi:cli/stdout" | "wasi:cli/stderr" => "the log".to_owned(),
        "wasi_snapshot_preview1" => format!("the client; {}, {}, {}", folders(), variables(), arguments()),
        name if name.starts_with("wasi:cli/terminal-") => "none".to_owned(),
        name if name.starts_with("wharf:handler/") => "the request".to_owned(),
        _ => "as it is".to_owned(),
    }
}
