//! What has to be known to make the same guest of the same code.

use serde::{Deserialize, Serialize};

use super::engine::Profile;
use super::recognise::Kind;

/// How a generation is made of its native code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blueprint {
    pub(super) profile: Profile,
    pub(super) kind: Kind,
}
