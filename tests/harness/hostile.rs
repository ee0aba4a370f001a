//! Every guest that does harm when told to, with what has to become of it. `!` tells it to.

/// A fixture that answers `ok` to each message until one begins with `!`.
pub struct Hostile {
    pub fixture: &'static str,
    /// Where the session ends.
    pub phase: &'static str,
    /// What its `cause` in the log begins with.
    pub cause: &'static str,
    /// What the client hears of it afterwards.
    pub last_words: &'static str,
    /// Whether it takes a client that has finished sending; else one that is still there.
    pub at_end: bool,
}

const fn ends(fixture: &'static str, phase: &'static str, cause: &'static str) -> Hostile {
    Hostile { fixture, phase, cause, last_words: "", at_end: false }
}

pub static HOSTILE: [Hostile; 17] = [
    ends("traps_in_setup", "setup", "trap: "),
    ends("traps_in_handle", "handle", "trap: "),
    ends("traps_in_finish", "finish", "trap: "),
    ends("spins_in_setup", "setup", "cpu: "),
    ends("spins_in_handle", "handle", "cpu: "),
    ends("spins_in_finish", "finish", "cpu: "),
    ends("fails_in_setup", "setup", "error: no setup"),
    Hostile { last_words: "finished", ..ends("fails_in_handle", "handle", "error: no handle") },
    ends("fails_in_finish", "finish", "error: no finish"),
    ends("recurses", "handle", "stack: "),
    ends("eats_memory", "handle", "memory: "),
    ends("eats_table", "handle", "trap: "),
    ends("exits", "handle", "exit: status "),
    ends("reaches_out", "handle", "trap: "),
    ends("returns_nonsense", "handle", "trap: "),
    Hostile { at_end: true, ..ends("never_returns", "handle", "broken-pipe: ") },
    // It does not wait for its client, which would be a rest for the CPU limit.
    ends("polls", "handle", "cpu: "),
];
