//! What is said of what happens: events for scripts, the log, counts, and what a service manager is
//! told.

mod colour;
mod events;
pub mod log;
mod non_blocking;
mod outcome;
mod plugin_stats;
mod rate_limit;
pub mod systemd;

pub use events::{Event, colour_events, flush};
pub use log::LogStyle;
pub use outcome::{FaultKind, Phase};
pub use plugin_stats::{Counters, PluginStats, Report};
pub use rate_limit::LogCategory;
pub use systemd::Notifier;
