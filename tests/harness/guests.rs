//! Plugins to drop into a folder: fixtures written in WAT, fixtures written in Rust, the plugins
//! that ship.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use xtask::checkout::Checkout;
use xtask::toolchain::{PLUGINS_ARE_BUILT, Toolchain};

use super::clock;

/// The contract's version, as `wit/handler.wit` has it.
const VERSION: &str = "0.1.0";

/// A plugin file: what is in it and how its name ends.
#[derive(Clone)]
pub struct Guest {
    pub bytes: Vec<u8>,
    pub extension: &'static str,
}

impl Guest {
    /// `bytes` as they are, in a file that claims to be wasm.
    pub fn wasm(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), extension: "wasm" }
    }

    pub fn wat(text: impl Into<String>) -> Self {
        Self { bytes: text.into().into_bytes(), extension: "wat" }
    }

    /// The same plugin as binary.
    pub fn assembled(&self) -> Self {
        Self::wasm(wat::parse_bytes(&self.bytes).expect("the fixture is valid WAT").into_owned())
    }

    /// The same plugin, as binary, with a manifest inside.
    pub fn with_manifest(&self, toml: &str) -> Self {
        self.with_section("wharf:manifest", toml.as_bytes())
    }

    /// The same plugin, as binary, with a custom section more.
    pub fn with_section(&self, name: &str, data: &[u8]) -> Self {
        let mut content = vec![u8::try_from(name.len()).expect("fits one LEB128 byte")];
        content.extend(name.bytes());
        content.extend(data);
        let mut bytes = self.assembled().bytes;
        bytes.push(0);
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(content);
        Self::wasm(bytes)
    }

    /// How the host names this generation: the first twelve hex digits of its SHA-256.
    pub fn generation(&self) -> String {
        Sha256::digest(&self.bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The fixture `tests/guests/NAME.wat` in WAT text: a component, or, where it has imports or hooks
/// of its own, a core module that the host has to make one of.
pub fn fixture(name: &str) -> Guest {
    of_fields(&fields(name))
}

/// The same with hooks that let everybody in, which keep it a component.
pub fn fixture_with_hooks(name: &str) -> Guest {
    let hooks = "(func $verify_request (param i32 i32 i32 i32) (result i32) (i32.const 1))\n\
                 (func $handle_error (param i32 i32 i32 i32 i32 i32))\n\
                 (func $service_actions)\n";
    of_fields(&format!("{}\n{hooks}", fields(name)))
}

/// The program `tests/guests/programs/NAME.wat`.
pub fn program(name: &str) -> Guest {
    let path = root().join("tests/guests/programs").join(name).with_extension("wat");
    Guest::wat(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// A plugin that tries to connect to this port.
pub fn connects(port: u16) -> Guest {
    of_fields(&fields("connects").replace("PORT", &port.to_string()))
}

/// The same as a core module with its component type, which the host runs without making a
/// component of it, if it has no hooks.
pub fn fixture_as_module(name: &str) -> Guest {
    Guest::wat(module(&fields(name), true))
}

fn of_fields(fields: &str) -> Guest {
    let is_module = fields.contains("(import ") || has_hooks(fields);
    Guest::wat(if is_module { module(fields, true) } else { component(fields, VERSION) })
}

/// A plugin that says `text` and a space in each of its steps, and waits for one message before the
/// second.
pub fn answers(text: &str) -> Guest {
    Guest::wat(component(&fields("answers").replace("TEXT", text), VERSION))
}

/// [`answers`], but nothing ends its wait for that message except the message, or the client's end.
pub fn stays(text: &str) -> Guest {
    Guest::wat(component(&fields("stays").replace("TEXT", text), VERSION))
}

/// [`answers`] with megabytes of code that nobody calls, and that takes a compiler many times as
/// long as a test of others does.
pub fn slow_to_compile(text: &str) -> Guest {
    with_dead_code(text, 50_000)
}

/// The same, but for less than a second, and little enough that it is loaded in the end.
pub fn slow_to_load(text: &str) -> Guest {
    with_dead_code(text, 4_000)
}

fn with_dead_code(text: &str, steps: usize) -> Guest {
    // One function is worse than many: what lives across all of it has to be fitted into registers.
    let locals = "i32 ".repeat(64);
    let step = |n: usize| {
        let (a, b, c) = (n % 64, n * 7 % 64, n * 31 % 64);
        format!(
            "(block (br_if 0 (local.get {a})) \
             (local.set {b} (i32.add (i32.load (local.get {c})) (i32.mul (local.get {a}) (i32.const {n})))))\n"
        )
    };
    let steps: String = (0..steps).map(step).collect();
    let fields = fields("answers").replace("TEXT", text);
    let code = format!("{fields}(func $slow (local {locals})\n{steps})\n");
    Guest::wat(component(&code, VERSION)).assembled()
}

/// What a whole session with [`answers`] hears.
pub fn answer(text: &str) -> String {
    format!("{text} {text} {text} ")
}

/// [`answers`] for a contract that does not exist.
pub fn answers_to_version(text: &str, version: &str) -> Guest {
    Guest::wat(component(&fields("answers").replace("TEXT", text), version))
}

/// [`answers`] as a core module, with an embedded component type or without.
pub fn answers_as_module(text: &str, embedded: bool) -> Guest {
    Guest::wat(module(&fields("answers").replace("TEXT", text), embedded))
}

/// The contract's world, with hooks or without, and with the network that nobody grants, in the
/// encoding that toolchains put into core modules.
fn component_type(hooks: bool) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_dir(root().join("wit")).expect("wit/ parses");
    resolve.push_str("sockets.wit", include_str!("../guests/template/sockets.wit")).expect("sockets.wit parses");
    let hooks = if hooks { format!("export wharf:handler/server-hooks@{VERSION};") } else { String::new() };
    let imports = "import wasi:sockets/instance-network@0.2.0; import wasi:sockets/tcp-create-socket@0.2.0;";
    let text = format!(
        "package test:guests; world guest {{ include wharf:handler/stream-plugin@{VERSION}; {imports} {hooks} }}"
    );
    let package = resolve.push_str("guest.wit", &text).expect("a world of the contract's");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world exists");
    wit_component::metadata::encode(&resolve, world, wit_component::StringEncoding::UTF8, None)
        .expect("the world can be encoded")
}

fn component(fields: &str, version: &str) -> String {
    expand(include_str!("../guests/template/component.wat"), fields, version)
}

fn module(fields: &str, embedded: bool) -> String {
    let hooks: String = if has_hooks(fields) {
        let export = |name: &str| {
            let function = name.replace('-', "_");
            format!("(export \"wharf:handler/server-hooks@VERSION#{name}\" (func ${function}))\n")
        };
        ["verify-request", "handle-error", "service-actions"].map(export).concat()
    } else {
        String::new()
    };
    let section = if embedded {
        let bytes: String = component_type(has_hooks(fields)).iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(@custom \"component-type\" (after last) \"{bytes}\")")
    } else {
        String::new()
    };
    let template = include_str!("../guests/template/module.wat");
    expand(&template.replace("  HOOKS", &hooks).replace("EMBEDDED", &section), fields, VERSION)
}

fn has_hooks(fields: &str) -> bool {
    fields.contains("(func $verify_request ")
}

fn fields(name: &str) -> String {
    let path = root().join("tests/guests").join(name).with_extension("wat");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fills `fields`, a fixture's own, into a template; steps that it doesn't have do nothing.
fn expand(template: &str, fields: &str, version: &str) -> String {
    let (imports, own): (Vec<&str>, Vec<&str>) = fields.lines().partition(|line| line.starts_with("(import "));
    let (memory, own): (Vec<&str>, Vec<&str>) = own.into_iter().partition(|line| line.starts_with("(memory "));
    let memory = memory.first().unwrap_or(&"(memory (export \"memory\") 1)");
    let mut body = format!("{}{}\n", include_str!("../guests/template/body.wat"), own.join("\n"));
    for step in ["setup", "handle", "finish"] {
        if !fields.contains(&format!("(func ${step} ")) {
            body += &format!("(func ${step} (result i32) (call $ok))\n");
        }
    }
    let (comment, code) = template.split_at(template.find("\n(").expect("a template has code") + 1);
    comment.to_owned()
        + &code
            .replace("BODY", &body)
            .replace("IMPORTS", &imports.join("\n"))
            .replace("MEMORY", memory)
            .replace("VERSION", version)
}

/// A plugin that ships, as `cargo xtask plugins` made it.
pub fn shipped(name: &str) -> Guest {
    built("plugins", name)
}

/// The manifest that ships beside it.
pub fn shipped_manifest(name: &str) -> String {
    built("plugins", name);
    let path = root().join("target/plugins").join(name).with_extension("toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fixture written in Rust, `tests/guests/NAME/`.
pub fn rust(name: &str) -> Guest {
    built("fixtures", name)
}

/// The probe in Rust, `tests/guests/probes/rust/`.
pub fn rust_probe() -> Guest {
    built("examples/probes", "rust")
}

/// An example, `examples/socketserver/NAME/`.
pub fn example(name: &str) -> Guest {
    built("examples", name)
}

/// Which toolchain built those that are written in Rust: `rustup` or `debian`.
pub fn toolchain() -> String {
    build();
    Toolchain::of_built(&Checkout::find()).expect("`cargo xtask plugins` notes it")
}

/// Has everything built that is written in Rust, once, so that tests that are run by hand find what
/// their sources say. `cargo xtask test` has built it before it runs them.
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if std::env::var_os(PLUGINS_ARE_BUILT).is_some() {
            return;
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo).args(["xtask", "plugins"]).current_dir(root()).output();
        let output = output.expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo xtask plugins: {}\n{said}", output.status);
    });
}

fn built(folder: &str, name: &str) -> Guest {
    build();
    let path = root().join("target").join(folder).join(name).with_extension("wasm");
    Guest::wasm(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The workspace's folder.
pub fn root() -> &'static Path {
    clock::start();
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ is in it").to_owned())
}
