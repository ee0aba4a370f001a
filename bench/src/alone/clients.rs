//! Clients that mean harm: what each of them costs the host, and what becomes of the others.

use std::fs;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::{SendFlags, send};
use socket2::Socket;

use super::Alone;
use super::idle::until_accepted;
use crate::Bench;
use crate::load::messages;
use crate::meter::{Memory, descriptors};
use crate::report::{Outcome, Row, median};
use crate::server::{CodeCache, Wharf};

/// How many mean harm.
const HARMFUL: usize = 2_000;
/// How often a second one of them does what it does: more than a machine meets by chance, and less
/// than takes all of a core.
const PACE: f64 = 5_000.0;
/// How many do not, and are measured.
const CONNECTIONS: usize = 16;

/// What they do.
struct Harm {
    name: &'static str,
    /// How the plugin that they are clients of is set.
    settings: &'static str,
    /// How many stay.
    held: usize,
    /// What each of these does at first.
    begin: fn(&Socket) -> Result<()>,
    /// What is done with one after the other, at the pace, while the others are waited for.
    act: Act,
}

enum Act {
    Nothing,
    OnHeld(fn(&Socket) -> Result<()>),
    /// On a connection of its own, which is closed then.
    OnNew(fn(&Socket) -> Result<()>),
}

const SILENT: Harm = Harm { name: "say nothing", settings: "", held: HARMFUL, begin: |_| Ok(()), act: Act::Nothing };

const HARMS: &[Harm] = &[
    Harm { name: "nobody", held: 0, ..SILENT },
    SILENT,
    Harm { name: "say nothing, instance-on-first-byte", settings: "instance-on-first-byte = true\n", ..SILENT },
    Harm { name: "never read", begin: floods, ..SILENT },
    Harm { name: "a byte at a time", act: Act::OnHeld(drips), ..SILENT },
    Harm { name: "connect and close", held: 0, act: Act::OnNew(|_| Ok(())), ..SILENT },
    Harm {
        name: "connect and close, instance-on-first-byte",
        settings: "instance-on-first-byte = true\n",
        held: 0,
        act: Act::OnNew(|_| Ok(())),
        ..SILENT
    },
    Harm {
        name: "connect and close, max-rate-per-source = 100",
        settings: "max-rate-per-source = 100\n",
        held: 0,
        act: Act::OnNew(|_| Ok(())),
        ..SILENT
    },
    Harm {
        name: "connect and close, max-connections-per-source = 16",
        settings: "max-connections-per-source = 16\n",
        held: 16,
        act: Act::OnNew(|_| Ok(())),
        ..SILENT
    },
    Harm { name: "send and reset", held: 0, act: Act::OnNew(resets), ..SILENT },
];

/// Sends as much as is taken, and never reads what comes back.
fn floods(socket: &Socket) -> Result<()> {
    socket.set_recv_buffer_size(4096)?;
    socket.set_send_buffer_size(16 << 10)?;
    let much = [b'M'; 64 << 10];
    // A little later there may be room for more, and a little later none.
    for _ in 0..4 {
        while send(socket, &much, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok() {}
        std::thread::yield_now();
    }
    Ok(())
}

fn drips(socket: &Socket) -> Result<()> {
    send(socket, b"M", SendFlags::NOSIGNAL)?;
    Ok(())
}

fn resets(socket: &Socket) -> Result<()> {
    // It may be refused, and gone.
    let _ = send(socket, &[b'M'; 64], SendFlags::NOSIGNAL);
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(())
}

/// A host for each, all on one core, so that whatever is done is in everybody's way.
pub fn run(bench: &Bench, this: &Alone) -> Result<Outcome> {
    let mut rows: Vec<Row> = HARMS.iter().map(|harm| measure(bench, harm)).collect::<Result<_>>()?;
    let undisturbed = rows[0].median;
    for row in &mut rows[1..] {
        row.ratio = Some(row.median / undisturbed);
    }
    Ok(Outcome::new(this.name, this.title, "µs, 16 connections, all on one core", rows))
}

fn measure(bench: &Bench, harm: &Harm) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    for (name, settings) in [("calm", ""), ("harmed", harm.settings)] {
        let from = bench.plugin("echo");
        fs::copy(&from, folder.path().join(name).with_extension("wasm")).with_context(|| from.display().to_string())?;
        let manifest = format!("listen = \"tcp://127.0.0.1:0\"\nmax-connections = 20000\n{settings}");
        fs::write(folder.path().join(name).with_extension("toml"), manifest)?;
    }
    let wharf = Wharf::serve(bench, folder, CodeCache::Shared)?;
    let (one, other) = (wharf.listening_named()?, wharf.listening_named()?);
    let (calm, harmed) = if one.0 == "calm" { (one.1, other.1) } else { (other.1, one.1) };

    let message = calm.message(64);
    let sockets = calm.connect_many(CONNECTIONS)?;
    messages::once_each(&sockets, &message)?;
    harmed.ask(&message)?;
    let (open, before) = (descriptors(wharf.pid())?, Memory::of(wharf.pid())?);
    let held = harmed.gather(harm.held, |part| part.iter().try_for_each(harm.begin))?;
    until_accepted(wharf.pid(), open + held.len())?;

    let mut next = held.iter().cycle();
    let (begun, mut acts) = (Instant::now(), 0_u64);
    let mut act = || -> Result<()> {
        if begun.elapsed().as_secs_f64() * PACE < acts as f64 {
            return Ok(());
        }
        match &harm.act {
            Act::Nothing => return Ok(()),
            Act::OnHeld(act) => next.next().map_or(Ok(()), act)?,
            Act::OnNew(act) => {
                let socket = harmed.connect()?;
                act(&socket)?;
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        acts += 1;
        Ok(())
    };
    let mut round = || messages::ping_pong_beside(&sockets, CONNECTIONS, &message, bench.round, &mut act);
    // One that does not count, for what they have begun with.
    round()?;
    let rounds = (0..bench.rounds).map(|_| round()).collect::<Result<Vec<_>>>()?;
    let took = begun.elapsed().as_secs_f64();
    let latencies = |quantile| -> Vec<f64> {
        rounds.iter().map(|done| done.latencies.value_at_quantile(quantile) as f64).collect()
    };
    let per_second: Vec<f64> = rounds.iter().map(|done| done.operations as f64 / done.elapsed.as_secs_f64()).collect();
    let mut row = Row::new(harm.name, latencies(0.99));
    row.beside = vec![("p50", median(&latencies(0.5))), ("answers a second", median(&per_second))];
    if acts > 0 {
        row.beside.push(("times a second", acts as f64 / took));
    }
    let after = Memory::of(wharf.pid())?;
    if harm.held == HARMFUL {
        let (resident, page_tables) = before.grown_to(after, harm.held);
        row.beside.extend([("KiB of each", resident), ("page tables", page_tables)]);
    } else {
        row.beside.push(("MiB grown", after.total().saturating_sub(before.total()) as f64 / 1024.0));
    }
    Ok(row)
}
