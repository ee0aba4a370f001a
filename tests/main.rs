//! Black-box tests: the real binary, real sockets, hostile guests.

#![deny(unsafe_code)]

mod harness;

mod activation;
mod addresses;
mod cache;
mod check;
mod churn;
mod command_line;
mod commands;
mod complaints;
mod components;
mod concurrency;
mod conformance;
mod cpython;
mod crowd;
mod datagrams;
mod examples;
mod families;
mod faults;
mod first_byte;
mod fresh;
mod fuzzing;
mod grants;
mod hostile;
mod hostile_clients;
mod languages;
mod large;
mod leaks;
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
mod soak;
mod sockets;
mod socketserver_table;
mod sources;
mod timeouts;
mod unix;
mod unsafe_code;
mod upgrade;
