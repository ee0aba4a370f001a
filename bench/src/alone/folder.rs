//! Many plugins in one folder.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use super::Alone;
use crate::Bench;
use crate::meter::{self, Memory};
use crate::report::{Outcome, Row};
use crate::server::{CodeCache, Wharf};

pub fn run(bench: &Bench, this: &Alone) -> Result<Outcome> {
    let plugin = fs::read(bench.plugin("echo")).context("echo.wasm")?;
    let mut rows = Vec::new();
    for (name, count) in [("1 plugin", 1), ("10 plugins", 10), ("100 plugins", 100), ("1,000 plugins", 1_000u32)] {
        let folder = tempfile::tempdir()?;
        for number in 0..count {
            // Each is a plugin of its own, with a hash and code of its own.
            let mut bytes = plugin.clone();
            bytes.extend([0, 5, 0]);
            bytes.extend(number.to_le_bytes());
            let path = folder.path().join(format!("echo{number}"));
            fs::write(path.with_extension("wasm"), bytes)?;
            let manifest = "listen = \"tcp://127.0.0.1:0\"\nlimits.memory = \"1MiB\"\n";
            fs::write(path.with_extension("toml"), manifest)?;
        }
        let begun = Instant::now();
        let wharf = Wharf::serve(bench, folder, CodeCache::None)?;
        let mut last = None;
        for _ in 0..count {
            last = Some(wharf.listening_named()?.1);
        }
        let target = last.context("no plugin")?;
        target.ask(&target.message(64))?;
        let each = begun.elapsed().as_secs_f64() * 1e3 / f64::from(count);
        let memory = Memory::of(wharf.pid())?;
        let cpu = meter::cpu_time(wharf.pid())?;
        let done = crate::load::connect::one_message_each(&target, 16, bench.round)?;
        let cpu = meter::cpu_time(wharf.pid())? - cpu;
        let mut row = Row::new(name, vec![each]);
        row.beside = vec![
            ("MiB resident and page tables", memory.total() as f64 / 1024.0),
            ("connect µs CPU", cpu.as_secs_f64() * 1e6 / done.operations as f64),
        ];
        rows.push(row);
    }
    Ok(Outcome::new(this.name, this.title, "ms each, compiled anew, to the last one's first answer", rows))
}
