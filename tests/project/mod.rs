//! The project itself: its documentation, its sources, and its fuzzers.

mod book;
mod differential;
pub mod fuzzing;
mod promises;
mod rooms;
mod slow_tests;
pub mod socketserver_table;
mod unsafe_code;
