//! Builds the same plugin from each language's folder in `examples/`, by the commands in its
//! README.
//!
//! Section `## Toolchain` says what to install, `## Build` what to run: what users type is what is
//! run here, in a copy of the folder, so that nothing is written into the checkout. The tests'
//! probes are other sources for the same folders, built by the same commands.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::checkout::Checkout;
use crate::folder::Folder;
use crate::python_sdk;
use crate::readme::{self, commands};
use crate::toolchain::Toolchain;
use crate::{left_out, step};

/// The quick ones first.
const LANGUAGES: [&str; 8] = ["wat", "c", "zig", "assemblyscript", "javascript", "go", "python", "rust"];
/// Where the built plugins go, from the root.
pub const OUTPUT: &str = "target/examples/languages";
/// Where the tests' probes are, a folder for each language, and where they go.
const PROBES: &str = "tests/guests/probes";
const PROBES_OUTPUT: &str = "target/examples/probes";
/// Where each language has its toolchain, caches and copy of its folder.
const TOOLCHAINS: &str = "target/toolchains";
/// Some 100 MB to fetch.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
/// Zig compiles a C library at first.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// Why a language gave no plugin.
enum Miss {
    /// Its toolchain can't be had here, which is no fault of ours.
    LeftOut(String),
    Failed(String),
}

/// Builds the languages that `arguments` name, or all. Rust is built by `rust`; where that is none,
/// by what can be had here.
pub fn build(checkout: &Checkout, rust: Option<&Toolchain>, arguments: &[OsString]) -> Result<(), String> {
    let languages = chosen(arguments)?;
    let with_python = languages.contains(&"python");
    let mut folder = Folder::open(checkout.path(OUTPUT))?;
    let mut probes = Folder::open(checkout.path(PROBES_OUTPUT))?;
    let mut summary = Vec::new();
    let mut failed = Vec::new();
    for language in languages {
        let began = Instant::now();
        let example = Example::new(checkout, language);
        let built = example.build(checkout, rust, &mut folder);
        let line = match built.and_then(|size| example.build_probe(checkout, &mut probes).map(|()| size)) {
            Ok(size) => format!("built, {size} bytes, in {}", step::seconds(began.elapsed())),
            Err(Miss::LeftOut(reason)) => {
                let reason = own(language, &reason);
                left_out::note_unavailable(language, &format!("the example in {language}"), reason);
                format!("left out: {reason}")
            }
            Err(Miss::Failed(reason)) => {
                failed.push(language);
                format!("failed: {}", own(language, &reason))
            }
        };
        step::say(&format!("{language}: {line}"));
        summary.push(format!("  {language:<16}{line}"));
    }
    step::say(&format!("{OUTPUT}:\n{}", summary.join("\n")));
    if !failed.is_empty() {
        return Err(format!("no plugin from {}", failed.join(", ")));
    }
    // Its toolchain is Python's, which is there now if it can be had.
    if with_python { python_sdk::build(checkout, &checkout.path(TOOLCHAINS).join("python")) } else { Ok(()) }
}

/// The reason without the language's name, which steps have before theirs.
fn own<'a>(language: &str, reason: &'a str) -> &'a str {
    reason.strip_prefix(language).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(reason)
}

fn chosen(arguments: &[OsString]) -> Result<Vec<&'static str>, String> {
    if arguments.is_empty() {
        return Ok(LANGUAGES.to_vec());
    }
    let find = |argument: &OsString| LANGUAGES.into_iter().find(|language| argument == language);
    arguments
        .iter()
        .map(|argument| {
            let unknown = || format!("no example in {}: there are {}", argument.display(), LANGUAGES.join(", "));
            find(argument).ok_or_else(unknown)
        })
        .collect()
}

struct Example {
    language: &'static str,
    /// The plugin's name, and its files'.
    name: String,
    source: PathBuf,
    home: PathBuf,
}

