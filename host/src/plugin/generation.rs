//! One loaded version of a plugin.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::Guest;

/// One loaded version of a plugin. New sessions take the current one; a session keeps the one it began with.
#[derive(Debug)]
pub struct Generation {
    /// The content's hash, which names it.
    pub id: Arc<str>,
    pub guest: Box<dyn Guest>,
    /// Cancelled at the drain deadline, once the generation is replaced or its server stops.
    pub deadline: CancellationToken,
}

impl Generation {
    /// The name of the generation that a file of this content is: 12 hex digits of its SHA-256.
    pub fn id_of(content: &[u8]) -> Arc<str> {
        Sha256::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }
}
