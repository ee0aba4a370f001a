//! What the operator wrote, from raw text to resolved settings: the one place where either is
//! known.

mod address;
pub mod file;
mod folders;
mod host;
mod keys;
mod manifest;
mod owner;
mod plain;
mod project;
mod settings;
mod socket_address;
mod text;
mod units;
mod zone;

pub use address::ListenAddress;
pub use file::{LOOK, Opened, Stamp, WRITING, places_of};
pub use folders::GrantedFolder;
pub use host::HostConfig;
pub use keys::{host_schema, manifest_schema};
pub use manifest::{Access, Concurrency, DirGrant, ManifestFile, ManifestOrigin};
pub use plain::{bounded, is_plain, one_line};
pub use project::{PROJECT_FILE, ProjectFile};
pub use settings::{Grants, Keepalive, Limits, PerSource, Reuse, Settings, SocketSettings, Timeouts, UnixSettings};
pub use socket_address::{SocketAddress, UnixName, ip_text};
pub use text::{ConfigError, MAX_TEXT_BYTES, read_when_written};
pub use units::{Size, Span};
pub use zone::{Wrong, socket_addr};

/// The most bytes of a word for which a near one is looked for, which takes time and memory for
/// each of them.
const LONGEST_WORD: usize = 100;

/// The known word that `word` was probably meant to be; none where nothing is near.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 2)
        .min()
        .map(|(_, candidate)| candidate)
}
