//! Plugins that take seconds to compile: nobody waits for them but who asked for them, and that
//! once.

use std::thread::available_parallelism;

use crate::harness::guests::{Guest, slow_to_compile};
use crate::harness::observe::until;
use crate::harness::{Folder, Launch, Wharf, answer, answers, ask, fixture};

/// Serves without any code from before.
fn serve_uncached(folder: &Folder) -> Wharf {
    Launch::new(["serve".as_ref(), folder.path(), "--no-cache".as_ref()]).own_cache().start()
}

/// So many plugins, each of which is another to the host, and more than it compiles or loads at
/// once.
fn many(guest: &Guest) -> impl Iterator<Item = (String, Guest)> {
    // Their names come first wherever names are in order.
    (0..12).map(|number| (format!("a-large-{number}"), guest.with_manifest(&format!("# {number}"))))
}

#[track_caller]
fn no_large_one_is_loaded(wharf: &Wharf) {
    let events = wharf.events();
    assert!(!events.iter().any(|line| line.starts_with("loaded a-large")), "{events:#?}");
}

#[test]
fn small_plugins_are_served_and_replaced_while_large_ones_compile() {
    let folder = Folder::new();
    folder.plugin("small", &answers("A")).plugin("other", &answers("O"));
    let wharf = serve_uncached(&folder);
    let (address, other) = (wharf.address("small"), wharf.address("other"));
    wharf.event("loaded", "small");
    for (name, guest) in many(&slow_to_compile("L")) {
        folder.plugin(&name, &guest);
    }
    until("a large plugin compiles", || wharf.threads_named("compile") > 0);
    let cores = available_parallelism().expect("the kernel tells").get();
    for generation in ["B", "C"] {
        for _ in 0..50 {
            assert_eq!(ask(other, "x"), answer("O"));
        }
        let new = answers(generation);
        folder.plugin("small", &new);
        assert_eq!(wharf.event("loaded", "small").generation, new.generation());
        assert_eq!(ask(address, "x"), answer(generation));
        assert!(wharf.threads_named("compile") <= cores, "they have a bound");
    }
    no_large_one_is_loaded(&wharf);
}

#[test]
fn small_plugins_serve_first_when_a_host_starts_with_large_ones() {
    let folder = Folder::new();
    for (name, guest) in many(&slow_to_compile("L")) {
        folder.plugin(&name, &guest);
    }
    folder.plugin("small", &answers("A"));
    let wharf = serve_uncached(&folder);
    assert_eq!(ask(wharf.address("small"), "x"), answer("A"));
    no_large_one_is_loaded(&wharf);
}

/// A plugin that is large in every way but the time that it takes to compile: in a test of this,
/// that is.
fn large(text: &str) -> Guest {
    answers(text).with_section("padding", &[0; 2 << 20])
}

#[test]
fn what_was_compiled_once_is_not_compiled_again() {
    let folder = Folder::new();
    // One that is large by its code, and one that needs more memory than a place in the pool has.
    let huge = fixture("big_memory").with_section("padding", &[0; 2 << 20]);
    for (name, guest) in [("large", &large("A")), ("huge", &huge)] {
        folder.settings(name, "[limits]\nmemory = '256MiB'").plugin(name, guest);
    }
    let cache = folder.parent().join("cache");
    let check = |expected: [&str; 2]| {
        let mut check = Launch::new(["check".as_ref(), folder.path()]).cache(&cache).start();
        assert_eq!(check.ended(), 0);
        let told: Vec<String> = check
            .events()
            .into_iter()
            .filter_map(|line| Some(line.trim().strip_prefix("compiled")?.to_owned()))
            .collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (line, expected) in told.iter().zip(expected) {
            assert!(line.trim().starts_with(expected), "{told:?}");
        }
    };
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).cache(&cache).start();
    assert_eq!(ask(wharf.address("large"), "x"), answer("A"));
    wharf.event("listening", "huge");
    wharf.stop();
    check(["before, and kept"; 2]);
    folder.plugin("large", &large("B"));
    check(["before, and kept", "in "]);
}

#[test]
fn a_large_plugin_that_does_not_compile_costs_nothing_but_itself() {
    let wrong = Guest::wat(String::from_utf8(answers("B").bytes).expect("UTF-8").replacen("BODY", "", 1).replacen(
        "(func $handle (result i32)",
        "(func $never (result i32) (i64.const 1)) (func $handle (result i32)",
        1,
    ));
    let folder = Folder::new();
    folder.plugin("large", &large("A"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("large");
    folder.plugin("large", &wrong.with_section("padding", &[0; 2 << 20]));
    let kept = wharf.event("kept", "large");
    assert_eq!(kept.generation, large("A").generation());
    assert!(kept.reason.contains("does not compile"), "{}", kept.reason);
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.stop();
}
