//! Where code may be unsafe: every crate says that nowhere, or nowhere but where a reason stands
//! beside it; and the places are counted here, so that another is noticed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::guests::root;

/// Files with the places that each has.
const PLACES: [(&str, usize); 16] = [
    // An attribute, in what `export!` makes: the section that a manifest goes into.
    ("guest-sdk/rust/src/export.rs", 1),
    // Memory that is asked for, and given back.
    ("host/src/capacity.rs", 1),
    // Leases of files.
    ("host/src/config/file.rs", 1),
    // Compiled code, as it is compared with itself.
    ("host/src/fuzz/differential/ways.rs", 1),
    // Descriptors that this process was started with.
    ("host/src/listen/activation.rs", 1),
    // What recvmsg(2) is told of places to write to.
    ("host/src/listen/message.rs", 1),
    // A socket's option without a name elsewhere.
    ("host/src/listen/options.rs", 1),
    // Readiness of a socket.
    ("host/src/listen/readiness.rs", 1),
    // Readiness of a socket that lies beside what watches it.
    ("host/src/listen/shared_socket.rs", 1),
    // What recv(2) wrote into a buffer's spare room.
    ("host/src/listen/stream.rs", 1),
    // Compiled code from the cache, and from the compiler's process.
    ("host/src/plugin/load.rs", 2),
    // Exports whose types were checked once.
    ("host/src/sandbox/component/exports.rs", 1),
    // Pages of a guest's memory that are given back.
    ("host/src/sandbox/module/hibernated.rs", 1),
    // Compiled code: the function that says what it has to be, and the one that takes it in.
    ("host/src/sandbox/native.rs", 2),
    // Compiled code from the host to its child.
    ("host/src/session/child.rs", 1),
    // Descriptors, and a limit of them, that a child of a test's is started with.
    ("tests/harness/wharf.rs", 3),
];

const KEYWORD: &str = concat!("un", "safe");

/// Every Rust source of the repository, by its path in it.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("a folder of the repository").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_symlink() || name.starts_with('.') || ["target", "node_modules", "venv"].contains(&name.as_str())
            {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("UTF-8 text");
                sources.insert(path.strip_prefix(root()).expect("it is in it").display().to_string(), text);
            }
        }
    }
    sources
}

/// How often code has the keyword: comments, and names that only have it in them, aside.
fn uses(text: &str) -> usize {
    let code = text.lines().filter_map(|line| line.split("//").next());
    code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')).filter(|word| *word == KEYWORD).count()
}

/// Whether a source is where rustc begins with a crate.
fn is_crate_root(path: &str) -> bool {
    let path = Path::new(path);
    let package =
        |up: usize| path.ancestors().nth(up).is_some_and(|folder| root().join(folder).join("Cargo.toml").is_file());
    let name = path.file_name().and_then(|name| name.to_str());
    let folder = path.parent().and_then(|folder| folder.file_name()).and_then(|name| name.to_str());
    match (folder, name) {
        (Some("src"), Some("lib.rs" | "main.rs")) | (Some("benches" | "targets" | "examples"), _) => package(2),
        (Some("bin"), _) => package(3),
        _ => path == Path::new("tests/main.rs"),
    }
}

#[test]
fn every_crate_forbids_unsafe_code_or_denies_it_but_where_a_reason_stands() {
    let sources = sources();
    let roots: Vec<_> = sources.iter().filter(|(path, _)| is_crate_root(path)).collect();
    assert!(roots.len() > 25, "{} crates", roots.len());
    let says =
        |text: &str, level: &str| text.lines().any(|line| line.starts_with(&format!("#![{level}({KEYWORD}_code)]")));
    let silent = roots.iter().filter(|(_, text)| !says(text, "forbid") && !says(text, "deny"));
    assert_eq!(silent.map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [""; 0], "these say neither");
    let denying: Vec<_> = roots.iter().filter(|(_, text)| says(text, "deny")).map(|(path, _)| path.as_str()).collect();
    assert_eq!(denying, ["host/src/lib.rs", "tests/main.rs"], "all others forbid it");
}

#[test]
fn every_place_with_unsafe_code_is_known() {
    let sources = sources();
    let found = sources.iter().map(|(path, text)| (path.as_str(), uses(text))).filter(|(_, uses)| *uses > 0);
    assert_eq!(found.collect::<Vec<_>>(), PLACES, "what is new there needs its reason here");
    for (path, places) in PLACES.iter().filter(|(path, _)| path.starts_with("host/")) {
        let text = &sources[*path];
        assert_eq!(text.matches(&format!("#[expect({KEYWORD}_code, reason = ")).count(), *places, "{path}: reasons");
        assert_eq!(
            text.matches("// SAFETY: ").count() + text.matches("/// # Safety\n").count(),
            *places,
            "{path}: why each is sound"
        );
    }
}
