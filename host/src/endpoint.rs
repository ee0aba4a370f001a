//! One end of a socket, as logs show it and guests are told it.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::events::is_plain;

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
            // A client chooses its path, and might choose one that looks like more than a path.
            Self::Unix(Some(path))
                if path.chars().any(|c| c == '"' || c == '\\' || c.is_whitespace() || !is_plain(c)) =>
            {
                write!(f, "{path:?}")
            }
            Self::Unix(Some(path)) => f.write_str(path),
            Self::Unix(None) => f.write_str("unnamed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_chooses_no_field_of_the_log_by_its_path() {
        let shown = |path: &str| Endpoint::Unix(Some(path.to_owned())).to_string();
        for path in ["/run/user/1000/client.sock", "@abstract", "/tmp/ключ-好"] {
            assert_eq!(shown(path), path);
        }
        assert_eq!(shown("/tmp/x plugin=bank"), r#""/tmp/x plugin=bank""#);
        assert_eq!(shown("/tmp/\"x\u{202e}\n"), r#""/tmp/\"x\u{202e}\n""#);
    }
}
