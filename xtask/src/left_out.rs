//! What a run of the checks left out, and why: steps note it, tests note it, and `cargo xtask test` ends by telling it.
//!
//! The notes are lines of a file, as tests run in processes of their own.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::checkout::Checkout;

/// Forgets what earlier runs noted.
///
/// # Errors
/// The old notes can't be removed; this run would end by telling them.
pub fn forget() -> io::Result<()> {
    match fs::remove_file(file()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Notes that `what` was left out: one line that names the reason too. It goes to stderr at once, past a test runner that
/// keeps what passing tests print to itself.
pub fn note(what: &str) {
    // Nothing to write to is no reason to fail.
    let _ = writeln!(io::stderr(), "left out: {what}");
    let file = file();
    let appended = file
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| File::options().create(true).append(true).open(&file))
        // In one write, so that lines of several processes stay whole.
        .and_then(|mut file| file.write_all(format!("{what}\n").as_bytes()));
    if let Err(error) = appended {
        let _ = writeln!(io::stderr(), "{}: {error}", file.display());
    }
}

/// All that was noted since [`forget`], each once.
pub fn noted() -> Vec<String> {
    let text = fs::read_to_string(file()).unwrap_or_default();
    let mut notes: Vec<String> = Vec::new();
    for line in text.lines() {
        if !notes.iter().any(|note| note == line) {
            notes.push(line.to_owned());
        }
    }
    notes
}

fn file() -> PathBuf {
    Checkout::find().path("target/left-out")
}
