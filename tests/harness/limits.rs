//! Limits of the machine, set for a running host alone.

use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use xtask::left_out;

use super::Wharf;
use super::observe::descriptor_numbers;

impl Wharf {
    /// Sets a limit of the running host; none lifts it as far as it may be.
    pub fn limit(&self, resource: Resource, current: Option<u64>) {
        limit(self.pid(), resource, current);
    }

    /// Leaves it so many descriptors, beside those that it has.
    pub fn leave_descriptors(&self, count: usize) {
        leave_descriptors(self.pid(), count);
    }
}

/// Sets a limit of a process that is ours; none lifts it as far as it may be.
pub fn limit(process: Pid, resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    let current = current.or(maximum);
    prlimit(Some(process), resource, Rlimit { current, maximum }).expect("a child's limits are its parent's to set");
}

/// Leaves a process so many descriptors, beside those that it has.
pub fn leave_descriptors(process: Pid, count: usize) {
    let taken = descriptor_numbers(process);
    let most = (0..).filter(|number| !taken.contains(number)).nth(count).expect("there are numbers enough");
    limit(process, Resource::Nofile, Some(most));
}

/// Whether this machine lets anybody make namespaces. Where it does not, what needs one is left
/// out, which is said.
pub fn namespaces_are_allowed(for_what: &str) -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let allowed = *ALLOWED.get_or_init(|| {
        let tried = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    });
    if !allowed {
        left_out::note(for_what, "this machine allows no user namespaces");
    }
    allowed
}
