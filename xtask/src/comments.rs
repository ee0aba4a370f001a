//! The width of comments in Rust. rustfmt leaves them as they are.

use std::fs;
use std::path::Path;

use crate::checkout::Checkout;
use crate::step;

/// Characters of a line with a comment on it and nothing else, as of a page's line of prose.
const WIDTH: usize = 100;
/// Folders that are not the project's own text.
const FOREIGN: [&str; 5] = ["target", "node_modules", ".git", ".venv", "venv"];

/// Checks every Rust file of the repository, and names the lines that are too wide.
///
/// # Errors
/// There are some, or a folder can't be read.
pub fn check(checkout: &Checkout) -> Result<(), String> {
    let mut wide = Vec::new();
    look(&checkout.path(""), &mut wide)?;
    if wide.is_empty() {
        step::say("comments: all are within 100 columns");
        return Ok(());
    }
    Err(format!("comments; wrap at {WIDTH}:\n  {}", wide.join("\n  ")))
}

fn look(folder: &Path, wide: &mut Vec<String>) -> Result<(), String> {
    let unread = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(unread)?.flatten() {
        let (path, kind) = (entry.path(), entry.file_type().map_err(unread)?);
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() && !FOREIGN.contains(&name.as_str()) {
            look(&path, wide)?;
        } else if kind.is_file() && name.ends_with(".rs") {
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let lines = text.lines().enumerate().filter(|(_, line)| is_too_wide(line));
            wide.extend(lines.map(|(index, _)| format!("{}:{}", path.display(), index + 1)));
        }
    }
    Ok(())
}

/// A row of a table and a line of code can't be wrapped, nor a word that is longer than a line.
fn is_too_wide(line: &str) -> bool {
    let Some(text) = line.trim_start().strip_prefix("//") else { return false };
    let text = text.trim_start_matches(['/', '!']).trim_start();
    line.chars().count() > WIDTH && text.contains(' ') && !text.starts_with(['|', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_measured_and_code_is_not() {
        let words = "word ".repeat(20);
        assert!(is_too_wide(&format!("    // {words}")));
        assert!(is_too_wide(&format!("//! {words}")));
        for line in [format!("// {}", "x".repeat(200)), format!("/// | {words}"), format!("    let x = {words};")] {
            assert!(!is_too_wide(&line), "{line}");
        }
    }
}
