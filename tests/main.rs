//! Black-box tests: the real binary, real sockets, hostile guests.

#![forbid(unsafe_code)]

mod harness;

mod addresses;
mod cache;
mod check;
mod command_line;
mod commands;
mod complaints;
mod concurrency;
mod conformance;
mod cpython;
mod crowd;
mod datagrams;
mod examples;
mod families;
mod fuzzing;
mod grants;
mod languages;
mod large;
mod lifecycle;
mod listening;
mod loader;
mod new;
mod odd_clients;
mod plugins;
mod python_builds;
mod python_sdk;
mod reload;
mod replacing;
mod requests;
mod reuse;
mod sandbox;
mod security_page;
mod semantics;
mod settings;
mod signals;
mod sockets;
mod socketserver_table;
mod timeouts;
mod unix;
mod unsafe_code;
