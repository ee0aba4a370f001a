//! What the loader takes, and how it refuses everything else.

use crate::harness::guests::{Guest, answers_as_module, answers_to_version, rust};
use crate::harness::{Client, Folder, Wharf, answer, answers, ask, fixture};

/// What a refusal has to name: something that would be accepted.
const ACCEPTED: &str = "wharf:handler/stream-handler";

#[test]
fn components_and_modules_are_served_as_binary_and_as_text() {
    let component = answers("A");
    let module = answers_as_module("A", true);
    let folder = Folder::new();
    folder.plugin("component", &component.assembled()).plugin("component_text", &component);
    folder.plugin("module", &module.assembled()).plugin("module_text", &module);
    let wharf = Wharf::serve(&folder);
    for (plugin, guest) in [
        ("component", component.assembled()),
        ("component_text", component),
        ("module", module.assembled()),
        ("module_text", module),
    ] {
        assert_eq!(wharf.event("loaded", plugin).generation, guest.generation(), "{plugin}");
        assert_eq!(ask(wharf.address(plugin), "x"), answer("A"), "{plugin}");
    }
    wharf.stop();
}

#[test]
fn everything_else_is_refused_in_one_line_that_says_what_it_is_and_what_would_do() {
    let good = answers("A").assembled().bytes;
    let module = answers_as_module("A", false).assembled().bytes;
    let other_world = r#"(component
        (core module $M (func (export "f")))
        (core instance $m (instantiate $M))
        (func $f (canon lift (core func $m "f")))
        (export "run" (func $f)))"#;
    let wrong_shape = r#"(component
        (core module $M (func (export "f")))
        (core instance $m (instantiate $M))
        (func $f (canon lift (core func $m "f")))
        (instance $i (export "setup" (func $f)) (export "handle" (func $f)) (export "finish" (func $f)))
        (export "wharf:handler/stream-handler@0.1.0" (instance $i)))"#;
    let later_command = r#"(component (instance $i) (export "wasi:cli/run@0.3.0" (instance $i)))"#;
    let browser_bundle = r#"(module (import "wbg" "__wbindgen_throw" (func (param i32 i32))) (func (export "main")))"#;
    let unknown_function = r#"(module
        (import "env" "emscripten_resize_heap" (func (param i32) (result i32)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    let control_characters = r#"(component (core module $M) (export "\1b[2J\0aforged\0d" (core module $M)))"#;
    let unknown_import = String::from_utf8(answers("A").bytes)
        .expect("WAT is UTF-8")
        .replace("(component\n", "(component\n(import \"acme:store/kv@1.0.0\" (instance (export \"get\" (func))))\n");
    for (plugin, guest, parts) in [
        ("empty", Guest::wasm(""), &["empty", ACCEPTED][..]),
        ("text", Guest::wasm("Dear diary, today I wrote no wasm.\nTomorrow I will."), &["text", ACCEPTED]),
        ("script", Guest::wasm("#!/bin/sh\necho hello\n"), &["script", ACCEPTED]),
        ("elf", Guest::wasm(&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"[..]), &["ELF", ACCEPTED]),
        ("garbage", Guest::wasm(&b"\xff\xfe\xfd\0\x01\x02"[..]), &["no wasm", ACCEPTED]),
        ("truncated", Guest::wasm(&good[..good.len() / 2]), &["wasm", ACCEPTED]),
        ("headless", Guest::wasm(&good[..4]), &["wasm", ACCEPTED]),
        ("truncated_module", Guest::wasm(&module[..module.len() / 2]), &["wasm", ACCEPTED]),
        ("broken_text", Guest::wat("(component (import"), &[".wat", ACCEPTED]),
        ("prose", Guest::wat("Dear diary"), &["text", ACCEPTED]),
        ("untyped", Guest::wasm(module), &["core module", "component type", ACCEPTED]),
        ("version", answers_to_version("A", "9.9.9"), &["9.9.9", "0.1.0"]),
        ("other_world", Guest::wat(other_world), &["component of another world", "run", ACCEPTED]),
        ("later_command", Guest::wat(later_command), &["component of another world", "wasi:cli/run@0.3.0", ACCEPTED]),
        ("browser_bundle", Guest::wat(browser_bundle), &["core module", "_start", ACCEPTED]),
        ("unknown_function", Guest::wat(unknown_function), &["env", "emscripten_resize_heap"]),
        ("no_exports", Guest::wat("(component)"), &["component", "exports nothing", ACCEPTED]),
        ("wrong_shape", Guest::wat(wrong_shape), &["not of the contract"]),
        ("unknown_import", Guest::wat(unknown_import), &["acme:store/kv@1.0.0"]),
        ("control_characters", Guest::wat(control_characters), &["another world", "forged", ACCEPTED]),
    ] {
        let folder = Folder::new();
        folder.plugin("fine", &answers("A")).plugin(plugin, &guest);
        let wharf = Wharf::serve(&folder);
        let reason = wharf.event("refused", plugin).reason;
        for part in parts {
            assert!(reason.contains(part), "{plugin}: no {part:?} in: {reason}");
        }
        assert!(!reason.contains(char::is_control), "{plugin}: {reason:?}");
        assert_eq!(ask(wharf.address("fine"), "x"), answer("A"), "{plugin}: the others serve");
        let events = wharf.stop();
        let about = events.iter().filter(|line| line.split([' ', ':']).any(|word| word == plugin)).count();
        assert_eq!(about, 1, "one line about {plugin}: {events:#?}");
    }
}

#[test]
fn memory_beyond_the_limit_is_refused_before_anybody_connects() {
    let folder = Folder::new();
    folder.plugin("big_memory", &fixture("big_memory"));
    let wharf = Wharf::serve(&folder);
    let reason = wharf.event("refused", "big_memory").reason;
    assert!(reason.contains("64 MiB"), "the limit is named: {reason}");
    folder.settings("big_memory", "[limits]\nmemory = '256MiB'");
    assert_eq!(ask(wharf.address("big_memory"), "x"), "", "with leave it is served");
    wharf.stop();
}

#[test]
fn a_plugin_that_makes_no_instance_is_refused_and_holds_up_no_other() {
    for (plugin, cause) in [("traps_at_start", "trap: "), ("spins_at_start", "cpu: ")] {
        let folder = Folder::new();
        folder.plugin(plugin, &fixture(plugin)).settings(plugin, "[limits]\ncpu = '200ms'");
        folder.plugin("fine", &answers("A"));
        let wharf = Wharf::serve(&folder);
        assert_eq!(ask(wharf.address("fine"), "x"), answer("A"));
        let reason = wharf.event("refused", plugin).reason;
        assert!(reason.contains(cause), "{plugin}: {reason}");
        wharf.stop();
    }
}

#[test]
fn a_plugin_without_an_address_is_refused_with_the_line_to_add() {
    let folder = Folder::new();
    folder.file("lonely.wat", answers("A").bytes);
    let wharf = Wharf::serve(&folder);
    let reason = wharf.event("refused", "lonely").reason;
    assert!(reason.contains("lonely.toml") && reason.contains("listen = \"tcp://"), "{reason}");
    folder.settings("lonely", "");
    assert_eq!(ask(wharf.address("lonely"), "x"), answer("A"), "the line was enough");
    wharf.stop();
}

#[test]
fn a_manifest_inside_the_plugin_counts_and_the_one_beside_it_wins() {
    let inside = answers("A").with_manifest("listen = 'tcp://127.0.0.1:0'\ndeny = '127.0.0.0/8'");
    let folder = Folder::new();
    folder.file("alone.wasm", &inside.bytes);
    folder.file("with.wasm", &inside.bytes).manifest("with", "deny = []");
    folder.file("rust.wasm", rust("embedded").bytes);
    let wharf = Wharf::serve(&folder);
    assert_eq!(Client::connect(wharf.address("alone")).rest(), "", "denied");
    wharf.logs(&["client refused", "plugin=alone", "by=deny"]);
    assert_eq!(ask(wharf.address("with"), "x"), answer("A"), "the operator's file wins, key by key");
    assert_eq!(ask(wharf.address("rust"), ""), "embedded", "as the guest SDK puts it in");
    wharf.stop();
}

#[test]
fn a_manifest_inside_the_plugin_can_not_widen_its_rights() {
    for (toml, parts) in [
        ("listen = 'tcp://0.0.0.0:0'", ["tcp://0.0.0.0:0", "loopback"]),
        ("listen = ['tcp://127.0.0.1:0', 'tcp://[::]:0']", ["tcp://[::]:0", "loopback"]),
        ("listen = 'tcp://127.0.0.1:0'\n[grants.env]\nA = 'b'", ["grants", "operator"]),
        ("listen = 'tcp://127.0.0.1:0'\n[[grants.dirs]]\nhost = '/'\nguest = '/'", ["grants", "operator"]),
        ("listen = 'tcp://127.0.0.1:0'\n[limits]\nmemory = '4GiB'", ["limits.memory", "64 MiB"]),
        ("listen = 'tcp://127.0.0.1:0'\n[limits]\ncpu = '1h'", ["limits.cpu", "operator"]),
        ("lisen = 'tcp://127.0.0.1:0'", ["lisen", "listen"]),
    ] {
        let folder = Folder::new();
        folder.file("greedy.wasm", answers("A").with_manifest(toml).bytes).plugin("fine", &answers("A"));
        let wharf = Wharf::serve(&folder);
        let reason = wharf.event("refused", "greedy").reason;
        for part in parts.iter().chain(&["greedy"]) {
            assert!(reason.contains(part), "no {part:?} in: {reason}");
        }
        assert_eq!(ask(wharf.address("fine"), "x"), answer("A"));
        wharf.stop();
    }
}

#[test]
fn names_that_are_no_plugins_are_not_looked_at() {
    let folder = Folder::new();
    let guest = answers("A");
    folder.plugin("answers", &guest);
    for name in [".hidden.wat", "answers.wat~", "answers.wat.bak", "#answers.wat#", "README.md", "notes.txt", "wasm"] {
        folder.file(name, &guest.bytes);
    }
    // Events are lines of words: such names would make others of them.
    for name in ["two words.wat", "forged\nstopped.wat"] {
        folder.file(name, &guest.bytes);
    }
    std::fs::create_dir(folder.path().join("folder.wasm")).expect("create a folder");
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("answers");
    assert_eq!(ask(address, "x"), answer("A"));
    let stop = [format!("closed tcp://{address} answers"), "stopped".to_owned()];
    let begin = [format!("loaded answers {}", guest.generation()), format!("listening tcp://{address} answers")];
    let mut said = wharf.stop();
    // How many it drains is no matter here: a session is one until its host has seen its client go.
    said.retain(|line| !line.starts_with("draining "));
    assert_eq!(said, [&begin[..], &stop[..]].concat());
}
