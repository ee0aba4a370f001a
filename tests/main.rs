//! Black-box tests: the real binary, real sockets, hostile guests.

mod harness;

mod addresses;
mod cache;
mod check;
mod command_line;
mod commands;
mod complaints;
mod concurrency;
mod cpython;
mod crowd;
mod datagrams;
mod examples;
mod families;
mod grants;
mod languages;
mod lifecycle;
mod listening;
mod loader;
mod odd_clients;
mod plugins;
mod python_builds;
mod python_sdk;
mod reload;
mod replacing;
mod requests;
mod reuse;
mod sandbox;
mod semantics;
mod settings;
mod signals;
mod sockets;
mod socketserver_table;
mod timeouts;
mod unix;
