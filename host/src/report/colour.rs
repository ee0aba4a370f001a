//! Whether something is shown in colour.

use std::env;
use std::io::IsTerminal;

/// Whether `stream` is a terminal, and its user has not asked for no colour
/// (<https://no-color.org>).
pub(super) fn is_wanted(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
