//! From the start of the program to its first answer.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Alone;
use crate::Bench;
use crate::report::{Bound, Goal, Of, Outcome, Row};
use crate::server::{CodeCache, Wharf};

pub fn run(bench: &Bench, this: &Alone) -> Result<Outcome> {
    let mut cold = Vec::new();
    let mut warm = Vec::new();
    for _ in 0..bench.rounds {
        cold.push(first_answer(bench, CodeCache::None)?);
        // The one before filled nothing, so that the first of these does: it doesn't count.
        if warm.is_empty() {
            first_answer(bench, CodeCache::Shared)?;
        }
        warm.push(first_answer(bench, CodeCache::Shared)?);
    }
    let row = |name, times: Vec<Duration>| Row::new(name, times.iter().map(|time| time.as_secs_f64() * 1e3).collect());
    let mut warm = row("warm cache", warm);
    let bound = Bound::AtMost(50.0);
    warm.goal = Some(Goal { of: Of::Figure, bound, met: bound.met_by(warm.median) });
    Ok(Outcome::new(this.name, this.title, "ms, all shipped plugins in the folder", vec![warm, row("no cache", cold)]))
}

/// Of `echo`, beside all the others that ship.
fn first_answer(bench: &Bench, cache: CodeCache) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    for entry in fs::read_dir(&bench.plugins)? {
        let path = entry?.path();
        let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|extension| extension == "wasm"))
        else {
            continue;
        };
        fs::copy(&path, folder.path().join(name))?;
        let transport = if name.to_string_lossy().contains("udp") { "udp" } else { "tcp" };
        fs::write(
            folder.path().join(name).with_extension("toml"),
            format!("listen = \"{transport}://127.0.0.1:0\"\nlimits.memory = \"1MiB\"\n"),
        )?;
    }
    let begun = Instant::now();
    let wharf = Wharf::serve(bench, folder, cache)?;
    let target = wharf.listening_as("echo")?;
    target.ask(&target.message(64))?;
    Ok(begun.elapsed())
}
