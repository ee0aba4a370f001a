//! `wharf new`: a project in each language is made, built and served by what its own README says. A
//! language whose toolchain `cargo xtask examples` did not install is named and left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use xtask::checkout::Checkout;
use xtask::left_out;
use xtask::readme::{self, commands};
use xtask::toolchain::Toolchain;

use crate::harness::guests::root;
use crate::harness::{Launch, Wharf, ask};

/// With a `-`, which is in no identifier.
const NAME: &str = "hello-there";

#[test]
fn rust() {
    builds_and_serves("rust");
}

#[test]
fn c() {
    builds_and_serves("c");
}

#[test]
fn go() {
    builds_and_serves("go");
}

#[test]
fn python() {
    builds_and_serves("python");
}

#[test]
fn javascript() {
    builds_and_serves("javascript");
}

#[test]
fn zig() {
    builds_and_serves("zig");
}

#[test]
fn assemblyscript() {
    builds_and_serves("assemblyscript");
}

fn builds_and_serves(language: &str) {
    let Some(toolchain) = Installed::find(language) else {
        left_out::note_unbuilt(language, &format!("a new project in {language}"), "cargo xtask examples");
        return;
    };
    let temp = toolchain.workshop();
    let project = temp.path().join(NAME);
    let (status, said) = new(&project, &["--lang", language]);
    assert_eq!(status, 0, "{said:?}");
    let readme = fs::read_to_string(project.join("README.md")).expect("it has a README");
    assert!(readme.starts_with(&format!("# {NAME}\n")), "{readme}");
    for command in commands(&readme, "Toolchain") {
        assert!(said.contains(&command), "{command}: {said:?}");
    }
    assert_eq!(said.last(), Some(&format!("wharf dev {}", project.display())));

    toolchain.build(&project, &readme);
    let mut serve = commands(&readme, "Serve");
    assert_eq!(serve.pop().as_deref(), Some("wharf serve plugins"));
    for line in serve {
        run(readme::command(&line, Path::new("")).expect("it names a program").current_dir(&project));
    }
    let plugins = project.join("plugins");
    let manifest = plugins.join(NAME).with_extension("toml");
    let toml = fs::read_to_string(&manifest).expect("it was copied");
    assert!(toml.contains("\"tcp://127.0.0.1:9999\"") && readme.contains("nc -N 127.0.0.1 9999\n"), "{toml}");
    fs::write(&manifest, toml.replace(":9999", ":0")).expect("another port");

    // Large ones take seconds to compile, which is no matter of this deadline.
    let mut check = Launch::new(["check".as_ref(), plugins.as_os_str()]).start();
    assert_eq!(check.ended(), 0, "{:?}", check.events());
    let wharf = Launch::new(["serve".as_ref(), plugins.as_os_str()]).start();
    let address = wharf.address(NAME);
    assert_eq!(ask(address, "hello\nthere"), "HELLO\nTHERE");
    assert_eq!(ask(address, ""), "");
    no_session_failed(wharf);
}

#[test]
fn wharf_dev_builds_a_new_project_and_builds_it_again() {
    let Some(toolchain @ Installed::ByReadme(home)) = &Installed::find("zig") else {
        left_out::note_unbuilt("zig", "wharf dev on a project in Zig", "cargo xtask examples");
        return;
    };
    let temp = toolchain.workshop();
    let project = temp.path().join(NAME);
    let (status, said) = new(&project, &["--lang", "zig", "--listen", "tcp://127.0.0.1:0"]);
    assert_eq!(status, 0, "{said:?}");
    // For its environment alone.
    let environment = readme::command("zig", home).expect("it names a program");
    let launch = Launch::new(["dev".as_ref(), project.as_os_str()]);
    let variables = environment.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?)));
    let wharf = variables.fold(launch, |launch, (name, value)| launch.env(name, value)).start();
    let address = wharf.address(NAME);
    assert_eq!(ask(address, "hello\nthere"), "HELLO\nTHERE");

    let handler = project.join("handler.zig");
    let text = fs::read_to_string(&handler).expect("it is there");
    fs::write(&handler, format!("{text}\nnonsense")).expect("write");
    // As the compiler says it, and then the host.
    wharf.logs(&["handler.zig", "error: "]);
    wharf.logs(&["the build failed; the served plugin stays"]);
    assert_eq!(ask(address, "hello"), "HELLO");
    wharf.forget_events();
    let changed = text.replace("= upper(heard);", "= if (heard.len > 9) upper(heard) else heard;");
    assert_ne!(changed, text);
    fs::write(&handler, changed).expect("write");
    wharf.event("loaded", NAME);
    assert_eq!(ask(address, "Hello"), "Hello");
    no_session_failed(wharf);
}

