//! Sessions: what is called when, how many run at once, and how they end.

mod complaints;
mod concurrency;
mod cpython;
mod first_byte;
mod fresh;
mod gone;
mod lifecycle;
mod odd_clients;
mod probes;
pub mod programs;
mod requests;
mod reuse;
mod semantics;
mod timeouts;
