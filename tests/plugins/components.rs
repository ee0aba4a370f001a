//! Components that nobody's toolchain makes: whatever is legal is what it is as a component, and
//! whatever is made to keep the host busy is refused.

use std::fmt::Write;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::harness::guests::{Guest, answers, fixture_as_module};
use crate::harness::{Folder, Launch, Scene, Wharf, answer, ask};

/// What `wharf check` says of a plugin's sandboxes.
fn sandbox(guest: &Guest) -> String {
    let folder = Folder::new();
    folder.plugin("guest", guest);
    let file = folder.path().join("guest").with_extension(guest.extension);
    let mut wharf = Launch::new([Path::new("check"), &file]).own_cache().start();
    assert_eq!(wharf.ended(), 0, "{:?}", wharf.events());
    let said =
        wharf.events().into_iter().find_map(|line| Some(line.trim().strip_prefix("sandbox ")?.trim().to_owned()));
    said.expect("a line about sandboxes")
}

const PUT_BACK: &str = "put back after each request";
const MADE: &str = "made for each request";

/// A component around one module, put together as a toolchain could do it and none does. In each
/// phase the module says which of its functions was called; `handle` also says where it was made
/// room for what it received, and for its client's address.
struct Parts {
    /// The functions that are lifted as `setup`, `handle` and `finish`.
    lifted: [&'static str; 3],
    /// The functions that make room for what is received, and for an address.
    reallocs: [&'static str; 2],
    /// The version of the contract that it imports.
    contract: &'static str,
    /// What comes between the module and `recv`.
    shim: &'static str,
    /// The names of the shim's table.
    tables: &'static [&'static str],
    /// What each fixup puts into the shim's table for `recv`, one after the other, and the name
    /// that it has the table by.
    fixups: &'static [(&'static str, &'static str)],
    /// Whether a module has a second number, so that those after it have others than one would
    /// think, and look-alikes are where they would be.
    shifted: bool,
    /// How many globals the module can change.
    globals: usize,
}

const PLAIN: Parts = Parts {
    lifted: ["setup", "handle", "finish"],
    reallocs: ["realloc", "realloc"],
    contract: "0.1.0",
    shim: "(local.get 0) (local.get 1) (i32.const 1) (call_indirect (type $two))",
    tables: &["slots"],
    fixups: &[("recv", "slots")],
    shifted: false,
    globals: 1,
};

impl Parts {
    fn guest(&self) -> Guest {
        let Self { lifted: [setup, handle, finish], reallocs: [for_bytes, for_address], contract, shim, .. } = self;
        let globals = "(global (mut i32) (i32.const 0))".repeat(self.globals);
        let fixup = |(function, table): &(&str, &str)| {
            format!(
                r#"(core instance (instantiate $Fixup (with "" (instance (export "slots" (table ${table}))
                     (export "0" (func $lowered_send)) (export "1" (func $lowered_{function}))
                     (export "2" (func $lowered_address)) (export "3" (func $lowered_shutdown))))))"#
            )
        };
        let fixups = self.fixups.iter().map(fixup).collect::<String>();
        let tables = self.tables.iter().map(|name| format!("(export \"{name}\") ")).collect::<String>();
        let aliases: String = self
            .tables
            .iter()
            .map(|name| format!("(alias core export $shim \"{name}\" (core table ${name}))\n"))
            .collect();
        let shim_module = |name: &str| {
            format!(
                r#"(core module ${name}
    (type $one (func (param i32)))
    (type $two (func (param i32 i32)))
    (type $three (func (param i32 i32 i32)))
    (table {tables} 3 3 funcref)
    (func (export "0") (type $three)
      (local.get 0) (local.get 1) (local.get 2) (i32.const 0) (call_indirect (type $three)))
    (func (export "1") (type $two) {shim})
    (func (export "2") (type $one) (local.get 0) (i32.const 2) (call_indirect (type $one))))"#
            )
        };
        let fixup_module = |name: &str, recv: &str| {
            format!(
                r#"(core module ${name}
    (type $one (func (param i32)))
    (type $two (func (param i32 i32)))
    (type $three (func (param i32 i32 i32)))
    (import "" "0" (func (type $three)))
    (import "" "1" (func (type $two)))
    (import "" "2" (func (type $one)))
    (import "" "3" (func (type $two)))
    (import "" "slots" (table 3 3 funcref))
    (elem (i32.const 0) func 0 {recv} 2))"#
            )
        };
        let mut helpers = [shim_module("Shim"), fixup_module("Fixup", "1")].join("\n  ");
        if self.shifted {
            helpers = [
                "(alias outer 0 0 (core module $HandlerAgain))",
                &shim_module("Shim"),
                &shim_module("LikeShim"),
                &fixup_module("Fixup", "1"),
                &fixup_module("LikeFixup", "3"),
            ]
            .join("\n  ");
        }
        Guest::wat(format!(
            r#"(component
  (import "wharf:handler/connection@{contract}" (instance $connection
    (type $code (variant
      (case "timed-out") (case "connection-reset") (case "broken-pipe") (case "message-too-large")
      (case "not-permitted") (case "other" string)))
    (export "error-code" (type $error (eq $code)))
    (type $at (record (field "ip" string) (field "port" u16)))
    (export "inet-address" (type $inet (eq $at)))
    (type $either (variant (case "inet" $inet) (case "unix" (option string))))
    (export "address" (type $address (eq $either)))
    (type $ways (enum "read" "write" "both"))
    (export "direction" (type $direction (eq $ways)))
    (export "recv" (func (param "max" u32) (result (result (list u8) (error $error)))))
    (export "send" (func (param "data" (list u8)) (result (result (error $error)))))
    (export "shutdown" (func (param "direction" $direction) (result (result (error $error)))))
    (export "client-address" (func (result $address)))))
  (core module $Handler
    (import "connection" "send" (func $send (param i32 i32 i32)))
    (import "connection" "recv" (func $recv (param i32 i32)))
    (import "connection" "client-address" (func $address (param i32)))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 2048))
    (func (export "another_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
    {globals}
    (data (i32.const 64) "setup handle finish ")
    (func $say (param i32 i32) (result i32)
      (call $send (local.get 0) (local.get 1) (i32.const 16))
      (i32.store8 (i32.const 32) (i32.const 0))
      (i32.const 32))
    (func (export "wharf:handler/stream-handler@0.1.0#setup") (result i32) (call $say (i32.const 64) (i32.const 6)))
    (func (export "wharf:handler/stream-handler@0.1.0#handle") (result i32)
      (call $recv (i32.const 16) (i32.const 0))
      (call $address (i32.const 128))
      (i32.store8 (i32.const 200) (i32.add (i32.const 48) (i32.div_u (i32.load (i32.const 4)) (i32.const 2048))))
      (i32.store8 (i32.const 201) (i32.add (i32.const 48) (i32.div_u (i32.load (i32.const 132)) (i32.const 2048))))
      (drop (call $say (i32.const 200) (i32.const 2)))
      (call $say (i32.const 69) (i32.const 8)))
    (func (export "wharf:handler/stream-handler@0.1.0#finish") (result i32) (call $say (i32.const 76) (i32.const 8))))
  {helpers}

  (core instance $shim (instantiate $Shim))
  {aliases}
  (core instance $handler (instantiate $Handler
    (with "connection" (instance
      (export "send" (func $shim "0"))
      (export "recv" (func $shim "1"))
      (export "client-address" (func $shim "2"))))))
  (alias core export $handler "memory" (core memory $memory))
  (alias core export $handler "{for_bytes}" (core func $for_bytes))
  (alias core export $handler "{for_address}" (core func $for_address))
  (alias export $connection "recv" (func $recv))
  (alias export $connection "send" (func $send))
  (alias export $connection "shutdown" (func $shutdown))
  (alias export $connection "client-address" (func $client_address))
  (core func $lowered_send (canon lower (func $send) (memory $memory) (realloc $for_bytes)))
  (core func $lowered_recv (canon lower (func $recv) (memory $memory) (realloc $for_bytes)))
  (core func $lowered_shutdown (canon lower (func $shutdown) (memory $memory) (realloc $for_bytes)))
  (core func $lowered_address (canon lower (func $client_address) (memory $memory) (realloc $for_address)))
  {fixups}

  (type $step (func (result (result (error string)))))
  (alias core export $handler "wharf:handler/stream-handler@0.1.0#{setup}" (core func $core_setup))
  (alias core export $handler "wharf:handler/stream-handler@0.1.0#{handle}" (core func $core_handle))
  (alias core export $handler "wharf:handler/stream-handler@0.1.0#{finish}" (core func $core_finish))
  (func $setup (type $step) (canon lift (core func $core_setup) (memory $memory)))
  (func $handle (type $step) (canon lift (core func $core_handle) (memory $memory)))
  (func $finish (type $step) (canon lift (core func $core_finish) (memory $memory)))
  (instance $stream_handler
    (export "setup" (func $setup))
    (export "handle" (func $handle))
    (export "finish" (func $finish)))
  (export "wharf:handler/stream-handler@0.1.0" (instance $stream_handler)))"#
        ))
    }
}