#[test]
fn new_projects_in_one_folder_do_not_claim_the_same_port() {
    let temp = tempfile::tempdir().expect("create a temporary folder");
    let url = |name: &str| {
        let folder = temp.path().join(name);
        let manifest = fs::read_to_string(folder.join(name).with_extension("toml")).expect("it has a manifest");
        let readme = fs::read_to_string(folder.join("README.md")).expect("it has a README");
        (manifest, readme)
    };
    // A manifest that is wrong, or no manifest at all, claims nothing.
    fs::create_dir(temp.path().join("other")).expect("create a folder");
    fs::write(temp.path().join("other/wrong.toml"), "listen = [").expect("write");
    fs::write(temp.path().join("other/list.toml"), "listen = ['udp://[::1]:9997', 9996]").expect("write");
    for (name, options, listen, client) in [
        ("a", &[][..], "tcp://127.0.0.1:9999", "nc -N 127.0.0.1 9999\n"),
        ("b", &[], "tcp://127.0.0.1:9998", "nc -N 127.0.0.1 9998\n"),
        ("c", &["--listen", "unix:///run/c.sock"], "unix:///run/c.sock", "nc -N -U /run/c.sock\n"),
        ("d", &[], "tcp://127.0.0.1:9996", "nc -N 127.0.0.1 9996\n"),
        ("e", &["--listen", "tcp://[::1]:9999"], "tcp://[::1]:9999", "nc -N ::1 9999\n"),
    ] {
        let (status, said) = new(&temp.path().join(name), &[&["--lang", "c"], options].concat());
        assert_eq!(status, 0, "{said:?}");
        let (manifest, readme) = url(name);
        assert_eq!(manifest, format!("listen = \"{listen}\"\n"));
        assert!(readme.contains(client), "{client}: {readme}");
    }
}

#[track_caller]
fn no_session_failed(wharf: Wharf) {
    let log = wharf.log();
    wharf.stop();
    assert!(!log.iter().any(|line| line.contains("session failed") || line.contains("host fault")), "{log:#?}");
}

/// Exit status and lines of stdout of `wharf new PROJECT OPTION…`.
fn new(project: &Path, options: &[&str]) -> (i32, Vec<String>) {
    let mut wharf = launch(project, options).start();
    (wharf.ended(), wharf.events())
}

fn launch(project: &Path, options: &[&str]) -> Launch {
    // It compiles nothing, so that no option for a cache goes with it.
    Launch::new(["new".as_ref(), project.as_os_str()]).args(options).own_cache()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// A toolchain that is there.
enum Installed {
    /// Where the examples' README had it installed.
    ByReadme(PathBuf),
    Rust(Toolchain),
}

impl Installed {
    fn find(language: &str) -> Option<Self> {
        if language == "rust" {
            return Toolchain::installed(&Checkout::find()).map(Self::Rust);
        }
        let home = root().join("target/toolchains").join(language);
        home.join("installed").is_file().then_some(Self::ByReadme(home))
    }

    /// A folder where programs find it: npm's look upwards.
    fn workshop(&self) -> TempDir {
        let temp = match self {
            Self::ByReadme(home) => tempfile::tempdir_in(home),
            Self::Rust(_) => tempfile::tempdir(),
        };
        temp.expect("create a temporary folder")
    }

    fn build(&self, project: &Path, readme: &str) {
        let (installs, builds) = (commands(readme, "Toolchain"), commands(readme, "Build"));
        match self {
            Self::ByReadme(home) => {
                let installed = fs::read_to_string(home.join("installed")).expect("looked for when it was found");
                assert_eq!(installed, installs.join("\n"), "the project wants the toolchain that is installed");
                for line in builds {
                    run(readme::command(&line, home).expect("it names a program").current_dir(project));
                }
            }
            Self::Rust(toolchain) => {
                assert_eq!(installs, ["rustup target add wasm32-wasip2"]);
                assert_eq!(builds, ["cargo build --release --target wasm32-wasip2"]);
                assert_eq!(commands(readme, "Test"), ["cargo test"]);
                // The same commands, for whichever toolchain is here, and where its crates have
                // been compiled before.
                let target_dir = root().join("target/guests");
                let cargo = |subcommand: &str, options: &[&str]| {
                    run(toolchain
                        .cargo(&Checkout::find())
                        .current_dir(project)
                        .env_remove("RUSTFLAGS")
                        .env_remove("CARGO_ENCODED_RUSTFLAGS")
                        .args([subcommand, "--release", "--locked", "--target-dir"])
                        .arg(&target_dir)
                        .args(options));
                };
                cargo("build", &[&["--target", toolchain.target()], toolchain.build_flags()].concat());
                cargo("test", &[]);
                let wasm = Path::new("release").join(NAME.replace('-', "_")).with_extension("wasm");
                let place = project.join("target/wasm32-wasip2").join(&wasm);
                fs::create_dir_all(place.parent().expect("it has one")).expect("create a folder");
                fs::copy(target_dir.join(toolchain.target()).join(wasm), place).expect("cargo has built it");
            }
        }
    }
}

/// Everything below a folder, by path.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], below(&path)].concat() } else { vec![path] })
        .collect();
    found.sort();
    found
}

