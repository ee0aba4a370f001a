//! `tests/slow.txt`, which names the tests that `cargo xtask test --quick` leaves out.

use xtask::checkout::Checkout;
use xtask::slow;

use crate::project::socketserver_table::existing_tests;

#[test]
fn every_slow_test_exists() {
    let existing = existing_tests();
    let slow = slow::tests(&Checkout::find()).expect("the list is there");
    let is_known = |text: &String| existing.iter().any(|test| test.contains(text));
    let unknown: Vec<_> = slow.iter().filter(|text| !is_known(text)).collect();
    assert_eq!(unknown, [""; 0], "there is no such test");
}
