//! What a project of each language is made of: the files of `examples/LANGUAGE`, with what they
//! refer to in this repository brought along.

use std::sync::LazyLock;

use clap::ValueEnum;

use super::listen;
use crate::config::ListenAddress;

/// The languages that a project can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    C,
    Go,
    Python,
    #[value(name = "javascript")]
    JavaScript,
    Zig,
    #[value(name = "assemblyscript")]
    AssemblyScript,
}

/// A file as it lies in this repository.
struct TemplateFile {
    /// Where it goes in a project.
    path: &'static str,
    content: &'static [u8],
}

/// Files below a folder of this repository, which go below a folder of the project.
macro_rules! sources {
    ($from:literal to $to:literal: $($path:literal)*) => {
        &[$(TemplateFile {
            path: concat!($to, $path),
            content: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $from, "/", $path)),
        }),*]
    };
}

const CONTRACT: &[TemplateFile] = sources!("wit" to "wit/": "handler.wit");

const SDK: &[TemplateFile] = sources!("guest-sdk/rust" to "wharf-guest/":
    "Cargo.toml" "doc/upper.toml" "macros/Cargo.toml" "macros/src/lib.rs" "src/address.rs" "src/bindings.rs"
    "src/connection.rs" "src/datagram.rs" "src/error_code.rs" "src/export.rs" "src/framing.rs" "src/framing/reader.rs"
    "src/framing/tests.rs" "src/framing/writer.rs" "src/handler.rs" "src/host.rs" "src/lib.rs" "src/session.rs"
    "src/socketserver.rs" "src/stdio.rs" "src/testing.rs" "src/testing/host.rs" "wit/handler.wit");

impl Language {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Go => "Go",
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
            Self::Zig => "Zig",
            Self::AssemblyScript => "AssemblyScript",
        }
    }

    /// The example's folder, which is also the end of its plugin's name, and the port that it
    /// listens on.
    fn example(self) -> (&'static str, &'static str) {
        match self {
            Self::Rust => ("rust", "9018"),
            Self::C => ("c", "9011"),
            Self::Go => ("go", "9013"),
            Self::Python => ("python", "9017"),
            Self::JavaScript => ("javascript", "9014"),
            Self::Zig => ("zig", "9015"),
            Self::AssemblyScript => ("assemblyscript", "9016"),
        }
    }

    fn sources(self) -> Vec<&'static [TemplateFile]> {
        let own: &[TemplateFile] = match self {
            Self::Rust => sources!("examples/rust" to "":
                ".cargo/config.toml" ".gitignore" "Cargo.lock" "Cargo.toml" "README.md" "src/lib.rs" "upper-rust.toml" "wharf-dev.toml"),
            Self::C => sources!("examples/c" to "":
                ".gitignore" "README.md" "handler.c" "stream_plugin.c" "stream_plugin.h" "stream_plugin_component_type.o"
                "upper-c.toml" "wharf-dev.toml"),
            Self::Go => sources!("examples/go" to "": ".gitignore" "README.md" "go.mod" "main.go" "upper-go.toml"
                "wharf-dev.toml"),
            Self::Python => sources!("examples/python" to "":
                ".gitignore" "README.md" "handler.py" "upper-python.toml" "wharf-dev.toml"),
            Self::JavaScript => sources!("examples/javascript" to "":
                ".gitignore" "README.md" "handler.js" "upper-javascript.toml" "wharf-dev.toml"),
            Self::Zig => sources!("examples/zig" to "":
                ".gitignore" "README.md" "handler.zig" "stream_plugin_component_type.o" "upper-zig.toml"
                "wharf-dev.toml"),
            Self::AssemblyScript => sources!("examples/assemblyscript" to "":
                ".gitignore" "README.md" "handler.ts" "stream_plugin_component_type.o" "transform.mjs"
                "upper-assemblyscript.toml" "wharf-dev.toml"),
        };
        match self {
            // The SDK has the contract with it.
            Self::Rust => vec![own, SDK],
            // An ordinary program, which knows nothing of the contract.
            Self::Go => vec![own],
            _ => vec![own, CONTRACT],
        }
    }

    /// Names that its project already has in its lock file, where each has to be another.
    pub(super) fn dependencies(self) -> impl Iterator<Item = &'static str> {
        let locks = self.sources().into_iter().flatten().filter(|source| source.path == "Cargo.lock");
        let lines = locks.flat_map(|source| str::from_utf8(source.content).unwrap_or_default().lines());
        lines.filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
    }

    /// The files of a project of this [name](super::Name) that listens there, by their paths in it.
    pub(super) fn files(self, name: &str, address: &ListenAddress) -> Vec<(String, Vec<u8>)> {
        let (example, port) = self.example();
        // As languages have it whose names have no `-`.
        let identifier = name.replace('-', "_");
        let url = address.to_string();
        let client = listen::client(address);
        let changes = [
            (format!("upper-{example}"), name),
            (format!("upper_{example}"), &identifier),
            (format!("tcp://127.0.0.1:{port}"), &url),
            (format!("nc -N 127.0.0.1 {port}"), &client),
            ("../../wit".to_owned(), "wit"),
            ("../../guest-sdk/rust".to_owned(), "wharf-guest"),
        ];
        let change = |text: &str| changes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        let file = |source: &TemplateFile| {
            let content = match str::from_utf8(source.content) {
                Ok(text) if source.path.starts_with("wharf-guest/") => match source.path.ends_with("Cargo.toml") {
                    true => standing_alone(text).into_bytes(),
                    false => text.as_bytes().to_owned(),
                },
                Ok(text) => change(text).into_bytes(),
                Err(_) => source.content.to_owned(),
            };
            (change(source.path), content)
        };
        self.sources().into_iter().flatten().map(file).collect()
    }
}

/// A crate's manifest with the values in it that it has from this workspace. What its tests here
/// need, which comes last, is not in a project's lock file.
fn standing_alone(manifest: &str) -> String {
    static WORKSPACE: LazyLock<toml::Table> = LazyLock::new(|| {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
            .parse()
            .expect("cargo has read it to build this")
    });
    let line = |line: &str| match line.strip_suffix(".workspace = true") {
        Some(key) => format!("{key} = {}\n", WORKSPACE["workspace"]["package"][key]),
        None => format!("{line}\n"),
    };
    manifest.lines().take_while(|line| *line != "[dev-dependencies]").map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_example_and_of_this_repository_is_left_in_a_project() {
        let address = "tcp://127.0.0.1:9999".parse().unwrap();
        for language in Language::value_variants() {
            let (example, port) = language.example();
            let files = language.files("hello-there", &address);
            for file in ["README.md", "hello-there.toml", "wharf-dev.toml", ".gitignore"] {
                assert!(files.iter().any(|(path, _)| path == file), "{language:?}: no {file}");
            }
            for (path, content) in &files {
                let text = format!("{path} {}", String::from_utf8_lossy(content));
                // The port with its colon: a lock file's hashes may have the digits.
                let (plugin, identifier, port) =
                    (format!("upper-{example}"), format!("upper_{example}"), format!(":{port}"));
                for of_the_example in [&*plugin, &identifier, &port, "../..", "workspace = true"] {
                    assert!(!text.contains(of_the_example), "{language:?}: {of_the_example} in {path}");
                }
            }
            let manifest = files.iter().find(|(path, _)| path == "hello-there.toml").expect("looked for above");
            assert_eq!(manifest.1, b"listen = \"tcp://127.0.0.1:9999\"\n");
        }
    }
}
