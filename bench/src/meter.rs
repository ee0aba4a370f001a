//! What a server used: CPU time and memory, as the kernel counts them for its process.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU time of a process, of its threads that ended, and of its children, here or gone.
///
/// A living one's to the nanosecond, from its CPU clock (clock_getcpuclockid(3)); that of children
/// that were waited for in hundredths of a second, from `/proc/PID/stat` (proc_pid_stat(5)).
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).context("the server has gone")?;
    let own = Duration::from(clock_gettime(clock)?);
    let [_, _, gone_user, gone_system] = ticks(pid)?;
    let mut sum = own + gone_user + gone_system;
    for child in children(pid)? {
        // One that ends now is counted with those that were waited for, next time.
        sum += cpu_time(child).unwrap_or_default();
    }
    Ok(sum)
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).context("the server has gone")?;
    Ok(list.split_whitespace().filter_map(|child| child.parse().ok()).collect())
}

/// User and system time of a process, in hundredths of a second, its children's left out.
pub fn cpu_split(pid: u32) -> Result<(Duration, Duration)> {
    let [user, system, ..] = ticks(pid)?;
    Ok((user, system))
}

/// Fields 14 to 17 of `/proc/PID/stat`.
fn ticks(pid: u32) -> Result<[Duration; 4]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the server has gone")?;
    // Behind the command's name, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let per_second = rustix::param::clock_ticks_per_second();
    let mut next = || -> Result<Duration> {
        let ticks: u64 = fields.next().context("stat ends early")?.parse()?;
        Ok(Duration::from_millis(ticks * 1000 / per_second))
    };
    Ok([next()?, next()?, next()?, next()?])
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).context("the server has gone")?.count())
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident: u64,
    pub page_tables: u64,
}

impl Memory {
    /// From `/proc/PID/status` (proc_pid_status(5)).
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server has gone")?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.split_whitespace().next());
            Ok(value.with_context(|| format!("no {name} in status"))?.parse()?)
        };
        Ok(Self { resident: field("VmRSS:")?, page_tables: field("VmPTE:")? })
    }

    pub fn total(self) -> u64 {
        self.resident + self.page_tables
    }

    /// What a process grew by from `self` on, for each of so many connections, in KiB: resident
    /// memory and page tables.
    pub fn grown_to(self, after: Self, connections: usize) -> (f64, f64) {
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / connections as f64;
        (each(self.resident, after.resident), each(self.page_tables, after.page_tables))
    }
}
