//! What is measured side by side: the same load on one server after the other, round after round.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;

use crate::Bench;
use crate::load::{Done, Target, Transport, bulk, connect, messages};
use crate::meter;
use crate::report::{Bound, Goal, Of, Outcome, Row, median};
use crate::server::{Kind, Server};

/// For connections to get all that they will have before anything counts.
const WARM_UP: Duration = Duration::from_millis(20);

/// A load, and what of it counts.
pub struct SideBySide {
    pub name: &'static str,
    pub title: &'static str,
    transport: Transport,
    load: Load,
    goals: &'static [(Kind, Of, Bound)],
}

#[derive(Clone, Copy)]
enum Load {
    /// Ping-pong: connections, how many of them at once, bytes.
    Messages { connections: usize, at_once: usize, size: usize },
    /// Connect, one message, close: how many at once.
    Connect { at_once: usize },
    /// Connections that stream.
    Bulk { connections: usize },
}

use Kind::{Native, Python, Wharf, WharfReused, Workerd};

const fn messages(connections: usize, size: usize) -> Load {
    Load::Messages { connections, at_once: connections, size }
}

/// In the order of the report.
pub const SIDE_BY_SIDE: &[SideBySide] = &[
    SideBySide {
        name: "messages-64",
        title: "a message of 64 bytes, 64 connections",
        transport: Transport::Tcp,
        load: messages(64, 64),
        goals: &[
            (Wharf, Of::Ratio, Bound::AtMost(1.05)),
            (Python, Of::Times, Bound::AtLeast(1.0)),
            (Workerd, Of::Times, Bound::AtLeast(1.0)),
        ],
    },
    SideBySide {
        name: "messages-1",
        title: "a message of 64 bytes, 1 connection",
        transport: Transport::Tcp,
        load: messages(1, 64),
        goals: &[],
    },
    SideBySide {
        name: "messages-64-4k",
        title: "a message of 4 KiB, 64 connections",
        transport: Transport::Tcp,
        load: messages(64, 4096),
        goals: &[],
    },
    SideBySide {
        name: "messages-1-4k",
        title: "a message of 4 KiB, 1 connection",
        transport: Transport::Tcp,
        load: messages(1, 4096),
        goals: &[],
    },
    SideBySide {
        name: "messages-64-unix",
        title: "a message of 64 bytes, 64 connections, Unix",
        transport: Transport::Unix,
        load: messages(64, 64),
        goals: &[],
    },
    SideBySide {
        name: "messages-10000",
        title: "a message of 64 bytes, 10 at once on 10,000 connections",
        transport: Transport::Tcp,
        load: Load::Messages { connections: 10_000, at_once: 10, size: 64 },
        goals: &[],
    },
    SideBySide {
        name: "messages-10",
        title: "a message of 64 bytes, 10 connections",
        transport: Transport::Tcp,
        load: messages(10, 64),
        goals: &[],
    },
    SideBySide {
        name: "connect",
        title: "connect, 64 bytes, close",
        transport: Transport::Tcp,
        load: Load::Connect { at_once: 16 },
        goals: &[
            (Wharf, Of::Ratio, Bound::AtMost(1.12)),
            (Python, Of::Times, Bound::AtLeast(7.0)),
            (Workerd, Of::Times, Bound::AtLeast(3.0)),
        ],
    },
    SideBySide {
        name: "connect-unix",
        title: "connect, 64 bytes, close, Unix",
        transport: Transport::Unix,
        load: Load::Connect { at_once: 16 },
        goals: &[],
    },
    SideBySide {
        name: "bulk",
        title: "64 KiB writes, 4 connections",
        transport: Transport::Tcp,
        load: Load::Bulk { connections: 4 },
        goals: &[(Wharf, Of::Ratio, Bound::AtLeast(0.97))],
    },
    SideBySide {
        name: "bulk-unix",
        title: "64 KiB writes, 4 connections, Unix",
        transport: Transport::Unix,
        load: Load::Bulk { connections: 4 },
        goals: &[],
    },
    SideBySide {
        name: "datagrams",
        title: "a datagram of 64 bytes, 64 clients",
        transport: Transport::Udp,
        load: messages(64, 64),
        goals: &[(WharfReused, Of::Ratio, Bound::AtMost(1.2))],
    },
];

