//! Plugins replaced while they serve.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Alone;
use crate::Bench;
use crate::load::{Target, latencies};
use crate::report::{Bound, Goal, Of, Outcome, Row};
use crate::server::{CodeCache, Wharf};

/// How long a folder has to be quiet before the host looks at it, which is waited for on purpose.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// `echo` gives this back; `upper` in upper case.
const QUESTION: &[u8] = b"which one\n";

/// A server whose plugin is one of two, in turn.
struct Changing {
    wharf: Wharf,
    target: Target,
    versions: [Vec<u8>; 2],
}

impl Changing {
    fn start(bench: &Bench, cache: CodeCache) -> Result<Self> {
        let version = |name: &str| fs::read(bench.plugin(name)).with_context(|| name.to_owned());
        let versions = [version("echo")?, version("upper")?];
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("changing.toml"), "listen = \"tcp://127.0.0.1:0\"\nlimits.memory = \"1MiB\"\n")?;
        fs::write(folder.path().join("changing.wasm"), &versions[0])?;
        let wharf = Wharf::serve(bench, folder, cache)?;
        let target = wharf.listening_as("changing")?;
        Ok(Self { wharf, target, versions })
    }

    /// Puts version `number` in place, by renaming. `stamp` makes its content one that was never
    /// there before.
    fn replace(&self, number: usize, stamp: Option<u32>) -> Result<()> {
        let mut bytes = self.versions[number].clone();
        if let Some(stamp) = stamp {
            // A custom section without a name: nobody heeds it, and it changes the hash.
            bytes.extend([0, 5, 0]);
            bytes.extend(stamp.to_le_bytes());
        }
        let folder: &Path = self.wharf.folder();
        fs::write(folder.join(".next"), bytes)?;
        Ok(fs::rename(folder.join(".next"), folder.join("changing.wasm"))?)
    }
}

pub fn first_new_answer(bench: &Bench, this: &Alone) -> Result<Outcome> {
    let mut times = Vec::new();
    let changing = Changing::start(bench, CodeCache::None)?;
    for round in 0..bench.rounds {
        let version = (round + 1) % 2;
        let wanted = if version == 1 { QUESTION.to_ascii_uppercase().trim_ascii().to_vec() } else { QUESTION.to_vec() };
        changing.replace(version, None)?;
        let replaced = Instant::now();
        loop {
            let answer = changing.target.ask(QUESTION)?;
            let answered = Instant::now();
            if answer == wanted {
                times.push((answered - replaced).saturating_sub(DEBOUNCE).as_secs_f64() * 1e3);
                break;
            }
            anyhow::ensure!(replaced.elapsed() < Duration::from_secs(20), "the old one still answers");
            // Not in a row: the compiler shares the core.
            thread::sleep(Duration::from_millis(1));
        }
    }
    let mut row = Row::new("wharf", times);
    let bound = Bound::AtMost(100.0);
    row.goal = Some(Goal { of: Of::Figure, bound, met: bound.met_by(row.median) });
    Ok(Outcome::new(this.name, this.title, "ms beyond the debounce of 50 ms, 92 KB, never compiled before", vec![row]))
}

pub fn under_load(bench: &Bench, this: &Alone) -> Result<Outcome> {
    const RELOADS: u32 = 100;
    const CLIENTS: usize = 8;
    let changing = Changing::start(bench, CodeCache::None)?;
    let stop = AtomicBool::new(false);
    let (served, lost, slowest) = thread::scope(|scope| -> Result<_> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut served, mut lost, mut times) = (0u64, 0u64, latencies());
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        match changing.target.ask(QUESTION) {
                            Ok(answer) if answer.to_ascii_lowercase().starts_with(b"which one") => served += 1,
                            _ => lost += 1,
                        }
                        times.saturating_record(begun.elapsed().as_micros() as u64);
                    }
                    (served, lost, times)
                })
            })
            .collect();
        let reloads = (0..RELOADS).try_for_each(|number| -> Result<()> {
            changing.replace(number as usize % 2, Some(number))?;
            changing.wharf.event("loaded").map(drop)
        });
        stop.store(true, Ordering::Relaxed);
        let mut all = (0, 0, latencies());
        for client in clients {
            let (served, lost, times) = client.join().expect("clients don't panic");
            all.0 += served;
            all.1 += lost;
            all.2.add(times).expect("of the same precision");
        }
        reloads.map(|()| all)
    })
    .map(|(served, lost, times)| (served, lost, times.value_at_quantile(0.99)))?;
    let mut row = Row::new("wharf", vec![lost as f64]);
    row.beside = vec![("served", served as f64), ("p99 µs", slowest as f64)];
    let bound = Bound::AtMost(0.0);
    row.goal = Some(Goal { of: Of::Figure, bound, met: bound.met_by(row.median) });
    Ok(Outcome::new(this.name, this.title, "connections lost", vec![row]))
}