fn serving(guest: &Guest) -> Scene {
    Scene::of("guest", guest).serve()
}

#[test]
fn whatever_a_component_is_made_of_it_does_what_it_does_as_a_component() {
    const TWO: &str = "realloc";
    let said = "setup 11 handle  finish ";
    for (what, parts, expected, how) in [
        ("as toolchains make it", PLAIN, said, PUT_BACK),
        (
            "phases that are lifted crosswise",
            Parts { lifted: ["finish", "setup", "handle"], ..PLAIN },
            " finish setup 11 handle ",
            PUT_BACK,
        ),
        (
            "a function to make room by for each",
            Parts { reallocs: [TWO, "another_realloc"], ..PLAIN },
            "setup 12 handle  finish ",
            MADE,
        ),
        (
            "two fixups, of which the last one counts",
            Parts { fixups: &[("shutdown", "slots"), ("recv", "slots")], ..PLAIN },
            said,
            MADE,
        ),
        (
            "two fixups of one table by two names",
            Parts { tables: &["again", "slots"], fixups: &[("shutdown", "slots"), ("recv", "again")], ..PLAIN },
            said,
            MADE,
        ),
        ("modules that have other numbers than one would think", Parts { shifted: true, ..PLAIN }, said, MADE),
        ("more globals than are put back", Parts { globals: 65_000, ..PLAIN }, said, MADE),
    ] {
        let guest = parts.guest();
        assert_eq!(sandbox(&guest), how, "{what}");
        let scene = serving(&guest);
        for _ in 0..3 {
            assert_eq!(scene.ask("x"), expected, "{what}");
        }
        scene.stop();
    }
    // It asks for its client's address, where it says that it receives.
    let drops = Parts { shim: "(local.get 0) (i32.const 2) (call_indirect (type $one))", ..PLAIN };
    assert_eq!(sandbox(&drops.guest()), MADE, "a shim that drops a parameter");
}

