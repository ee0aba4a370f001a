//! One end of a socket, as logs show it and guests are told it.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One end of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Endpoint {
    Inet(SocketAddr),
    /// A Unix socket's path; none where it has no name, as a client's end seldom has.
    Unix(Option<String>),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Unix(Some(path)) => f.write_str(path),
            Self::Unix(None) => f.write_str("unnamed"),
        }
    }
}
