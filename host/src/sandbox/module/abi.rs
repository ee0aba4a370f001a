//! The names by which a module and the host know each other.

/// The module that the host's functions are imported from.
pub(crate) const HOST: &str = "wharf";

/// What sends what this one could not at once.
pub(crate) fn later(function: &str) -> String {
    format!("{function}-later")
}

/// What that one returned then.
pub(crate) const LATER: i32 = -2;
/// The global that has the memory's size, in pages of 64 KiB.
pub(crate) const PAGES: &str = "pages";

/// The name of a global that code can change.
pub(crate) fn state(number: u32) -> String {
    format!("state-{number}")
}
