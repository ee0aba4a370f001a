//! What the documentation shows is what the binary takes: manifests are checked, handlers built,
//! and the tutorial is followed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::checkout::Checkout;
use xtask::left_out;
use xtask::toolchain::Toolchain;

use crate::harness::guests::{root, shipped};
use crate::harness::observe::until;
use crate::harness::{Client, Folder, Launch, Wharf, ask};

/// The pages below a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

/// The book's pages, and the README.
fn documentation() -> Vec<PathBuf> {
    let mut pages = pages(&root().join("docs"));
    pages.push(root().join("README.md"));
    pages
}

/// The code blocks of a page in a language, which are not indented.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let parts = page.split("\n```").skip(1).step_by(2);
    parts.filter_map(|part| part.strip_prefix(&begin["```".len()..])).collect()
}

#[test]
fn code_blocks_are_found_by_their_language() {
    let page = "# A\n\n```toml\na = 1\nb = 2\n```\n\n```sh\nx\n```\n\n```toml\nc = 3\n```\n";
    assert_eq!(blocks(page, "toml"), ["a = 1\nb = 2", "c = 3"]);
    assert_eq!(blocks(page, "sh"), ["x"]);
}

/// The manifest with what a machine need not have: granted folders and owners.
fn for_any_machine(manifest: &str, folder: &Folder) -> String {
    let lines = manifest.lines().filter(|line| !line.starts_with("group = ") && !line.starts_with("user = "));
    let here = format!("host = {:?}", folder.parent().join("granted"));
    lines.map(|line| if line.starts_with("host = ") { here.as_str() } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_manifest_in_the_documentation_is_right() {
    let mut checked = 0;
    for page in documentation() {
        let text = fs::read_to_string(&page).expect("it is text");
        for block in blocks(&text, "toml") {
            let folder = Folder::new();
            fs::create_dir(folder.parent().join("granted")).expect("create a folder");
            let mut manifest = for_any_machine(block, &folder);
            if block.starts_with("# wharf.toml\n") {
                folder.file("wharf.toml", &manifest);
                manifest.clear();
            }
            if !manifest.contains("listen = ") {
                manifest.insert_str(0, "listen = \"tcp://127.0.0.1:0\"\n");
            }
            let streams = manifest.contains("\"tcp://") || manifest.contains("\"unix://");
            let guest = shipped(if streams { "upper" } else { "upper-udp" });
            folder.manifest("plugin", &manifest).plugin("plugin", &guest);
            let mut check = Launch::new(["check".as_ref(), folder.path().as_os_str()]).start();
            assert_eq!(check.ended(), 0, "{}:\n{block}\n{:#?}", page.display(), check.events());
            checked += 1;
        }
    }
    assert!(checked > 15, "there are {checked}");
}

#[test]
fn the_test_in_contributing_is_one_of_these() {
    let page = fs::read_to_string(root().join("CONTRIBUTING.md")).expect("the page is there");
    let tests: Vec<String> = rust_files(&root().join("tests"));
    for block in blocks(&page, "rust") {
        assert!(tests.iter().any(|text| text.contains(block)), "no test is\n{block}");
    }
}

/// The texts of the Rust files below a folder, but for the guests'.
fn rust_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("an entry").path());
    entries
        .filter(|path| !path.ends_with("guests"))
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                vec![fs::read_to_string(path).expect("it is text")]
            }
            false => Vec::new(),
        })
        .collect()
}

#[test]
fn every_handler_in_the_documentation_builds() {
    let Some(toolchain) = Toolchain::installed(&Checkout::find()) else {
        left_out::note_unbuilt("rust", "the handlers in the documentation", "cargo xtask plugins");
        return;
    };
    let temp = tempfile::tempdir().expect("create a temporary folder");
    let project = new_project(&temp.path().join("shown"));
    let mut built = 0;
    for page in documentation() {
        let text = fs::read_to_string(&page).expect("it is text");
        for handler in blocks(&text, "rust") {
            if !["wharf_guest::export!", "#[wharf_guest::main]"].iter().any(|part| handler.contains(part)) {
                continue;
            }
            fs::write(project.join("src/lib.rs"), handler).expect("write");
            build(&toolchain, &project);
            built += 1;
        }
    }
    assert!(built >= 3, "there are {built}");
}

