//! What is said of what happens: events for scripts, the log, counts, and what a service manager is told.

mod counters;
mod events;
pub mod log;
mod outcome;
mod outlet;
pub mod systemd;
mod throttle;

pub use counters::{Counters, Report, Tally};
pub use events::{Event, flush};
pub use outcome::{FaultKind, Phase};
pub use systemd::Manager;
pub use throttle::Topic;
