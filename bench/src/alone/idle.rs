//! Connections that are held: resident memory and page tables of each.

use anyhow::{Context, Result};

use super::Alone;
use crate::Bench;
use crate::load::{Target, Transport, messages};
use crate::meter::Memory;
use crate::report::{Bound, Goal, Of, Outcome, Row};
use crate::server::Kind;

const SIZE: usize = 64;

pub fn run(bench: &Bench, this: &Alone, connections: usize) -> Result<Outcome> {
    let mut rows = Vec::new();
    for kind in bench.kinds() {
        // Python has a thread for each; workerd was seen to end with thousands.
        let most = if matches!(kind, Kind::Python | Kind::Workerd) { 1_000 } else { usize::MAX };
        // tcpserver's connections are other processes' memory; one that stays has its sandbox, however it came to it.
        if connections > most || matches!(kind, Kind::Tcpserver | Kind::WharfReused) {
            continue;
        }
        let Ok(server) = kind.start(bench) else { continue };
        let target = Target::of(&server, Transport::Tcp).context("no TCP")?;
        let message = target.message(SIZE);
        let greet = |count: usize| -> Result<Vec<_>> {
            let sockets = target.connect_many(count)?;
            messages::once_each(&sockets, &message)?;
            Ok(sockets)
        };
        let held = greet(10)?;
        let before = Memory::of(server.pid())?;
        let mut sockets = Vec::with_capacity(connections);
        // No more at once than a backlog holds.
        while sockets.len() < connections {
            sockets.extend(greet(500.min(connections - sockets.len()))?);
        }
        let after = Memory::of(server.pid())?;
        drop((held, sockets));
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / connections as f64;
        let mut row = Row::new(kind.name(), vec![each(before.total(), after.total())]);
        row.beside = vec![
            ("resident", each(before.resident, after.resident)),
            ("page tables", each(before.page_tables, after.page_tables)),
            ("MiB before", before.resident as f64 / 1024.0),
        ];
        if kind == Kind::Wharf {
            let bound = Bound::AtMost(28.0);
            row.goal = Some(Goal { of: Of::Figure, bound, met: bound.met_by(row.median) });
        }
        rows.push(row);
    }
    Ok(Outcome::new(this.name, this.title, "KiB", rows))
}