#[test]
fn a_version_of_the_contract_that_does_not_exist_is_imported_by_nobody() {
    let folder = Folder::new();
    folder.plugin("guest", &Parts { contract: "9.0.0", ..PLAIN }.guest());
    let wharf = Wharf::serve(&folder);
    let refused = wharf.event("refused", "guest");
    assert!(refused.reason.contains("wharf:handler/connection@9.0.0, which this host does not have"), "{refused:?}");
    wharf.stop();
}

#[test]
fn an_adapter_that_keeps_back_what_the_module_writes_is_not_bypassed() {
    let module = fixture_as_module("writes_stdout");
    let scene = serving(&module);
    scene.client().send("x").hears("0").ends();
    scene.logs(&["secret"]);
    scene.stop();

    // It asks the host for streams, as the usual one does, and makes no use of them: 8 is EBADF.
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_str("io.wit", "package wasi:io@0.2.0; interface streams { resource output-stream; }").expect("WIT");
    let world = "package test:adapter; world adapter { import wasi:io/streams@0.2.0; }";
    let package = resolve.push_str("adapter.wit", world).expect("WIT");
    let world = resolve.select_world(&[package], Some("adapter")).expect("it is there");
    let mut adapter = wat::parse_str(
        r#"(module
          (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop (param i32)))
          (func (export "fd_write") (param i32 i32 i32 i32) (result i32)
            (if (i32.eq (local.get 0) (i32.const 12345)) (then (call $drop (i32.const 0))))
            (i32.const 8)))"#,
    )
    .expect("WAT");
    embed_component_metadata(&mut adapter, &resolve, world, StringEncoding::UTF8).expect("a world");
    let component = ComponentEncoder::default()
        .module(&module.assembled().bytes)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", &adapter))
        .and_then(|mut encoder| encoder.encode())
        .expect("a component");
    let component = Guest::wasm(component);
    assert_eq!(sandbox(&component), MADE);
    let scene = serving(&component);
    scene.client().send("x").hears("8").ends();
    let log = scene.log();
    scene.stop();
    assert!(!log.iter().any(|line| line.contains("secret")), "{log:#?}");
}

#[test]
fn what_an_adapter_has_beside_wasi_is_its_own_to_do() {
    let guest = fixture_as_module("asks_adapter");
    assert_eq!(sandbox(&guest), MADE);
    let scene = serving(&guest);
    scene.client().send("x").hears("0").ends();
    scene.stop();
}

/// A handler whose phases return a type that doubles with each of so many levels.
fn nested(levels: usize, name: &str) -> Guest {
    let mut types = format!("(type $t0 (variant (case \"{name}\")))");
    for level in 1..=levels {
        let below = level - 1;
        write!(types, "(type $t{level} (result $t{below} (error $t{below})))").expect("a String takes it");
    }
    Guest::wat(format!(
        r#"(component
  (core module $m (memory (export "memory") 1) (func (export "f") (result i32) unreachable))
  (core instance $i (instantiate $m))
  (alias core export $i "f" (core func $core))
  (alias core export $i "memory" (core memory $memory))
  {types}
  (type $f (func (result $t{levels})))
  (func $phase (type $f) (canon lift (core func $core) (memory $memory)))
  (component $typed
    {types}
    (import "t" (type $named (eq $t{levels})))
    (import "f" (func $f (result $named)))
    (export "setup" (func $f)) (export "handle" (func $f)) (export "finish" (func $f)))
  (instance $h (export "setup" (func $phase)) (export "handle" (func $phase)) (export "finish" (func $phase)))
  (export "wharf:handler/stream-handler@0.1.0" (instance $h)))"#
    ))
}

