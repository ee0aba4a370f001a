//! One handler that spins, and what becomes of the others.

use std::fs;
use std::io::Write;

use anyhow::{Context, Result};

use super::Alone;
use crate::Bench;
use crate::load::messages;
use crate::report::{Outcome, Row};
use crate::server::{CodeCache, Wharf};

const CONNECTIONS: usize = 16;

/// All on one core, so that whoever spins is in everybody's way.
pub fn run(bench: &Bench, this: &Alone) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    for (name, from) in [("echo", bench.plugin("echo")), ("misbehave", bench.fixtures.join("misbehave.wasm"))] {
        fs::copy(&from, folder.path().join(name).with_extension("wasm")).with_context(|| from.display().to_string())?;
        let manifest = "listen = \"tcp://127.0.0.1:0\"\nlimits.memory = \"2MiB\"\nlimits.cpu = \"1h\"\n";
        fs::write(folder.path().join(name).with_extension("toml"), manifest)?;
    }
    let wharf = Wharf::serve(bench, folder, CodeCache::Shared)?;
    let (one, other) = (wharf.listening_named()?, wharf.listening_named()?);
    let (echo, spinner) = if one.0 == "echo" { (one.1, other.1) } else { (other.1, one.1) };

    let message = echo.message(64);
    let round = || -> Result<f64> {
        let done = messages::ping_pong(&echo.connect_many(CONNECTIONS)?, CONNECTIONS, &message, bench.round)?;
        Ok(done.latencies.value_at_quantile(0.99) as f64)
    };
    let rounds = |count: usize| (0..count).map(|_| round()).collect::<Result<Vec<_>>>();
    let alone = Row::new("nobody spins", rounds(bench.rounds)?);
    let mut spinning = spinner.connect()?;
    spinning.write_all(b"spin\n")?;
    let mut beside = Row::new("one spins", rounds(bench.rounds)?);
    beside.ratio = Some(beside.median / alone.median);
    Ok(Outcome::new(this.name, this.title, "µs, 16 connections, all on one core", vec![alone, beside]))
}
