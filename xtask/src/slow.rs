//! The tests that are marked slow, by `tests/slow.txt`.

use std::fs;

use crate::checkout::Checkout;

const LIST: &str = "tests/slow.txt";

/// Texts that the names of slow tests have in them: a whole name, a module, or a mode.
///
/// # Errors
/// The list can't be read.
pub fn tests(checkout: &Checkout) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(checkout.path(LIST)).map_err(|error| format!("{LIST}: {error}"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}
