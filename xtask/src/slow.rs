//! The tests that are marked slow: `tests/slow.txt` names them, a line each.

use std::fs;

use crate::checkout::Checkout;

const LIST: &str = "tests/slow.txt";

/// Their names, as `folder::module::test`. A name may also be that of a module, or of all modes of a test.
///
/// # Errors
/// The list can't be read.
pub fn tests(checkout: &Checkout) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(checkout.path(LIST)).map_err(|error| format!("{LIST}: {error}"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}
