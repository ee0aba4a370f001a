//! What the loader takes, and how it refuses everything else.

use crate::harness::guests::{Guest, answers_as_module, answers_to_version, rust};
use crate::harness::{Client, Folder, Launch, Wharf, answer, answers, ask, fixture};

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

/// What is no plugin, by the name of its file, and what the one line about it has to say.
fn misfits() -> Vec<(&'static str, Guest, &'static [&'static str])> {
    [files(), modules(), components()].into_iter().flatten().collect()
}

/// Files that are no wasm, or not all of it.
fn files() -> Vec<(&'static str, Guest, &'static [&'static str])> {
    let good = answers("A").assembled().bytes;
    let module = answers_as_module("A", false).assembled().bytes;
    let wasm = |bytes: &[u8]| Guest::wasm(bytes);
    vec![
        ("empty", wasm(b""), &["an empty file", ACCEPTED]),
        ("zeros", wasm(&[0; 64]), &["zero bytes", ACCEPTED]),
        ("text", wasm(b"Dear diary, today I wrote no wasm.\nTomorrow I will."), &["a text file", ACCEPTED]),
        ("prose", Guest::wat("Dear diary"), &["a text file", ACCEPTED]),
        ("broken_text", Guest::wat("(component (import"), &["wrong .wat text", ACCEPTED]),
        ("utf16", wasm(b"\xff\xfe(\0m\0"), &["UTF-16", "UTF-8", ACCEPTED]),
        ("script", wasm(b"#!/bin/sh\necho hello\n"), &["a script", ACCEPTED]),
        ("page", wasm(b"\n<!DOCTYPE html>\n<title>404 Not Found</title>"), &["an HTML page", "download", ACCEPTED]),
        ("bare_page", wasm(b"<HTML><body>404"), &["an HTML page", ACCEPTED]),
        ("storage_error", wasm(b"<?xml version='1.0'?><Error><Code>NoSuchKey"), &["XML", "download", ACCEPTED]),
        ("json", wasm(b"{\"message\": \"Not Found\"}"), &["JSON", "download", ACCEPTED]),
        (
            "lfs",
            wasm(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a"),
            &["Git LFS", "git lfs pull", ACCEPTED],
        ),
        ("elf", wasm(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"), &["an ELF program", ACCEPTED]),
        ("cwasm", wasm(b"\x7fELF\x02\x01\x01\xc8\0\0\0\0\0\0\0\0"), &["wasmtime compiled", ACCEPTED]),
        ("pe", wasm(b"MZ\x90\0\x03\0\0\0"), &["a Windows program", ACCEPTED]),
        ("macho", wasm(b"\xcf\xfa\xed\xfe\x0c\0\0\x01"), &["a macOS program", ACCEPTED]),
        ("universal", wasm(b"\xca\xfe\xba\xbe\0\0\0\x02"), &["a macOS program", "Java", ACCEPTED]),
        ("bitcode", wasm(b"BC\xc0\xde\x35\x14\0\0"), &["LLVM bitcode", ACCEPTED]),
        ("library", wasm(b"!<arch>\n/               0"), &["an archive of object files", ACCEPTED]),
        ("zip", wasm(b"PK\x03\x04\x14\0\0\0"), &["a zip archive", ACCEPTED]),
        ("gzip", wasm(b"\x1f\x8b\x08\0\0\0\0\0"), &["a gzip archive", ACCEPTED]),
        ("bzip2", wasm(b"BZh91AY&SY\xff"), &["a bzip2 archive", ACCEPTED]),
        ("xz", wasm(b"\xfd7zXZ\0\0\x04"), &["an xz archive", ACCEPTED]),
        ("zstd", wasm(b"\x28\xb5\x2f\xfd\x04\0"), &["a zstd archive", ACCEPTED]),
        ("garbage", wasm(b"\xff\xfa\xfd\0\x01\x02"), &["no wasm", ACCEPTED]),
        ("truncated", wasm(&good[..good.len() / 2]), &["damaged wasm", ACCEPTED]),
        ("truncated_module", wasm(&module[..module.len() / 2]), &["damaged wasm", ACCEPTED]),
        ("headless", wasm(&good[..4]), &["truncated wasm", ACCEPTED]),
        ("header", wasm(&module[..8]), &["core module", ACCEPTED]),
        ("later_wasm", wasm(b"\0asm\x07\0\0\0"), &["wasm of an unknown version", ACCEPTED]),
    ]
}

/// Core modules for other hosts, or that want what this one does not have.
fn modules() -> Vec<(&'static str, Guest, &'static [&'static str])> {
    let module = |fields: &str| Guest::wat(format!("(module {fields})"));
    let program = |fields: &str| module(&format!("{fields} (memory (export \"memory\") 1) (func (export \"_start\"))"));
    // With the contract's type in it, and something beside.
    let typed = |fields: &str| {
        let text = String::from_utf8(answers_as_module("A", true).bytes).expect("WAT is UTF-8");
        let begin = text.find("(module").expect("it is a module") + "(module".len();
        let end = text.rfind(')').expect("it is a module");
        // Imports come first.
        let at = if fields.starts_with("(import ") { begin } else { end };
        Guest::wat(format!("{}\n{fields}\n{}", &text[..at], &text[at..]))
    };
    let threads = &["threads", "shared memory", "build it without"];
    vec![
        ("untyped", answers_as_module("A", false), &["core module", "component type", "_start", ACCEPTED]),
        ("exports_nothing", module(""), &["core module", "_start", ACCEPTED]),
        ("reactor", module("(func (export \"_initialize\")) (func (export \"add\"))"), &["component type", ACCEPTED]),
        (
            "emscripten",
            module(
                "(import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32)))
                 (import \"env\" \"emscripten_resize_heap\" (func (param i32) (result i32)))
                 (memory (export \"memory\") 258 258) (func (export \"__wasm_call_ctors\")) (func (export \"main\"))",
            ),
            &["JavaScript", "emscripten", "env.emscripten_resize_heap", "zig cc", "wharf new NAME --lang c"],
        ),
        (
            "emscripten_minified",
            module("(import \"a\" \"a\" (func (param i32))) (memory (export \"d\") 256 256) (func (export \"e\"))"),
            &["emscripten", "a.a", "zig cc"],
        ),
        (
            "emscripten_program",
            program("(import \"env\" \"__syscall_getcwd\" (func (param i32 i32) (result i32)))"),
            &["emscripten", "env.__syscall_getcwd", "zig cc"],
        ),
        (
            "wasm_bindgen",
            module("(import \"__wbindgen_placeholder__\" \"__wbindgen_describe\" (func (param i32)))"),
            &["JavaScript", "wasm-bindgen", "__wbindgen_describe", "wasm32-wasip2", "wharf new NAME --lang rust"],
        ),
        (
            "wasm_pack",
            module("(import \"./hello_bg.js\" \"__wbg_alert_f837f172b2a24942\" (func (param i32 i32)))"),
            &["wasm-bindgen", "./hello_bg.js.__wbg_alert_f837f172b2a24942", "wasm32-wasip2"],
        ),
        (
            "browser_bundle",
            module("(import \"wbg\" \"__wbindgen_throw\" (func (param i32 i32))) (func (export \"main\"))"),
            &["wasm-bindgen", "wbg.__wbindgen_throw", "wasm32-wasip2"],
        ),
        (
            "go_js",
            module("(import \"gojs\" \"runtime.wasmExit\" (func (param i32))) (func (export \"run\") (param i32 i32))"),
            &["JavaScript", "Go", "gojs.runtime.wasmExit", "GOOS=wasip1 GOARCH=wasm"],
        ),
        (
            "go_js_before_1_21",
            module("(import \"go\" \"runtime.wasmExit\" (func (param i32)))"),
            &["Go", "GOOS=wasip1 GOARCH=wasm"],
        ),
        (
            "assemblyscript",
            module("(import \"env\" \"abort\" (func (param i32 i32 i32 i32)))"),
            &["JavaScript", "AssemblyScript", "env.abort", "--use abort=", "wharf new NAME --lang assemblyscript"],
        ),
        (
            "kotlin",
            module("(import \"js_code\" \"kotlin.captureStackTrace\" (func (result externref)))"),
            &["Kotlin", "js_code.kotlin.captureStackTrace", "garbage-collected types", "wharf new"],
        ),
        (
            "dart",
            module("(import \"dart2wasm\" \"_1\" (func (result externref)))"),
            &["Dart", "garbage-collected types"],
        ),
        (
            "extism",
            module(
                "(import \"extism:host/env\" \"input_length\" (func (result i64))) (func (export \"greet\") (result i32) (i32.const 0))",
            ),
            &["an Extism plugin", "extism:host/env.input_length", "wasm32-wasip2", "wharf new NAME --lang rust"],
        ),
        (
            "proxy_wasm",
            module(
                "(import \"env\" \"proxy_log\" (func (param i32 i32 i32) (result i32))) (func (export \"proxy_abi_version_0_2_1\"))",
            ),
            &["proxy-wasm", "Envoy", "env.proxy_log", "wasm32-wasip2"],
        ),
        (
            "wapc",
            module("(import \"wapc\" \"__guest_request\" (func (param i32 i32))) (func (export \"__guest_call\"))"),
            &["a waPC guest", "wapc.__guest_request", "wasm32-wasip2"],
        ),
        (
            "fastly",
            program("(import \"fastly_abi\" \"init\" (func (param i64) (result i32)))"),
            &["Fastly Compute", "fastly_abi.init", "wasm32-wasip2"],
        ),
        (
            "spin_1",
            module("(import \"spin-http\" \"send-request\" (func (param i32)))"),
            &["Spin", "spin-http.send-request"],
        ),
        (
            "wasix",
            program("(import \"wasix_32v1\" \"sock_listen\" (func (param i32 i32) (result i32)))"),
            &["WASIX", "stdin and stdout", "wasm32-wasip1"],
        ),
        (
            "kotlin_wasi",
            program("(type $s (struct)) (func (drop (struct.new $s)))"),
            &["garbage-collected types (as Kotlin", "build it without"],
        ),
        ("object", module("(@custom \"linking\" \"\\02\")"), &["an object file", "not linked"]),
        ("shared_library", module("(@custom \"dylink.0\" \"\")"), &["a shared library", "statically"]),
        ("old_wasi", program("(import \"wasi_unstable\" \"sched_yield\" (func (result i32)))"), &["WASI before 0.1"]),
        ("unknown_function", program("(import \"env\" \"log\" (func))"), &["env.log", "wasi_snapshot_preview1"]),
        (
            "unknown_functions",
            program(
                "(import \"x\" \"1\" (func)) (import \"x\" \"2\" (func)) (import \"y\" \"3\" (func)) (import \"y\" \"4\" (func))",
            ),
            &["x.1, x.2, y.3 and 1 more"],
        ),
        (
            "unknown_wasi_function",
            program("(import \"wasi_snapshot_preview1\" \"sock_open\" (func))"),
            &["WasmEdge", "wasi_snapshot_preview1.sock_open", "stdin and stdout", "wasm32-wasip1"],
        ),
        (
            "pointers_of_64_bits",
            program("(import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i64 i64 i64) (result i32)))"),
            &["can't be linked", "fd_write"],
        ),
        (
            "unknown_memory",
            module("(import \"env\" \"memory\" (memory 1)) (func (export \"_start\"))"),
            &["env.memory"],
        ),
        ("unknown_import_of_a_handler", typed("(import \"env\" \"log\" (func))"), &["env.log", "component type names"]),
        ("start_with_a_parameter", module("(func (export \"_start\") (param i32))"), &["_start", "of another type"]),
        ("start_is_a_memory", module("(memory (export \"_start\") 1)"), &["_start", "of another type"]),
        ("shared_memory", module("(memory 1 1 shared) (func (export \"_start\"))"), threads),
        (
            "shared_memory_from_outside",
            module("(import \"env\" \"memory\" (memory 1 9 shared)) (func (export \"_start\"))"),
            threads,
        ),
        (
            "wasi_threads",
            module(
                "(import \"env\" \"memory\" (memory 1 9 shared))
                 (import \"wasi\" \"thread-spawn\" (func (param i32) (result i32))) (func (export \"_start\"))",
            ),
            &["threads", "wasi.thread-spawn", "one thread"],
        ),
        ("atomics", program("(func (drop (i32.atomic.load (i32.const 0))))"), threads),
        ("atomics_in_a_handler", typed("(func (drop (i32.atomic.load (i32.const 0))))"), threads),
        ("exceptions", program("(tag $t) (func (throw $t))"), &["needs exceptions", "build it without"]),
        (
            "garbage_and_threads",
            program("(type $s (struct)) (func (drop (struct.new $s)) (drop (i32.atomic.load (i32.const 0))))"),
            &["threads", "and garbage-collected types"],
        ),
        ("not_valid", program("(func (result i32))"), &["does not compile", "type mismatch"]),
        ("memory", module("(memory 1025) (func (export \"_start\"))"), &["64 MiB", "limits.memory", "memory.toml"]),
        ("memory_of_64_bits", module("(memory i64 0x100000000) (func (export \"_start\"))"), &["limits.memory"]),
        ("table", program("(table 100001 funcref)"), &["table of 100001 elements", "100000"]),
        ("huge_table", program("(table 4000000000 funcref)"), &["table of 4000000000 elements", "100000"]),
    ]
}

/// Components of other worlds, or that want what this host does not have.
fn components() -> Vec<(&'static str, Guest, &'static [&'static str])> {
    let component = |fields: &str| Guest::wat(format!("(component {fields})"));
    // A handler, with something beside it.
    let handler = |fields: &str| {
        let text = String::from_utf8(answers("A").bytes).expect("WAT is UTF-8");
        Guest::wat(text.replacen("(component\n", &format!("(component\n{fields}\n"), 1))
    };
    let exports = |name: &str| component(&format!("(instance $i) (export \"{name}\" (instance $i))"));
    // Functions that do nothing, in an interface of this name.
    let of_functions = |interface: &str, functions: &[&str]| {
        let exports: String = functions.iter().map(|name| format!("(export \"{name}\" (func $f))")).collect();
        component(&format!(
            "(core module $M (func (export \"f\"))) (core instance $m (instantiate $M))
             (func $f (canon lift (core func $m \"f\")))
             (instance $i {exports}) (export \"{interface}\" (instance $i))"
        ))
    };
    let stream_handler = "wharf:handler/stream-handler@0.1.0";
    vec![
        ("no_exports", component(""), &["a component that exports nothing", ACCEPTED]),
        ("other_world", exports("acme:image/resize@1.0.0"), &["another world", "acme:image/resize@1.0.0", ACCEPTED]),
        ("http_proxy", exports("wasi:http/incoming-handler@0.2.0"), &["HTTP requests", "connections", ACCEPTED]),
        ("later_command", exports("wasi:cli/run@0.3.0"), &["another WASI", "wasi:cli/run@0.3.0", ACCEPTED]),
        ("hooks_alone", exports("wharf:handler/server-hooks@0.1.0"), &["server-hooks alone", ACCEPTED]),
        ("no_version", exports("wharf:handler/stream-handler"), &["another world", "stream-handler@0.1.0"]),
        ("next_version", answers_to_version("A", "0.2.0"), &["wharf:handler@0.2.0", "this host 0.1.0", "handler.wit"]),
        ("version", answers_to_version("A", "9.9.9"), &["wharf:handler@9.9.9", "this host 0.1.0"]),
        (
            "two_handlers",
            component(
                "(instance $i) (instance $j) (export \"wharf:handler/datagram-handler@0.1.0\" (instance $i))
                 (export \"wharf:handler/stream-handler@0.1.0\" (instance $j))",
            ),
            &["both a stream handler and a datagram handler", "has to be one"],
        ),
        ("wrong_shape", of_functions(stream_handler, &["setup", "handle", "finish"]), &["not of the contract"]),
        ("no_finish", of_functions(stream_handler, &["setup", "handle"]), &["stream-handler lacks `finish`"]),
        ("run_of_another_type", of_functions("wasi:cli/run@0.2.0", &["run"]), &["`run` is of another type"]),
        ("no_run", exports("wasi:cli/run@0.2.0"), &["wasi:cli/run@0.2.0 lacks `run`"]),
        (
            "control_characters",
            component("(core module $M) (export \"\\1b[2J\\0aforged\\0d\" (core module $M))"),
            &["another world", "forged", ACCEPTED],
        ),
        (
            "unknown_import",
            handler("(import \"acme:store/kv@1.0.0\" (instance (export \"get\" (func))))"),
            &["acme:store/kv@1.0.0", "does not have", "wharf:handler@0.1.0", "wasi:…@0.2"],
        ),
        (
            "http_client",
            handler("(import \"wasi:http/outgoing-handler@0.2.0\" (instance (export \"handle\" (func))))"),
            &["wasi:http/outgoing-handler@0.2.0", "does not have", "jco", "--disable http"],
        ),
        (
            "spin",
            component(
                "(import \"fermyon:spin/key-value@2.0.0\" (instance (export \"get\" (func))))
                 (instance $i) (export \"wasi:http/incoming-handler@0.2.0\" (instance $i))",
            ),
            &["HTTP requests", "Spin's", "without Spin's SDK", ACCEPTED],
        ),
        (
            "fastly_component",
            handler("(import \"fastly:compute/http-req\" (instance (export \"get\" (func))))"),
            &["fastly:compute/http-req", "Fastly Compute's", "without Fastly's SDK"],
        ),
        (
            "later_wasi",
            handler("(import \"wasi:sockets/types@0.3.0\" (instance (export \"tcp-socket\" (type (sub resource)))))"),
            &["wasi:sockets/types@0.3.0", "wasi:…@0.2"],
        ),
        (
            "next_contract",
            handler("(import \"wharf:handler/datagram@0.2.0\" (instance (export \"peek\" (func))))"),
            &["wharf:handler/datagram@0.2.0", "wharf:handler@0.1.0"],
        ),
        (
            "unknown_function_of_the_contract",
            handler("(import \"wharf:handler/datagram@0.1.0\" (instance (export \"peek\" (func))))"),
            &["can't be linked", "wharf:handler/datagram@0.1.0", "`peek`"],
        ),
        (
            "another_type",
            handler(
                "(import \"wasi:clocks/monotonic-clock@0.2.0\" (instance (export \"now\" (func (result string)))))",
            ),
            &["can't be linked", "wasi:clocks/monotonic-clock@0.2.0", "`now`"],
        ),
        ("shared_memory_inside", handler("(core module (memory 1 1 shared))"), &["threads", "build it without"]),
        (
            "async",
            handler(
                "(core module $A (func (export \"f\"))) (core instance $a (instantiate $A)) (func async (canon lift (core func $a \"f\")))",
            ),
            &["async component functions", "build it without"],
        ),
        (
            "memory_inside",
            handler("(core module $M (memory 1025)) (core instance (instantiate $M))"),
            &["64 MiB", "limits.memory", "memory_inside.toml"],
        ),
        (
            "table_inside",
            handler("(core module $T (table 100001 funcref)) (core instance (instantiate $T))"),
            &["table of 100001 elements"],
        ),
    ]
}

#[track_caller]
fn says_all(plugin: &str, reason: &str, parts: &[&str]) {
    for part in parts {
        assert!(reason.contains(part), "{plugin}: no {part:?} in: {reason}");
    }
    assert!(!reason.contains(char::is_control), "{plugin}: {reason:?}");
}

#[test]
fn everything_else_is_refused_in_one_line_that_says_what_it_is_and_what_would_do() {
    let folder = Folder::new();
    folder.plugin("fine", &answers("A"));
    for (plugin, guest, _) in misfits() {
        folder.plugin(plugin, &guest);
    }
    let mut check = Launch::new(["check".as_ref(), folder.path()]).start();
    assert_eq!(check.ended(), 1, "exit status of a check");
    let checked = check.events();
    assert!(checked.contains(&"fine: ok".to_owned()), "{checked:#?}");

    let wharf = Wharf::serve(&folder);
    let fine = wharf.address("fine");
    assert_eq!(ask(fine, "x"), answer("A"), "the others serve");
    for (plugin, _, parts) in misfits() {
        let reason = wharf.event("refused", plugin).reason;
        says_all(plugin, &reason, parts);
        let line = format!("{plugin}: refused: {reason}");
        assert_eq!(checked.iter().filter(|said| **said == line).count(), 1, "{line}: {checked:#?}");
    }
    assert_eq!(ask(fine, "x"), answer("A"), "the others serve still");
    let events = wharf.stop();
    let refused = events.iter().filter(|line| line.starts_with("refused ")).count();
    assert_eq!(refused, misfits().len(), "one line about each: {events:#?}");
}

#[test]
fn whatever_is_refused_leaves_the_old_one_serving() {
    let folder = Folder::new();
    for (plugin, guest, _) in misfits() {
        let good = answers("A");
        folder.plugin(plugin, &if guest.extension == "wat" { good } else { good.assembled() });
    }
    let wharf = Wharf::serve(&folder);
    let addresses: Vec<_> = misfits().iter().map(|(plugin, ..)| wharf.address(plugin)).collect();
    for (plugin, guest, _) in misfits() {
        folder.plugin(plugin, &guest);
    }
    for ((plugin, guest, parts), address) in misfits().into_iter().zip(addresses) {
        let kept = wharf.event("kept", plugin);
        says_all(plugin, &kept.reason, parts);
        assert_ne!(kept.generation, guest.generation(), "{plugin}: the old one is named");
        assert_eq!(ask(address, "x"), answer("A"), "{plugin}");
    }
    wharf.stop();
}

#[test]
fn wat_text_may_begin_with_the_mark_that_some_editors_write() {
    let folder = Folder::new();
    folder.plugin("marked", &Guest::wat(format!("\u{feff}{}", String::from_utf8(answers("A").bytes).expect("UTF-8"))));
    let wharf = Wharf::serve(&folder);
    assert_eq!(ask(wharf.address("marked"), "x"), answer("A"));
    wharf.stop();
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
fn a_component_type_that_goes_in_circles_ends_nothing() {
    let folder = Folder::new();
    let circle = include_bytes!("../../fuzz/corpus/recognise/circle.wasm");
    folder.file("circle.wasm", circle).plugin("fine", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let reason = wharf.event("refused", "circle").reason;
    assert!(reason.contains("need each other in a circle"), "{reason}");
    assert_eq!(ask(wharf.address("fine"), "x"), answer("A"));
    wharf.stop();
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