#[test]
fn types_that_would_take_all_memory_to_write_out_are_refused_and_take_none() {
    let folder = Folder::new();
    folder.plugin("other", &answers("O"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("other");
    wharf.event("loaded", "other");
    // 1.6 GB in words, and 26 GB.
    for (levels, name) in [(14, "n".repeat(100_000)), (18, "n".repeat(100_000))] {
        folder.plugin("nested", &nested(levels, &name));
        let refused = wharf.event("refused", "nested");
        assert!(refused.reason.len() < 3000, "{} bytes", refused.reason.len());
        folder.remove("nested.wat");
        assert_eq!(ask(address, "x"), answer("O"));
    }
    let most = wharf.status("VmHWM");
    assert!(most < 200_000, "{most} KiB");
    wharf.stop();
}

/// A program that imports from so many modules.
fn importing(modules: usize) -> Guest {
    let imports: String = (0..modules).map(|n| format!("(import \"m{n}\" \"f\" (func))")).collect();
    Guest::wat(format!("(module {imports} (memory (export \"memory\") 1) (func (export \"_start\")))")).assembled()
}

#[test]
fn imports_by_the_hundred_thousand_are_refused_and_hold_up_nobody() {
    let folder = Folder::new();
    folder.plugin("other", &answers("A"));
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("other");
    wharf.event("loaded", "other");
    let many = importing(160_000);
    for n in 0..8 {
        folder.plugin(&format!("many-{n}"), &many);
    }
    folder.plugin("other", &answers("B"));
    wharf.event("loaded", "other");
    assert_eq!(ask(address, "x"), answer("B"));
    for n in 0..8 {
        let refused = wharf.event("refused", &format!("many-{n}"));
        assert!(refused.reason.contains("which this host does not have"), "{}", refused.reason);
    }
    wharf.stop();
}

#[test]
fn a_long_name_is_no_long_line() {
    // The longest there may be in wasm is 100,000 bytes; a manifest inside a plugin has 1 MiB for
    // its names.
    let name = "n".repeat(90_000);
    let longer = "n".repeat(900_000);
    let program = format!(
        r#"(module (import "wasi_snapshot_preview1" "{name}" (func)) (memory (export "memory") 1) (func (export "_start")))"#
    );
    let plugins = [
        ("core", Guest::wat(format!(r#"(module (import "{name}" "{name}" (func)))"#))),
        ("program", Guest::wat(program)),
        ("exports", Guest::wat(format!(r#"(component (component $c) (export "{name}" (component $c)))"#))),
        ("key", answers("A").with_manifest(&format!("'{longer}' = 1"))),
        ("value", answers("A").with_manifest(&format!("instance = '{longer}'"))),
        ("address", answers("A").with_manifest(&format!("listen = 'tcp://{longer}'"))),
    ];
    let folder = Folder::new();
    for (plugin, guest) in &plugins {
        folder.plugin(plugin, guest);
    }
    let wharf = Wharf::serve(&folder);
    for (plugin, _) in &plugins {
        let refused = wharf.event("refused", plugin);
        assert!(refused.reason.contains("nnn") && refused.reason.len() < 3000, "{plugin}: {refused:?}");
    }
    wharf.stop();
}

#[test]
fn what_a_sandbox_takes_beside_its_memory_has_an_end_too() {
    let program = |fields: &str| {
        Guest::wat(format!("(module {fields} (memory (export \"memory\") 1) (func (export \"_start\")))"))
    };
    let globals = |count| program(&"(global (mut i32) (i32.const 0))".repeat(count));
    let tables = |count| program(&"(table 40000 funcref)".repeat(count));
    let folder = Folder::new();
    for (name, guest) in [
        ("some-globals", globals(20_000)),
        ("many-globals", globals(40_000)),
        ("some-tables", tables(2)),
        ("many-tables", tables(6)),
    ] {
        folder.settings(name, "[limits]\nmemory = '1MiB'").plugin(name, &guest);
    }
    let wharf = Wharf::serve(&folder);
    wharf.event("loaded", "some-globals");
    wharf.event("loaded", "some-tables");
    let refused = wharf.event("refused", "many-globals").reason;
    assert!(refused.contains("would keep") && refused.contains("limit of 1 MiB"), "{refused}");
    let refused = wharf.event("refused", "many-tables").reason;
    assert!(refused.contains("table"), "{refused}");
    wharf.stop();
}