impl Example {
    fn new(checkout: &Checkout, language: &'static str) -> Self {
        let source = checkout.path("examples").join(language);
        let home = checkout.path(TOOLCHAINS).join(language);
        Self { language, name: format!("upper-{language}"), source, home }
    }

    /// Returns the plugin's size.
    fn build(&self, checkout: &Checkout, rust: Option<&Toolchain>, folder: &mut Folder) -> Result<u64, Miss> {
        let plugin = match (self.language, rust) {
            ("rust", Some(toolchain)) => self.build_rust(checkout, toolchain)?,
            ("rust", None) => self.build_rust(checkout, &Toolchain::obtain(checkout).map_err(Miss::LeftOut)?)?,
            _ => self.build_by_readme(checkout, None)?,
        };
        let size = fs::metadata(&plugin).map_err(|error| Miss::Failed(format!("{}: {error}", plugin.display())))?.len();
        let extension = plugin.extension().and_then(OsStr::to_str).unwrap_or("wasm");
        let manifest = format!("{}.toml", self.name);
        // The manifest first: a server that watches takes a plugin without one for unfinished.
        folder
            .put(&self.source.join(&manifest), &manifest)
            .and_then(|()| folder.put(&plugin, &format!("{}.{extension}", self.name)))
            .map_err(Miss::Failed)?;
        Ok(size)
    }

    /// Builds the tests' probe, if that takes the example's commands: Rust's is built with the
    /// other guests, WAT's as little as the example.
    fn build_probe(&self, checkout: &Checkout, folder: &mut Folder) -> Result<(), Miss> {
        if matches!(self.language, "rust" | "wat") {
            return Ok(());
        }
        let sources = checkout.path(PROBES).join(self.language);
        let plugin = self.build_by_readme(checkout, Some(&sources))?;
        folder.put(&plugin, &format!("{}.wasm", self.language)).map_err(Miss::Failed)
    }

    /// With whatever toolchain the shipped plugins are built with: the README's command wants
    /// rustup's.
    fn build_rust(&self, checkout: &Checkout, toolchain: &Toolchain) -> Result<PathBuf, Miss> {
        let target_dir = checkout.path("target/guests");
        let mut cargo = toolchain.cargo(checkout);
        cargo
            // Its own configuration has the flags for the linker.
            .current_dir(&self.source)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .args(["build", "--release", "--locked", "--target", toolchain.target(), "--target-dir"])
            .arg(&target_dir)
            .args(toolchain.build_flags());
        step::run("rust: building", &mut cargo).map_err(Miss::Failed)?;
        Ok(target_dir.join(toolchain.target()).join("release").join("upper_rust.wasm"))
    }

    /// `instead` has files that take the place of the example's own.
    fn build_by_readme(&self, checkout: &Checkout, instead: Option<&Path>) -> Result<PathBuf, Miss> {
        let path = self.source.join("README.md");
        let readme = fs::read_to_string(&path).map_err(|error| Miss::Failed(format!("{}: {error}", path.display())))?;
        let build = commands(&readme, "Build");
        if build.is_empty() {
            // WAT: the source is the plugin.
            return Ok(self.source.join(format!("{}.wat", self.name)));
        }
        self.install(&commands(&readme, "Toolchain"))?;
        let folder =
            self.copy(checkout, instead).map_err(|error| Miss::Failed(format!("copying the example: {error}")))?;
        for line in &build {
            self.run("building", line, &folder, BUILD_LIMIT).map_err(Miss::Failed)?;
        }
        Ok(folder.join(format!("{}.wasm", self.name)))
    }

