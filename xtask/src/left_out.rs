//! What a run of the checks left out, and why. Steps and tests note it, and `cargo xtask test` ends
//! with a table of it.
//!
//! A part, such as a language, is built by a step before the tests. If a test lacks a part that its
//! step did not miss, then the machine could have had it: in CI that is a failure.
//!
//! The notes are lines of a file, as tests run in processes of their own.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::checkout::Checkout;

/// Something that was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    kind: Kind,
    what: String,
    why: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// The machine lacks it, and no command of this project installs that.
    Machine,
    /// A step that builds or installs this part could not.
    Unavailable(String),
    /// A test found nothing of this part.
    Unbuilt(String),
}

impl Note {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t').map(str::to_owned);
        let (kind, part, what, why) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let kind = match kind.as_str() {
            "machine" => Kind::Machine,
            "unavailable" => Kind::Unavailable(part),
            "unbuilt" => Kind::Unbuilt(part),
            _ => return None,
        };
        Some(Self { kind, what, why })
    }

    fn line(&self) -> String {
        let (kind, part) = match &self.kind {
            Kind::Machine => ("machine", ""),
            Kind::Unavailable(part) => ("unavailable", part.as_str()),
            Kind::Unbuilt(part) => ("unbuilt", part.as_str()),
        };
        let fields = [kind, part, &self.what, &self.why].map(|field| field.replace(['\t', '\n'], " "));
        fields.join("\t") + "\n"
    }
}

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

/// Notes that `what` was left out, because the machine lacks something that no command of this
/// project installs: root, a kernel's feature.
pub fn note(what: &str, why: &str) {
    append(Note { kind: Kind::Machine, what: what.to_owned(), why: why.to_owned() });
}

/// Notes that `what` was left out, because a step could not build or install `part`.
pub fn note_unavailable(part: &str, what: &str, why: &str) {
    append(Note { kind: Kind::Unavailable(part.to_owned()), what: what.to_owned(), why: why.to_owned() });
}

/// Notes that `what` was left out, because `part` is not there. `command` is the command that
/// builds it.
pub fn note_unbuilt(part: &str, what: &str, command: &str) {
    let why = format!("{part} was not built by `{command}`");
    append(Note { kind: Kind::Unbuilt(part.to_owned()), what: what.to_owned(), why });
}

/// The note goes to stderr at once, past a test runner that keeps what passing tests print to
/// itself.
fn append(note: Note) {
    // Nothing to write to is no reason to fail.
    let _ = writeln!(io::stderr(), "left out: {}: {}", note.what, note.why);
    let file = file();
    let appended = file
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| File::options().create(true).append(true).open(&file))
        // In one write, so that lines of several processes stay whole.
        .and_then(|mut file| file.write_all(note.line().as_bytes()));
    if let Err(error) = appended {
        let _ = writeln!(io::stderr(), "{}: {error}", file.display());
    }
}

/// All that was noted since [`forget`], each once.
pub fn noted() -> Vec<Note> {
    let text = fs::read_to_string(file()).unwrap_or_default();
    let mut notes: Vec<Note> = Vec::new();
    for note in text.lines().filter_map(Note::parse) {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// The notes as a table of two columns: what was left out, and why.
pub fn table(notes: &[Note]) -> String {
    let width = notes.iter().map(|note| note.what.chars().count()).max().unwrap_or(0);
    let rows: Vec<String> = notes.iter().map(|Note { what, why, .. }| format!("  {what:<width$}  {why}")).collect();
    rows.join("\n")
}

/// The notes of tests that lacked a part which no step missed.
pub fn without_reason(notes: &[Note]) -> Vec<Note> {
    let is_missed =
        |part: &str| notes.iter().any(|note| matches!(&note.kind, Kind::Unavailable(missed) if missed == part));
    let unexplained = |note: &&Note| matches!(&note.kind, Kind::Unbuilt(part) if !is_missed(part));
    notes.iter().filter(unexplained).cloned().collect()
}

fn file() -> PathBuf {
    Checkout::find().path("target/left-out")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: Kind, what: &str) -> Note {
        Note { kind, what: what.to_owned(), why: "a reason".to_owned() }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for kind in [Kind::Machine, Kind::Unavailable("go".to_owned()), Kind::Unbuilt("go".to_owned())] {
            let note = note(kind, "a test");
            assert_eq!(Note::parse(note.line().trim_end_matches('\n')), Some(note));
        }
        assert_eq!(Note::parse("of an older version"), None);
    }

    #[test]
    fn a_test_without_its_part_is_explained_by_the_step_that_missed_it() {
        let of_machine = note(Kind::Machine, "files of other users");
        let (missed, go) = (Kind::Unavailable("go".to_owned()), Kind::Unbuilt("go".to_owned()));
        let (missed, go) = (note(missed, "the example in go"), note(go, "tests of go"));
        let zig = note(Kind::Unbuilt("zig".to_owned()), "tests of zig");
        let notes = [of_machine, go, zig.clone(), missed];
        assert_eq!(without_reason(&notes), [zig]);
    }

    #[test]
    fn the_table_has_its_reasons_in_one_column() {
        let notes = [note(Kind::Machine, "a"), note(Kind::Machine, "longer")];
        assert_eq!(table(&notes), "  a       a reason\n  longer  a reason");
    }
}