impl SideBySide {
    fn unit(&self) -> &'static str {
        match self.load {
            Load::Messages { .. } | Load::Connect { .. } => "µs of the server's CPU time each",
            Load::Bulk { .. } => "GB/s",
        }
    }

    /// Which servers are worth a place in it.
    fn takes(&self, kind: Kind) -> bool {
        match self.load {
            // Thousands of threads or processes are beside the point.
            Load::Messages { connections: 1000.., .. } => matches!(kind, Native | Wharf | Kind::Go),
            Load::Messages { .. } if self.transport == Transport::Udp => kind != Kind::Tcpserver,
            // A connection that stays has its sandbox, however it came to it.
            Load::Messages { .. } | Load::Bulk { .. } => kind != WharfReused,
            Load::Connect { .. } => true,
        }
    }

    /// Runs it on each of the servers, interleaved, and compares.
    pub fn run(&self, bench: &Bench, servers: &[(Kind, Server)]) -> Result<Outcome> {
        let mut targets = Vec::new();
        for (kind, server) in servers.iter().filter(|(kind, _)| self.takes(*kind)) {
            if let Some(target) = Target::of(server, self.transport) {
                targets.push((*kind, server.pid(), target));
            }
        }
        let mut rounds: HashMap<Kind, Vec<Round>> = HashMap::new();
        // The first is for caches to fill.
        for round in 0..=bench.rounds {
            for (kind, pid, target) in &targets {
                let measured = self.round(target, *pid, bench.round)?;
                if round > 0 {
                    rounds.entry(*kind).or_default().push(measured);
                }
            }
            crate::progress(&format!("{}: round {round} of {}", self.name, bench.rounds));
        }
        let rows = targets.iter().map(|(kind, ..)| self.row(*kind, &rounds[kind])).collect();
        Ok(self.compare(rows))
    }

    fn round(&self, target: &Target, pid: u32, duration: Duration) -> Result<Round> {
        let sockets = match self.load {
            Load::Messages { connections, .. } | Load::Bulk { connections } => target.connect_many(connections)?,
            Load::Connect { .. } => Vec::new(),
        };
        if let Load::Messages { connections, size, .. } = self.load {
            // Each is accepted, and has its sandbox and its buffers, before anything counts.
            messages::ping_pong(&sockets, connections.min(256), &target.message(size), WARM_UP)?;
        }
        let (user, system) = meter::cpu_split(pid)?;
        let cpu = meter::cpu_time(pid)?;
        let done = match self.load {
            Load::Messages { at_once, size, .. } => {
                messages::ping_pong(&sockets, at_once, &target.message(size), duration)?
            }
            Load::Connect { at_once } => connect::one_message_each(target, at_once, duration)?,
            Load::Bulk { .. } => bulk::stream(sockets, duration)?,
        };
        let cpu = meter::cpu_time(pid)? - cpu;
        let (user_after, system_after) = meter::cpu_split(pid)?;
        Ok(Round { cpu, user: user_after - user, system: system_after - system, done })
    }

    fn row(&self, kind: Kind, rounds: &[Round]) -> Row {
        let of = |figure: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(figure).collect() };
        let figures = match self.load {
            Load::Bulk { .. } => of(|round| round.per_second() / 1e9),
            _ => of(|round| round.each(round.cpu)),
        };
        let mut row = Row::new(kind.name(), figures);
        row.beside = match self.load {
            Load::Bulk { .. } => vec![("CPU ns/KiB", median(&of(|round| round.each(round.cpu) * 1024.0 * 1e3)))],
            _ => vec![
                ("user", median(&of(|round| round.each(round.user)))),
                ("system", median(&of(|round| round.each(round.system)))),
                ("per second", median(&of(Round::per_second))),
                ("p99 µs", median(&of(|round| round.done.latencies.value_at_quantile(0.99) as f64))),
                ("busy %", median(&of(|round| round.cpu.as_secs_f64() / round.done.elapsed.as_secs_f64() * 100.0))),
            ],
        };
        row
    }

    fn compare(&self, mut rows: Vec<Row>) -> Outcome {
        let median_of = |rows: &[Row], kind: Kind| rows.iter().find(|row| row.server == kind.name()).map(|r| r.median);
        let (native, wharf) = (median_of(&rows, Native), median_of(&rows, Wharf));
        for row in &mut rows {
            row.ratio = native.filter(|_| row.server != Native.name()).map(|native| row.median / native);
            row.goal = self.goals.iter().find(|(kind, ..)| kind.name() == row.server).and_then(|(_, of, bound)| {
                let value = match of {
                    Of::Ratio => row.ratio?,
                    Of::Figure => row.median,
                    Of::Times => row.median / wharf?,
                };
                Some(Goal { of: *of, bound: *bound, met: bound.met_by(value) })
            });
        }
        Outcome::new(self.name, self.title, self.unit(), rows)
    }
}

struct Round {
    cpu: Duration,
    user: Duration,
    system: Duration,
    done: Done,
}

impl Round {
    /// Microseconds an operation.
    fn each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.done.operations as f64
    }

    fn per_second(&self) -> f64 {
        self.done.operations as f64 / self.done.elapsed.as_secs_f64()
    }
}
