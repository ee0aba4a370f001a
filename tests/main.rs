//! Black-box tests: the real binary, real sockets, hostile guests.

mod harness;

mod cache;
mod check;
mod command_line;
mod crowd;
mod grants;
mod lifecycle;
mod listening;
mod loader;
mod plugins;
mod reload;
mod replacing;
mod sandbox;
mod settings;
mod signals;
mod timeouts;
