//! What an operator reads of a session that failed: enough to find the fault in the plugin's
//! source.

use crate::harness::guests::{Guest, fixture_as_module, fixture_with_hooks, rust};
use crate::harness::{Client, Folder, Wharf, fixture};
use crate::sessions::programs::both;

/// Serves it, has it misbehave, and gives the line that tells of it.
fn line_of(guest: &Guest, told: &str) -> String {
    let folder = Folder::new();
    folder.plugin("guest", guest);
    let wharf = Wharf::serve(&folder);
    let mut client = Client::connect(wharf.address("guest"));
    client.send(told);
    let line = wharf.logs(&["session failed", "plugin=guest", &client.name(), "phase=handle"]);
    drop(client);
    wharf.stop();
    line
}

#[test]
fn a_trap_names_the_functions_that_it_was_in() {
    for guest in [fixture("overflows_its_stack"), fixture_as_module("overflows_its_stack")] {
        let line = line_of(&guest, "!");
        assert!(line.contains("; in descend < descend < descend < descend"), "{line}");
    }
    let line = line_of(&fixture_with_hooks("traps_in_handle"), "!");
    assert!(line.contains("cause=\"trap: wasm `unreachable` instruction executed; in handle"), "{line}");
}

#[test]
fn an_overflow_of_the_stack_in_memory_is_called_that() {
    let line = line_of(&fixture_as_module("overflows_its_stack"), "!");
    assert!(
        line.contains("out of bounds memory access") && line.contains("its stack of 64 KiB in its memory is exhausted"),
        "{line}"
    );
    // An access out of bounds for another reason is not.
    let line = line_of(&fixture_as_module("hostile/reads_out_of_bounds"), "!");
    assert!(line.contains("out of bounds memory access") && !line.contains("exhausted"), "{line}");
}

#[test]
fn a_panic_is_told_with_its_text_and_its_place() {
    let line = line_of(&rust("misbehave"), "panic\n");
    assert!(line.contains("; it said: panicked at tests/guests/misbehave/src/lib.rs:"), "{line}");
    assert!(line.contains(": asked to panic\""), "{line}");
}

#[test]
fn a_program_that_fails_is_told_with_its_last_words() {
    for (form, guest) in both("complains") {
        let folder = Folder::new();
        folder.plugin(form, &guest);
        let wharf = Wharf::serve(&folder);
        let mut client = Client::connect(wharf.address(form));
        client.send("x");
        let status = if form == "module" { 3 } else { 1 };
        let cause = format!("cause=\"exit: status {status}; it said: no such file: x\"");
        wharf.logs(&["session failed", &client.name(), &cause]);
        drop(client);
        wharf.stop();
    }
}
