//! What is measured of one server at a time, each in a process of its own.

mod clients;
mod fairness;
mod folder;
mod idle;
mod languages;
mod million;
mod reload;
mod start;

use anyhow::Result;

use crate::Bench;
use crate::report::Outcome;

/// Something to measure that brings its own servers.
pub struct Alone {
    pub name: &'static str,
    pub title: &'static str,
    pub run: fn(&Bench, &Self) -> Result<Outcome>,
}

/// In the order of the report.
pub const ALONE: &[Alone] = &[
    Alone { name: "idle-1000", title: "1,000 idle connections, memory of each", run: |b, a| idle::run(b, a, 1_000) },
    Alone { name: "idle-5000", title: "5,000 idle connections, memory of each", run: |b, a| idle::run(b, a, 5_000) },
    Alone { name: "idle-15000", title: "15,000 idle connections, memory of each", run: |b, a| idle::run(b, a, 15_000) },
    Alone { name: "start", title: "start to first answer", run: start::run },
    Alone { name: "reload", title: "a file replaced to first new answer", run: reload::first_new_answer },
    Alone { name: "reload-load", title: "100 reloads under load", run: reload::under_load },
    Alone { name: "fairness", title: "p99 of others beside a handler that spins", run: fairness::run },
    Alone { name: "clients", title: "p99 of others beside clients that mean harm", run: clients::run },
    Alone { name: "folder", title: "plugins in the folder", run: folder::run },
    Alone { name: "million", title: "memory over a million connections", run: million::run },
    Alone { name: "languages", title: "the same handler in each language", run: languages::run },
];
