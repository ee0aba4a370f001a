//! The compiler's errors for a wrong use of `#[wharf_guest::main]` and `export!`.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The SDK as cargo has compiled it for this test: its newest library beside the test itself.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let paths = deps.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.starts_with("libwharf_guest-") && name.ends_with(".rlib")
    };
    let libraries = paths.filter(is_library).map(|path| (path.metadata().unwrap().modified().unwrap(), path));
    libraries.max().expect("cargo has compiled it").1
}

/// The errors of a plugin with this source, from the compiler that cargo uses here.
fn errors(source: &str) -> String {
    let library = library();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["-", "--crate-name=plugin", "--crate-type=cdylib", "--edition=2024", "--emit=metadata"])
        // Not -o /dev/null: rustc renames its output there, which replaces the device where root
        // runs this.
        .arg(format!("--out-dir={}", env!("CARGO_TARGET_TMPDIR")))
        .env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"))
        .arg(format!("-Ldependency={}", library.parent().unwrap().display()))
        .arg(format!("--extern=wharf_guest={}", library.display()))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let prelude = "#![allow(unused)] use wharf_guest::*; use wharf_guest::socketserver::*;\n";
    rustc.stdin.take().unwrap().write_all(format!("{prelude}{source}").as_bytes()).unwrap();
    String::from_utf8(rustc.wait_with_output().unwrap().stderr).unwrap()
}

#[track_caller]
fn is_refused(source: &str, error: &str) {
    let errors = errors(source);
    assert!(errors.contains(error), "{source}\ngives\n{errors}");
}

#[test]
fn a_right_use_compiles() {
    for source in [
        "#[wharf_guest::main] fn handle(connection: wharf_guest::Connection) {}",
        "/// Serves.\n#[wharf_guest::main()] pub(crate) fn handle(Datagram { .. }: Datagram,) -> Result { Ok(()) }",
        "struct H; impl ServerHooks for H {}\n\
         #[wharf_guest::main(hooks = H, manifest = \"doc/upper.toml\",)] fn handle(_: Connection) {}",
    ] {
        assert_eq!(errors(source), "", "{source}");
    }
}

#[test]
fn main_says_which_functions_it_takes() {
    const SHAPE: &str = "goes on `fn NAME(connection: Connection)` or `fn NAME(datagram: Datagram)`";
    for (item, error) in [
        ("fn handle() {}", SHAPE),
        ("fn handle(c: Connection, d: Datagram) {}", SHAPE),
        ("fn handle(c: std::net::TcpStream) {}", SHAPE),
        ("struct Upper;", SHAPE),
        ("fn handle(c: &mut Connection) {}", "takes its `Connection` or `Datagram` by value"),
        ("async fn handle(c: Connection) {}", "a handler is no `async fn`"),
        ("fn handle<T>(c: Connection) {}", "a handler has no type parameters"),
        ("fn handle(c: Connection) -> u32 { 1 }", "a handler can't return `u32`"),
    ] {
        is_refused(&format!("#[wharf_guest::main]\n{item}"), error);
    }
}

#[test]
fn export_names_the_trait_that_a_type_lacks() {
    for (call, error) in [
        ("Upper", "`Upper` does not handle connections"),
        ("datagram = Upper", "`Upper` does not handle datagrams"),
        ("stream_request = Upper", "`Upper` does not handle connections with files"),
        ("datagram_request = Upper", "`Upper` does not handle datagrams with files"),
        ("dgram = Upper", "`dgram` is no kind of handler: there are `stream`, `stream_request`"),
        ("", "`export!` needs the handler's type"),
    ] {
        is_refused(&format!("#[derive(Default)] struct Upper;\nwharf_guest::export!({call});"), error);
    }
}

#[test]
fn a_wrong_option_is_named() {
    for (option, error) in [
        ("manifst = \"upper.toml\"", "`manifst = \"upper.toml\"` is no option: there are `manifest"),
        ("manifest = upper", "`manifest` is a path in quotes"),
        ("manifest = \"missing.toml\"", "missing.toml`: No such file or directory"),
        ("hooks = String", "`String` has no hooks for a server"),
    ] {
        is_refused(&format!("#[wharf_guest::main({option})]\nfn handle(_: Connection) {{}}"), error);
    }
}
