//! Sessions: one request each, from where it was accepted to its end. The one room that knows both sockets and guests.

pub mod child;
mod commons;
mod concurrency;
mod deadline;
pub(crate) mod run;
mod server;
mod verify;

pub use commons::{Commons, SPARE_INSTANCES};
pub use run::{Opening, Terms};
pub use server::{Server, Service};
