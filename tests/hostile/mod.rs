//! Plugins and clients that mean harm, and load of every kind at once.

mod clients;
mod crowd;
mod host_calls;
mod leaks;
mod plugins;
mod sandbox;
mod soak;
