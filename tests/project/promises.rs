//! `docs/reference/promises.md`: every promise names tests, and the tests it names exist.

use std::fs;
use std::path::PathBuf;

use crate::harness::guests::root;
use crate::project::socketserver_table::existing_tests;

/// Every promise, which is a paragraph in bold, with the tests in the list beneath it.
fn promises(page: &str) -> Vec<(String, Vec<&str>)> {
    let mut promises: Vec<(String, Vec<&str>)> = Vec::new();
    for paragraph in page.split("\n\n").map(str::trim) {
        if let Some(promise) = paragraph.strip_prefix("**").and_then(|text| text.strip_suffix("**")) {
            promises.push((promise.replace('\n', " "), Vec::new()));
        } else if paragraph.starts_with("- ")
            && let Some((_, tests)) = promises.last_mut()
        {
            tests.extend(paragraph.split('`').skip(1).step_by(2));
        }
    }
    promises
}

/// Whether a test is there that is not of this crate: `module::…::test` of the host, or
/// `wharf_guest::FILE::test`.
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
    let page = fs::read_to_string(root().join("docs/reference/promises.md")).expect("the page is there");
    let existing = existing_tests();
    let promises = promises(&page);
    assert!(promises.len() > 60, "the promises are there");
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
    let page = "# Promises\n\nText.\n\n## Against a plugin\n\n**This\nand this.**\n\n- `a::b`\n- `c::d`\n\n**That.**\n\n## Else\n";
    let expected = [("This and this.".to_owned(), vec!["a::b", "c::d"]), ("That.".to_owned(), vec![])];
    assert_eq!(promises(page), expected);
    assert!(is_unit_test("config::settings::a_plugin_can_not_widen_its_own_rights"));
    assert!(!is_unit_test("config::settings::a_plugin_can_widen_its_own_rights"));
}
