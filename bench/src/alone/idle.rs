//! Connections that are held: resident memory and page tables of each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Alone;
use crate::Bench;
use crate::load::{Target, Transport, messages};
use crate::meter::{self, Memory};
use crate::report::{Bound, Goal, Of, Outcome, Row};
use crate::server::{Kind, Server, Wharf};

const SIZE: usize = 64;
/// How long a connection has been quiet when it counts as idle: wharf lays a guest to rest after a
/// second.
const QUIET: Duration = Duration::from_secs(2);

pub fn run(bench: &Bench, this: &Alone, connections: usize) -> Result<Outcome> {
    let mut rows = Vec::new();
    for kind in bench.kinds() {
        // Python has a thread for each; workerd was seen to end with thousands.
        let most = if matches!(kind, Kind::Python | Kind::Workerd) { 1_000 } else { usize::MAX };
        // tcpserver's connections are other processes' memory; one that stays has its sandbox,
        // however it came to it.
        if connections > most || matches!(kind, Kind::Tcpserver | Kind::WharfReused) {
            continue;
        }
        let Ok(server) = kind.start(bench) else { continue };
        let mut row = held(kind.name(), &server, connections, true)?;
        if kind == Kind::Wharf {
            let bound = Bound::AtMost(28.0);
            row.goal = Some(Goal { of: Of::Figure, bound, met: bound.met_by(row.median) });
            rows.push(row);
            let patient = Wharf::echo(bench, "instance-on-first-byte = true\n")?;
            row = held("wharf, silent", &patient, connections, false)?;
        }
        rows.push(row);
    }
    Ok(Outcome::new(this.name, this.title, "KiB", rows))
}

/// So many connections, which have been greeted, or have not said a word.
fn held(name: &str, server: &Server, connections: usize, greeted: bool) -> Result<Row> {
    let target = Target::of(server, Transport::Tcp).context("no TCP")?;
    let message = target.message(SIZE);
    let hold =
        |count: usize| target.gather(count, |part| if greeted { messages::once_each(part, &message) } else { Ok(()) });
    let first = hold(10)?;
    // What is made once is made.
    target.ask(&message)?;
    let (open, before) = (meter::descriptors(server.pid())?, Memory::of(server.pid())?);
    let held = hold(connections)?;
    until_accepted(server.pid(), open + connections)?;
    let (busy, busy_tables) = before.grown_to(Memory::of(server.pid())?, connections);
    std::thread::sleep(QUIET);
    let after = Memory::of(server.pid())?;
    drop((first, held));
    let (resident, page_tables) = before.grown_to(after, connections);
    let mut row = Row::new(name, vec![resident + page_tables]);
    row.beside = vec![
        ("resident", resident),
        ("page tables", page_tables),
        ("KiB at first", busy + busy_tables),
        ("MiB before", before.resident as f64 / 1024.0),
    ];
    Ok(row)
}

/// Waits until a server has so many descriptors: a client is accepted when it has one.
pub fn until_accepted(pid: u32, wanted: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while meter::descriptors(pid)? < wanted {
        ensure!(Instant::now() < deadline, "it does not come to {wanted} descriptors");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
