//! Sessions: one request each, from where it was accepted to its end. The one room that knows both
//! sockets and guests.

mod admit;
pub mod child;
mod deadline;
pub(crate) mod run;
mod server;
mod shared;
mod spawn;

pub use run::{Opening, SessionContext};
pub use server::{Server, Service};
pub use shared::{HostShared, SPARE_INSTANCES};
