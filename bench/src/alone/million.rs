//! Whether anything grows with the number of connections that came and went.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Alone;
use crate::Bench;
use crate::load::{Target, Transport, connect};
use crate::meter::Memory;
use crate::report::{Outcome, Row};
use crate::server::Kind;

const CONNECTIONS: u64 = 1_000_000;

pub fn run(bench: &Bench, this: &Alone) -> Result<Outcome> {
    let server = Kind::Wharf.start(bench)?;
    let target = Target::of(&server, Transport::Tcp).context("no TCP")?;
    let mut served = 0;
    let mut rows = Vec::new();
    for (name, wanted) in [("after 10,000", CONNECTIONS / 100), ("after 1,000,000", CONNECTIONS)] {
        while served < wanted {
            served += connect::one_message_each(&target, 16, Duration::from_millis(500))?.operations;
        }
        let mut row = Row::new(name, vec![Memory::of(server.pid())?.total() as f64 / 1024.0]);
        row.beside = vec![("served", served as f64)];
        rows.push(row);
    }
    rows[1].ratio = Some(rows[1].median / rows[0].median);
    Ok(Outcome::new(this.name, this.title, "MiB resident and page tables", rows))
}