    /// Installs the toolchain unless these very commands have done so before.
    fn install(&self, commands: &[String]) -> Result<(), Miss> {
        let text = commands.join("\n");
        let done = self.home.join("installed");
        if fs::read_to_string(&done).is_ok_and(|installed| installed == text) {
            step::say(&format!("{}: the toolchain is there", self.language));
            return Ok(());
        }
        let left_out = |error: io::Error| Miss::LeftOut(format!("{}: {error}", self.home.display()));
        match fs::remove_dir_all(&self.home) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(left_out(error)),
            _ => fs::create_dir_all(&self.home).map_err(left_out)?,
        }
        // So that npm takes this folder for a package's, and not one further up.
        fs::write(self.home.join("package.json"), "{ \"private\": true }\n").map_err(left_out)?;
        if commands.iter().any(|line| line.starts_with("pip ")) {
            self.run("a place for Python packages", "python3 -m venv venv", &self.home, INSTALL_LIMIT)
                .map_err(Miss::LeftOut)?;
        }
        for line in commands {
            self.run("installing the toolchain", line, &self.home, INSTALL_LIMIT).map_err(Miss::LeftOut)?;
        }
        fs::write(done, text).map_err(left_out)
    }

    /// Copies what the build needs to where it may write: this folder and the contract, placed as
    /// in the checkout.
    fn copy(&self, checkout: &Checkout, instead: Option<&Path>) -> io::Result<PathBuf> {
        let (folder, wit) = (self.home.join("examples").join(self.language), self.home.join("wit"));
        for to in [&folder, &wit] {
            match fs::remove_dir_all(to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => fs::create_dir_all(to)?,
            }
        }
        copy_files(&checkout.path("wit"), &wit)?;
        copy_files(&self.source, &folder)?;
        if let Some(instead) = instead {
            copy_files(instead, &folder)?;
        }
        Ok(folder)
    }

    /// Runs one line of a README.
    fn run(&self, what: &str, line: &str, folder: &Path, limit: Duration) -> Result<(), String> {
        let mut command = readme::command(line, &self.home)?;
        step::run_within(&format!("{}: {what}", self.language), limit, command.current_dir(folder))
    }
}

/// Copies the files of a folder. Folders in it are what a user's own build left there.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_languages_with_an_example_can_be_chosen() {
        assert_eq!(chosen(&[]).unwrap(), LANGUAGES);
        assert_eq!(chosen(&["go".into(), "c".into()]).unwrap(), ["go", "c"]);
        assert!(chosen(&["cobol".into()]).unwrap_err().starts_with("no example in cobol: there are wat, c,"));
    }

    #[test]
    fn every_language_has_a_folder_with_a_readme_and_a_manifest() {
        let checkout = Checkout::find();
        for language in LANGUAGES {
            let example = Example::new(&checkout, language);
            for file in ["README.md".to_owned(), format!("{}.toml", example.name)] {
                assert!(example.source.join(&file).is_file(), "examples/{language}/{file}");
            }
        }
    }

    #[test]
    fn every_readme_quotes_the_command_of_wharf_dev() {
        let checkout = Checkout::find();
        for language in LANGUAGES.into_iter().filter(|language| *language != "wat") {
            let source = Example::new(&checkout, language).source;
            let readme = fs::read_to_string(source.join("README.md")).unwrap();
            let [command] = &commands(&readme, "Build")[..] else { panic!("{language}: one command") };
            let file = fs::read_to_string(source.join("wharf-dev.toml")).unwrap();
            assert!(file.contains(&format!("build = \"{command}\"\n")), "{language}: {command}");
        }
    }

    #[test]
    fn a_probe_is_other_text_for_files_that_the_example_has() {
        let checkout = Checkout::find();
        for language in LANGUAGES.into_iter().filter(|language| !matches!(*language, "rust" | "wat")) {
            let probe = fs::read_dir(checkout.path(PROBES).join(language)).unwrap();
            let names: Vec<_> = probe.map(|entry| entry.unwrap().file_name()).collect();
            assert!(!names.is_empty());
            for name in names {
                assert!(
                    Example::new(&checkout, language).source.join(&name).is_file(),
                    "{language}/{}",
                    name.display()
                );
            }
        }
    }
}
