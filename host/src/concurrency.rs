//! How a request's session runs beside the others: socketserver's mix-ins.

use std::thread;

use tokio::runtime::Handle;

use crate::capacity::room_for_a_thread;
use crate::child;
use crate::commons::Commons;
use crate::config::Concurrency;
use crate::listen::{Arrival, Permit};
use crate::session::{self, Terms};

/// Begins the session of a request that has just arrived. Does not wait for anything.
pub fn begin(arrival: Arrival, permit: Permit, terms: Terms, commons: &Commons) {
    let sessions = if terms.settings.joined { &commons.sessions } else { &commons.left_behind };
    match terms.settings.concurrency {
        Concurrency::Task | Concurrency::Serial => {
            sessions.spawn(async move {
                session::serve(arrival, terms).await;
                drop(permit);
            });
        }
        Concurrency::Thread => {
            let (runtime, counted) = (Handle::current(), sessions.token());
            let plugin = terms.plugin.clone();
            // Only what the guest does happens on the thread; waiting for sockets is the runtime's as everywhere.
            let session = move || {
                runtime.block_on(session::serve(arrival, terms));
                drop((permit, counted));
            };
            let begun =
                room_for_a_thread().and_then(|()| thread::Builder::new().name(plugin.to_string()).spawn(session));
            if let Err(error) = begun {
                tracing::error!(%plugin, cause = error.to_string(), "host fault: no thread for a session");
            }
        }
        Concurrency::Process => {
            let (counted, kill) = (commons.children.token(), commons.kill.clone());
            sessions.spawn(async move {
                child::serve(arrival, terms, kill).await;
                drop((permit, counted));
            });
        }
    }
}
