//! The tables of `docs/reference/socketserver.md`. They have a row for each name of Python's module
//! and for each case of its test. The tests that they name exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use xtask::left_out;

use crate::harness::guests::root;
use crate::harness::modes::function_of;

const NAMES: &str = "## Every class, method and attribute";
const CASES: &str = "## CPython's own tests";
/// The oldest version that the table is for.
const OLDEST: Version = (3, 11);

type Version = (u32, u32);

/// A row whose first cell begins with a name in backticks.
struct Row {
    name: String,
    /// The version of Python that has it, if not each that the table is for.
    since: Version,
    cells: Vec<String>,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let cells: Vec<String> =
            line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(|cell| cell.trim().to_owned()).collect();
        let (name, rest) = cells[0].strip_prefix('`')?.split_once('`')?;
        let since = match rest.strip_prefix(" from ") {
            Some(since) => version(since),
            None => OLDEST,
        };
        Some(Self { name: name.to_owned(), since, cells })
    }

    fn last(&self) -> &str {
        self.cells.last().expect("a row has cells")
    }

    /// The tests that it names, as `folder::module::test`.
    fn tests(&self) -> Vec<&str> {
        let quoted = self.last().split('`').skip(1).step_by(2);
        quoted.filter(|text| text.contains("::")).collect()
    }
}

fn version(text: &str) -> Version {
    let (major, minor) = text.split_once('.').expect("a version is MAJOR.MINOR");
    (major.parse().expect("a number"), minor.parse().expect("a number"))
}

/// The rows under a heading of the page, up to the next of its rank. Each name has one.
fn rows(heading: &str) -> BTreeMap<String, Row> {
    let page = fs::read_to_string(root().join("docs/reference/socketserver.md")).expect("the page is there");
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = BTreeMap::new();
    for row in section.lines().filter_map(Row::parse) {
        let name = row.name.clone();
        assert!(rows.insert(name.clone(), row).is_none(), "{name} has two rows");
    }
    rows
}

/// What Python itself says of its module.
struct Python {
    version: Version,
    names: BTreeSet<String>,
    /// Empty where the installation has no tests.
    cases: BTreeSet<String>,
}

impl Python {
    fn ask() -> Self {
        let output = Command::new("python3").arg(root().join("tests/project/socketserver_names.py")).output();
        let output = output.unwrap_or_else(|error| {
            panic!("python3, of {}.{} or later, is needed to check the table: {error}", OLDEST.0, OLDEST.1)
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        let about = |word: &str| -> BTreeSet<String> {
            said.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).map(str::to_owned).collect()
        };
        let version = about("python").pop_first().map(|text| version(&text)).expect("it says its version");
        assert!(version >= OLDEST, "the table is for Python {OLDEST:?} and later, and python3 is {version:?}");
        Self { version, names: about("name"), cases: about("case") }
    }
}

fn missing<'a>(wanted: &'a BTreeSet<String>, rows: &BTreeMap<String, Row>) -> Vec<&'a String> {
    wanted.iter().filter(|name| !rows.contains_key(*name)).collect()
}

#[test]
fn every_public_name_of_socketserver_has_a_row() {
    let python = Python::ask();
    let rows = rows(NAMES);
    assert_eq!(missing(&python.names, &rows), [""; 0], "these have no row");
    let invented = rows.values().filter(|row| row.since <= python.version && !python.names.contains(&row.name));
    assert_eq!(invented.map(|row| &row.name).collect::<Vec<_>>(), [""; 0], "these have a row, and Python has none");
}

#[test]
fn every_case_of_cpythons_test_has_a_row() {
    let python = Python::ask();
    let rows = rows(CASES);
    assert!(!rows.is_empty(), "the table is there");
    if python.cases.is_empty() {
        left_out::note("the table of CPython's tests", "this python3 comes without test/test_socketserver.py");
        return;
    }
    assert_eq!(missing(&python.cases, &rows), [""; 0], "these have no row");
    let invented = rows.keys().filter(|name| !python.cases.contains(*name));
    assert_eq!(invented.collect::<Vec<_>>(), [""; 0], "these have a row, and CPython has none");
}

#[test]
fn every_row_names_tests_that_exist_or_says_why_there_is_none() {
    let existing = existing_tests();
    let mut wrong = Vec::new();
    for (heading, may_have_none) in [(NAMES, true), (CASES, false)] {
        for row in rows(heading).into_values() {
            let (name, tests) = (&row.name, row.tests());
            if row.cells.len() != 3 {
                wrong.push(format!("{name} has {} cells, not 3", row.cells.len()));
            }
            if tests.is_empty() && !(may_have_none && row.last().starts_with("none: ")) {
                wrong.push(format!("{name} has neither a test nor `none: …`"));
            }
            let unknown = tests.into_iter().filter(|test| !existing.contains(*test));
            wrong.extend(unknown.map(|test| format!("{name} names {test}, and there is no such test")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every test of this binary, as `folder::module::test`, and the functions that are tests in
/// several modes. The binary itself lists them.
pub fn existing_tests() -> BTreeSet<String> {
    let binary = std::env::current_exe().expect("this binary has a path");
    let output = Command::new(binary).args(["--list", "--format", "terse"]).output().expect("this binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let tests = said.lines().filter_map(|line| line.strip_suffix(": test"));
    tests.flat_map(|test| [Some(test), function_of(test)]).flatten().map(str::to_owned).collect()
}
