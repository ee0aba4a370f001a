//! What has to be known to make the same guest of the same code.

use serde::{Deserialize, Serialize};

use super::contract::PACKAGE;
use super::engine::Profile;

/// How a generation is made of its native code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blueprint {
    pub(crate) profile: Profile,
    pub(crate) kind: GuestKind,
}

/// The kinds of guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GuestKind {
    /// A handler, by the version of the contract that it speaks.
    Handler(Interface, String),
    /// A component that is an ordinary program, by the name of its export.
    Command(String),
    /// A core module that is an ordinary program.
    Program,
}

impl GuestKind {
    /// As users call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Handler(interface, _) => interface.name(),
            Self::Command(_) | Self::Program => "command",
        }
    }

    /// What it keeps to.
    pub(crate) fn contract(&self) -> String {
        match self {
            Self::Handler(_, version) => format!("{PACKAGE}@{version}"),
            Self::Command(export) => export.clone(),
            Self::Program => "WASI 0.1".to_owned(),
        }
    }
}

/// What a handler serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Interface {
    Stream,
    Datagram,
}

impl Interface {
    /// As the contract calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream-handler",
            Self::Datagram => "datagram-handler",
        }
    }
}
