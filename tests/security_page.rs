//! The tables of `docs/security.md`: every promise names tests, and the tests it names exist.

use std::fs;
use std::path::PathBuf;

use crate::harness::guests::root;
use crate::socketserver_table::existing_tests;

/// Every row under "What is promised", as its promise and the names in backticks of its last cell.
fn promises(page: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, promised) = page.split_once("\n## What is promised\n").expect("the page says what is promised");
    let promised = promised.split("\n## ").next().unwrap_or_default();
    let rows = promised.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.filter(|row| !row.starts_with("---") && *row != "promise | shown by");
    rows.map(|row| {
        let (promise, tests) = row.rsplit_once(" | ").unwrap_or((row, ""));
        (promise, tests.split('`').skip(1).step_by(2).collect())
    })
    .collect()
}

/// Whether a test is there that is not of this crate: `module::…::test` of the host, or `wharf_guest::FILE::test`.
fn is_unit_test(name: &str) -> bool {
    let (source, path) = match name.strip_prefix("wharf_guest::") {
        Some(path) => ("guest-sdk/rust/tests", path),
        None => ("host/src", name),
    };
    let Some((module, test)) = path.rsplit_once("::") else { return false };
    let file: PathBuf = root().join(source).join(module.replace("::", "/")).with_extension("rs");
    fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("#[test]\n    fn {test}(")))
}

#[test]
fn every_promise_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/security.md")).expect("the page is there");
    let existing = existing_tests();
    let promises = promises(&page);
    assert!(promises.len() > 10, "the tables are there");
    let mut wrong = Vec::new();
    for (promise, tests) in promises {
        if tests.is_empty() {
            wrong.push(format!("no test shows it: {promise}"));
        }
        let unknown = tests.into_iter().filter(|test| !existing.contains(*test) && !is_unit_test(test));
        wrong.extend(unknown.map(|test| format!("there is no test {test}, which is to show: {promise}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_promise_without_a_test_would_be_noticed() {
    let page = "# Security\n\n## What is promised\n\n| promise | shown by |\n| --- | --- |\n| this | `a::b`, `c::d` |\n| that | |\n\n## Else\n\n| no | `x::y` |\n";
    assert_eq!(promises(page), [("this", vec!["a::b", "c::d"]), ("that |", vec![])]);
    assert!(is_unit_test("config::settings::a_plugin_can_not_widen_its_own_rights"));
    assert!(!is_unit_test("config::settings::a_plugin_can_widen_its_own_rights"));
}
