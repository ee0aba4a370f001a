//! Builds the same plugin from each language's folder in `examples/`, by the commands in its README.
//!
//! Section `## Toolchain` says what to install, `## Build` what to run: what users type is what is run here, in a copy of
//! the folder, so that nothing is written into the checkout.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::checkout::Checkout;
use crate::folder::Folder;
use crate::python_sdk;
use crate::step;
use crate::toolchain::Toolchain;

/// The quick ones first.
const LANGUAGES: [&str; 8] = ["wat", "c", "zig", "assemblyscript", "javascript", "go", "python", "rust"];
/// Where the built plugins go, from the root.
const OUTPUT: &str = "target/examples/languages";
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

/// Builds the languages that `arguments` name, or all.
pub fn build(checkout: &Checkout, arguments: &[OsString]) -> Result<(), String> {
    let languages = chosen(arguments)?;
    let with_python = languages.contains(&"python");
    let mut folder = Folder::open(checkout.path(OUTPUT))?;
    let mut summary = Vec::new();
    let mut failed = Vec::new();
    for language in languages {
        let began = Instant::now();
        let line = match Example::new(checkout, language).build(checkout, &mut folder) {
            Ok(size) => format!("built, {size} bytes, in {}", step::seconds(began.elapsed())),
            Err(Miss::LeftOut(reason)) => format!("left out: {}", own(language, &reason)),
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
    fn build(&self, checkout: &Checkout, folder: &mut Folder) -> Result<u64, Miss> {
        let plugin = if self.language == "rust" { self.build_rust(checkout)? } else { self.build_by_readme(checkout)? };
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

    /// With whatever toolchain the shipped plugins are built with: the README's command wants rustup's.
    fn build_rust(&self, checkout: &Checkout) -> Result<PathBuf, Miss> {
        let toolchain = Toolchain::obtain(checkout).map_err(Miss::LeftOut)?;
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

    fn build_by_readme(&self, checkout: &Checkout) -> Result<PathBuf, Miss> {
        let path = self.source.join("README.md");
        let readme = fs::read_to_string(&path).map_err(|error| Miss::Failed(format!("{}: {error}", path.display())))?;
        let build = commands(&readme, "Build");
        if build.is_empty() {
            // WAT: the source is the plugin.
            return Ok(self.source.join(format!("{}.wat", self.name)));
        }
        self.install(&commands(&readme, "Toolchain"))?;
        let folder = self.copy(checkout).map_err(|error| Miss::Failed(format!("copying the example: {error}")))?;
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

    /// Copies what the build needs to where it may write: this folder and the contract, placed as in the checkout.
    fn copy(&self, checkout: &Checkout) -> io::Result<PathBuf> {
        let folder = self.home.join("examples").join(self.language);
        for (from, to) in [(&self.source, &folder), (&checkout.path("wit"), &self.home.join("wit"))] {
            match fs::remove_dir_all(to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => fs::create_dir_all(to)?,
            }
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                // Folders are what a user's own build left there.
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), to.join(entry.file_name()))?;
                }
            }
        }
        Ok(folder)
    }

    /// Runs one line of a README, with this language's toolchain before everything else on the path.
    fn run(&self, what: &str, line: &str, folder: &Path, limit: Duration) -> Result<(), String> {
        let mut words = line.split_whitespace().peekable();
        let mut variables = Vec::new();
        while let Some(variable) = words.next_if(|word| word.contains('=')) {
            variables.extend(variable.split_once('='));
        }
        let program = words.next().ok_or_else(|| format!("`{line}` names no program"))?;
        let mut command = Command::new(program);
        command.args(words).envs(variables).current_dir(folder);

        let mut path: OsString = env::join_paths([self.home.join("venv/bin"), self.home.join("node_modules/.bin")])
            .map_err(|error| error.to_string())?;
        if let Some(rest) = env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        let cache = self.home.join("cache");
        command
            .env("PATH", path)
            .env("VIRTUAL_ENV", self.home.join("venv"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("ZIG_GLOBAL_CACHE_DIR", &cache)
            .env("GOCACHE", &cache)
            .env("GOPATH", self.home.join("go"))
            // The Go that was installed, and none that it might fetch.
            .env("GOTOOLCHAIN", "local");
        step::run_within(&format!("{}: {what}", self.language), limit, &mut command)
    }
}

/// The commands in the `sh` blocks below `## HEADING`, lines that a backslash continues put together.
fn commands(readme: &str, heading: &str) -> Vec<String> {
    let heading = format!("## {heading}");
    let mut commands: Vec<String> = Vec::new();
    let (mut wanted, mut inside, mut continued) = (false, false, false);
    for line in readme.lines().map(str::trim_end) {
        if line.starts_with("## ") {
            wanted = line == heading;
        } else if line.starts_with("```") {
            inside = line == "```sh" && wanted;
        } else if inside {
            let text = line.strip_suffix('\\').unwrap_or(line).trim();
            match commands.last_mut().filter(|_| continued) {
                Some(command) => *command += &format!(" {text}"),
                None => commands.push(text.to_owned()),
            }
            continued = line.ends_with('\\');
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_their_section() {
        let readme = "# X\n```sh\nno\n```\n## Toolchain\nText\n```sh\npip install x\n```\n## Build\n```sh\na -b \\\n   -c\nd\n```\n\
                      ```console\nno\n```\n## Serve\n```sh\nno\n```\n";
        assert_eq!(commands(readme, "Toolchain"), ["pip install x"]);
        assert_eq!(commands(readme, "Build"), ["a -b -c", "d"]);
        assert_eq!(commands(readme, "Test"), [""; 0]);
    }

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
}
