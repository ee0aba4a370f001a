//! The host process: its command line, signals, output, faults, and the process that replaces it.

mod activation;
mod check;
mod command_line;
mod failed_upgrades;
mod faults;
mod outlets;
mod signals;
mod upgrade;
