//! The same handler, a line in and the line in upper case out, in each language that
//! `cargo xtask examples` built.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Alone;
use crate::Bench;
use crate::load::{Target, connect, messages};
use crate::meter;
use crate::report::{Outcome, Row};
use crate::server::{CodeCache, Wharf};

pub fn run(bench: &Bench, this: &Alone) -> Result<Outcome> {
    let mut plugins: Vec<PathBuf> = fs::read_dir(&bench.languages)
        .with_context(|| format!("{}: build them with `cargo xtask examples`", bench.languages.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    plugins.retain(|path| path.extension().is_some_and(|extension| extension == "wasm" || extension == "wat"));
    plugins.sort();
    let rows = plugins.iter().map(|path| row(bench, path)).collect::<Result<Vec<_>>>()?;
    Ok(Outcome::new(this.name, this.title, "messages a second, 64 connections, one core", rows))
}

fn row(bench: &Bench, plugin: &Path) -> Result<Row> {
    let name = plugin.file_stem().and_then(|name| name.to_str()).context("a name in UTF-8")?;
    let (_, _, cold) = start(bench, plugin, name, CodeCache::None)?;
    // Fills the cache.
    drop(start(bench, plugin, name, CodeCache::Shared)?);
    let (wharf, target, warm) = start(bench, plugin, name, CodeCache::Shared)?;
    let mut rounds = Vec::new();
    let mut cpu_each = Vec::new();
    for _ in 0..bench.rounds {
        let done = messages::ping_pong(&target.connect_many(64)?, 64, &target.message(64), bench.round)?;
        rounds.push(done.operations as f64 / done.elapsed.as_secs_f64());
        let cpu = meter::cpu_time(wharf.pid())?;
        let done = connect::one_message_each(&target, 16, bench.round)?;
        cpu_each.push((meter::cpu_time(wharf.pid())? - cpu).as_secs_f64() * 1e6 / done.operations as f64);
    }
    let mut row = Row::new(name.strip_prefix("upper-").unwrap_or(name), rounds);
    row.beside = vec![
        ("bytes", fs::metadata(plugin)?.len() as f64),
        ("first start ms", cold.as_secs_f64() * 1e3),
        ("warm start ms", warm.as_secs_f64() * 1e3),
        ("connect, 64 bytes, close µs CPU", crate::report::median(&cpu_each)),
    ];
    Ok(row)
}

/// Serves it alone, and says how long that took from the start of the program to its first answer.
fn start(bench: &Bench, plugin: &Path, name: &str, cache: CodeCache) -> Result<(Wharf, Target, Duration)> {
    let folder = tempfile::tempdir()?;
    let file = plugin.file_name().context("a file")?;
    fs::copy(plugin, folder.path().join(file))?;
    fs::write(folder.path().join(name).with_extension("toml"), "listen = \"tcp://127.0.0.1:0\"\n")?;
    let begun = Instant::now();
    let wharf = Wharf::serve(bench, folder, cache)?;
    let target = wharf.listening_as(name)?;
    target.ask(&target.message(64))?;
    Ok((wharf, target, begun.elapsed()))
}