/// Follows the tutorial: a new project, its handler as it comes and as the second page writes it, a
/// plugin that is none, and the manifest of the third page.
#[test]
fn the_tutorial_leads_where_it_says() {
    let Some(toolchain) = Toolchain::installed(&Checkout::find()) else {
        left_out::note_unbuilt("rust", "the tutorial", "cargo xtask plugins");
        return;
    };
    let page = |name: &str| {
        let text = fs::read_to_string(root().join("docs/tutorial").join(name).with_extension("md"));
        text.expect("the page is there")
    };
    let (live, production) = (page("live"), page("production"));
    let temp = tempfile::tempdir().expect("create a temporary folder");
    let project = new_project(&temp.path().join("hello"));
    let first = build(&toolchain, &project);

    let folder = Folder::new();
    let manifest = fs::read_to_string(project.join("hello.toml")).expect("it is there");
    folder.manifest("hello", &any_port(&manifest)).file("hello.wasm", &first);
    let wharf = Wharf::serve(&folder);
    let address = wharf.address("hello");
    assert_eq!(ask(address, "hello\n"), "HELLO\n");
    let mut open = Client::connect(address);
    open.send("old\n").hears("OLD\n");

    let [handler] = blocks(&live, "rust")[..] else { panic!("the page has one handler") };
    fs::write(project.join("src/lib.rs"), handler).expect("write");
    let second = build(&toolchain, &project);
    folder.file("hello.wasm", &second);
    until("the new handler serves", || ask(address, "new\nline\n") == "1 NEW\n2 LINE\n");
    open.send("still\n").hears("STILL\n");
    wharf.logs(&["text=\"answered 2 lines\"", "plugin=hello"]);

    folder.file("hello.wasm", "not wasm\n");
    wharf.event("kept", "hello");
    assert_eq!(ask(address, "new\n"), "1 NEW\n");
    assert_eq!(ask(address, "x".repeat(3000)), "");
    wharf.logs(&["session failed", "phase=handle", "cause=\"error: a frame is longer than the cap of 1024 bytes\""]);

    let settings = blocks(&production, "toml")[0];
    wharf.forget_events();
    folder.file("hello.wasm", &second);
    wharf.event("loaded", "hello");
    folder.manifest("hello", &any_port(settings));
    wharf.event("loaded", "hello");
    assert_eq!(ask(address, "new\n"), "1 NEW\n");
    drop(open);
    wharf.stop();
}

/// Has `wharf new` make a project in Rust there.
fn new_project(path: &Path) -> PathBuf {
    let mut new = Launch::new(["new".as_ref(), path.as_os_str()]).args(["--lang", "rust"]).own_cache().start();
    assert_eq!(new.ended(), 0);
    path.to_owned()
}

fn any_port(manifest: &str) -> String {
    assert!(manifest.contains(":9999"), "{manifest}");
    manifest.replace(":9999", ":0")
}

/// The plugin that a project in Rust makes, by the toolchain that is here.
fn build(toolchain: &Toolchain, project: &Path) -> Vec<u8> {
    // Where its crates have been compiled before.
    let target_dir = root().join("target/guests");
    let mut cargo: Command = toolchain.cargo(&Checkout::find());
    cargo.current_dir(project).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.args(["build", "--release", "--locked", "--target", toolchain.target(), "--target-dir"]).arg(&target_dir);
    let output = cargo.args(toolchain.build_flags()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name = project.file_name().expect("a project has a name");
    let plugin = target_dir.join(toolchain.target()).join("release").join(name).with_extension("wasm");
    fs::read(plugin).expect("cargo has built it")
}
