//! How long each test took. The tests' harness notes it, and `cargo xtask test` ends with the ten
//! slowest. (libtest measures tests on nightly only.)

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::checkout::Checkout;

/// The variable that has tests note their times: the path of the file.
const VARIABLE: &str = "WHARF_TEST_TIMES";
const SHOWN: usize = 10;

/// Forgets earlier times, and has the tests that `command` runs note theirs.
///
/// # Errors
/// The earlier times can't be removed.
pub fn record(checkout: &Checkout, command: &mut Command) -> io::Result<()> {
    let file = file(checkout);
    if let Err(error) = fs::remove_file(&file)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    command.env(VARIABLE, file);
    Ok(())
}

/// Notes how long a test took, if somebody asks for it.
pub fn note(test: &str, took: Duration) {
    let Some(file) = env::var_os(VARIABLE) else { return };
    // A time that can't be written is no reason for a test to fail.
    if let Ok(mut file) = File::options().create(true).append(true).open(file) {
        let _ = file.write_all(format!("{} {test}\n", took.as_millis()).as_bytes());
    }
}

/// The slowest tests, the slowest first, a line each. None if no test noted its time.
pub fn slowest(checkout: &Checkout) -> Option<String> {
    let text = fs::read_to_string(file(checkout)).ok()?;
    Some(list(&text)).filter(|list| !list.is_empty())
}

fn list(text: &str) -> String {
    let parse = |line: &str| {
        let (millis, test) = line.split_once(' ')?;
        Some((millis.parse::<u64>().ok()?, test.to_owned()))
    };
    let mut times: Vec<(u64, String)> = text.lines().filter_map(parse).collect();
    times.sort_by(|a, b| b.cmp(a));
    let line =
        |(millis, test): &(u64, String)| format!("  {:>6.1} s  {test}", Duration::from_millis(*millis).as_secs_f64());
    times.iter().take(SHOWN).map(line).collect::<Vec<_>>().join("\n")
}

fn file(checkout: &Checkout) -> PathBuf {
    checkout.path("target/test-times")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_comes_first_and_ten_are_shown() {
        let text: String = (1..=12).map(|number| format!("{} a::test_{number}\n", number * 1000)).collect();
        let list = list(&text);
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[9]), (10, "    12.0 s  a::test_12", "     3.0 s  a::test_3"));
    }
}
