//! Benchmarks of wharf, side by side with the same server in native tokio and with what people
//! would run instead.
//!
//! Everything is a ratio from one run: rounds are interleaved, so that what else the machine does
//! meets all servers alike, and medians are compared. The server's CPU time per operation holds
//! still where wall-clock time does not.

#![forbid(unsafe_code)]

mod alone;
mod chart;
mod load;
mod machine;
mod meter;
mod report;
mod server;
mod side_by_side;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use alone::{ALONE, Alone};
use machine::{Cores, Machine};
use report::{Outcome, Report};
use server::Kind;
use side_by_side::{SIDE_BY_SIDE, SideBySide};

/// Measures wharf beside its baseline and its peers. Started by `cargo xtask bench`, which builds
/// and fetches them.
#[derive(Parser)]
struct Arguments {
    /// Scenarios to run, all if none is named; `list` names them
    scenarios: Vec<String>,
    /// Rounds that count, after one that does not
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of a round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Servers to compare, all if none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Kind>,
    /// Let servers write their logs to stderr
    #[arg(long)]
    verbose: bool,
    /// The wharf to measure
    #[arg(long, hide = true)]
    wharf: PathBuf,
    /// The baseline
    #[arg(long, hide = true)]
    native: PathBuf,
    /// The folder of shipped plugins
    #[arg(long, hide = true)]
    plugins: PathBuf,
    /// The folder of the tests' plugins
    #[arg(long, hide = true)]
    fixtures: PathBuf,
    /// The folder with a plugin of each language
    #[arg(long, hide = true)]
    languages: PathBuf,
    /// The folder with the peers' sources
    #[arg(long, hide = true)]
    peers: PathBuf,
    /// The folder with the peers' programs
    #[arg(long, hide = true)]
    installed: PathBuf,
    /// Where results go
    #[arg(long, hide = true)]
    output: PathBuf,
}

/// What every part of a run needs.
pub struct Bench {
    cores: Cores,
    rounds: usize,
    round: Duration,
    verbose: bool,
    wharf: PathBuf,
    native: PathBuf,
    plugins: PathBuf,
    fixtures: PathBuf,
    languages: PathBuf,
    peers: PathBuf,
    installed: PathBuf,
    kinds: Vec<Kind>,
    /// wharf's cache of compiled code, this run's own.
    cache: tempfile::TempDir,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let chosen = choose(&arguments.scenarios)?;
    let Some(chosen) = chosen else { return Ok(()) };
    let descriptors = machine::raise_descriptors();
    let machine = Machine::this(std::thread::available_parallelism()?.get(), descriptors);
    let cores = Cores::choose()?;
    cores.load_here()?;
    let bench = Bench {
        cores,
        rounds: arguments.rounds.max(1),
        round: Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?,
        verbose: arguments.verbose,
        wharf: arguments.wharf,
        native: arguments.native,
        plugins: arguments.plugins,
        fixtures: arguments.fixtures,
        languages: arguments.languages,
        peers: arguments.peers,
        installed: arguments.installed,
        kinds: if arguments.servers.is_empty() { Kind::value_variants().to_vec() } else { arguments.servers },
        cache: tempfile::tempdir()?,
    };
    println!("{machine}; server on core {}, load on core {}", cores.server, cores.load);

    let (mut servers, mut missing) = (Vec::new(), Vec::new());
    for kind in bench.kinds() {
        match kind.start(&bench) {
            Ok(server) => servers.push((kind, server)),
            Err(error) => {
                println!("missing: {error:#}");
                missing.push(format!("{error:#}"));
            }
        }
    }
    let mut outcomes = Vec::new();
    let mut add = |outcome: Outcome| {
        println!("{}", outcome.table());
        outcomes.push(outcome);
    };
    for scenario in chosen.side_by_side {
        add(scenario.run(&bench, &servers).with_context(|| scenario.name)?);
    }
    drop(servers);
    for scenario in chosen.alone {
        add((scenario.run)(&bench, scenario).with_context(|| scenario.name)?);
    }

    std::fs::create_dir_all(&arguments.output)?;
    let report = Report {
        machine,
        rounds: bench.rounds,
        seconds_per_round: bench.round.as_secs_f64(),
        scenarios: outcomes,
        missing,
    };
    let (results, picture) = (arguments.output.join("results.json"), arguments.output.join("chart.svg"));
    std::fs::write(&results, serde_json::to_string_pretty(&report)?)?;
    svg::save(&picture, &chart::draw(&report))?;
    println!("{}, {}", results.display(), picture.display());
    Ok(())
}

struct Chosen {
    side_by_side: Vec<&'static SideBySide>,
    alone: Vec<&'static Alone>,
}

/// None if the list alone was asked for.
fn choose(names: &[String]) -> Result<Option<Chosen>> {
    if names.iter().any(|name| name == "list") {
        let all = SIDE_BY_SIDE.iter().map(|s| (s.name, s.title)).chain(ALONE.iter().map(|a| (a.name, a.title)));
        for (name, title) in all {
            println!("{name:<18} {title}");
        }
        return Ok(None);
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let chosen = Chosen {
        side_by_side: SIDE_BY_SIDE.iter().filter(|scenario| wanted(scenario.name)).collect(),
        alone: ALONE.iter().filter(|scenario| wanted(scenario.name)).collect(),
    };
    for name in names {
        let found = chosen.side_by_side.iter().any(|s| s.name == name) || chosen.alone.iter().any(|a| a.name == name);
        ensure!(found, "no scenario {name}; `list` names them");
    }
    Ok(Some(chosen))
}

impl Bench {
    /// The servers to compare.
    fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds.iter().copied()
    }

    /// One of those that ship.
    fn plugin(&self, name: &str) -> PathBuf {
        self.plugins.join(name).with_extension("wasm")
    }
}

/// A line that the next one replaces, for who watches.
fn progress(line: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Who can't see it misses nothing.
        let _ = write!(stderr, "\r\x1b[K{line}");
    }
}