#[test]
fn a_project_in_an_empty_folder_is_the_same_as_in_a_new_one() {
    let temp = tempfile::tempdir().expect("create a temporary folder");
    let (fresh, empty) = (temp.path().join("fresh"), temp.path().join("empty place/fresh"));
    fs::create_dir_all(&empty).expect("create folders");
    for project in [&fresh, &empty] {
        let (status, said) = new(project, &["--lang", "c"]);
        assert_eq!(status, 0, "{said:?}");
    }
    let inside = |project: &Path| {
        let files = below(project).into_iter().filter(|path| path.is_file());
        files
            .map(|path| (path.strip_prefix(project).expect("below it").to_owned(), fs::read(path).expect("a file")))
            .collect::<Vec<_>>()
    };
    assert_eq!(inside(&fresh), inside(&empty));
    assert!(inside(&fresh).iter().any(|(path, _)| path == Path::new("wit/handler.wit")));
}

#[test]
fn what_can_not_be_made_is_told_in_one_line_and_leaves_nothing() {
    let temp = tempfile::tempdir().expect("create a temporary folder");
    let (full, file, dangling) = (temp.path().join("full"), temp.path().join("file"), temp.path().join("dangling"));
    fs::create_dir(&full).expect("create a folder");
    fs::write(full.join("mine"), "mine").expect("write a file");
    fs::write(&file, "mine").expect("write a file");
    std::os::unix::fs::symlink("nowhere", &dangling).expect("link");
    let before = below(temp.path());
    let rust = &["--lang", "rust"][..];
    for (name, options, status, parts) in [
        ("fine", &[][..], 2, &["--lang", "rust, c, go, python, javascript, zig, assemblyscript"][..]),
        ("fine", &["--lang", "cobol"], 2, &["cobol", "rust, c, go, python, javascript, zig, assemblyscript"]),
        ("1st", rust, 2, &["1st", "letter"]),
        (".hidden", rust, 2, &[".hidden", "letter"]),
        ("two words", rust, 2, &["two words", "letters, digits"]),
        ("größe", rust, 2, &["größe", "ASCII"]),
        ("up/..", rust, 2, &["wharf new NAME"]),
        ("wharf", rust, 2, &["wharf.toml"]),
        ("wharf-dev", rust, 2, &["wharf-dev.toml"]),
        ("fine", &["--lang", "c", "--listen", "127.0.0.1:80"], 2, &["--listen", "tcp://127.0.0.1:80"]),
        (
            "fine",
            &["--lang", "c", "--listen", "udp://127.0.0.1:80"],
            2,
            &["--listen", "connections", "tcp://127.0.0.1:80"],
        ),
        ("wit-bindgen", rust, 2, &["wit-bindgen", "wit-bindgen-plugin"]),
        ("wharf-guest", rust, 2, &["wharf-guest", "depends on"]),
        ("no/such/parent", rust, 2, &["no/such", "no folder"]),
        ("file/inside", rust, 2, &["no folder", "file"]),
        ("full", rust, 2, &["full", "something in this folder"]),
        ("file", rust, 2, &["file", "something of this name"]),
        ("dangling", rust, 2, &["dangling", "something of this name"]),
    ] {
        let mut wharf = launch(&temp.path().join(name), options).start();
        assert_eq!(wharf.ended(), status, "{name}");
        assert_eq!(wharf.events(), [""; 0], "{name}");
        let [line] = &wharf.log()[..] else { panic!("{name}: one line: {:#?}", wharf.log()) };
        for part in parts.iter().chain(&["wharf: "]) {
            assert!(line.contains(part), "{name}: no {part:?} in: {line}");
        }
        assert_eq!(below(temp.path()), before, "{name}");
    }
    assert_eq!(fs::read_to_string(full.join("mine")).expect("it is there"), "mine");
}

#[test]
fn what_fails_while_it_is_written_leaves_nothing() {
    let temp = tempfile::tempdir().expect("create a temporary folder");
    let project = temp.path().join("fine");
    // SIGXFSZ, which the shell has ignored, is an error of write(2) instead: the SDK's sources are
    // larger, the first files are not.
    let limited =
        Launch::after("trap '' XFSZ && ulimit -f 8", ["new"]).args([project.as_os_str()]).args(["--lang", "rust"]);
    let mut wharf = limited.own_cache().start();
    assert_eq!(wharf.ended(), 1);
    let [line] = &wharf.log()[..] else { panic!("one line: {:#?}", wharf.log()) };
    assert!(line.contains("the project can't be made") && line.contains("File too large"), "{line}");
    assert_eq!(below(temp.path()).len(), 0, "{:?}", below(temp.path()));
}

#[test]
fn a_parent_that_takes_nothing_is_told() {
    // /proc is a folder in which not even root can make one.
    let mut wharf = launch(Path::new("/proc/fine"), &["--lang", "c"]).start();
    assert_eq!(wharf.ended(), 1);
    let [line] = &wharf.log()[..] else { panic!("one line: {:#?}", wharf.log()) };
    assert!(line.starts_with("wharf: /proc/fine: the project can't be made: "), "{line}");
}
