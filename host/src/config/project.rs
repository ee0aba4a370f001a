//! `wharf-dev.toml`: how `wharf dev` builds a project.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::text::{self, ConfigError};

/// The file's name in a project's folder.
pub const PROJECT_FILE: &str = "wharf-dev.toml";

/// How a project is built, and which of its files are served. Paths begin in the project's folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectFile {
    /// A command for the shell, which runs it in the project's folder.
    pub build: String,
    /// The plugin that this command makes.
    pub plugin: PathBuf,
    /// The plugin's manifest. Without its extension it is the plugin's name.
    pub manifest: PathBuf,
}

impl ProjectFile {
    /// Reads the file of the project in `folder`; none if there is no such file.
    ///
    /// # Errors
    /// It can't be read, or is wrong.
    pub fn read(folder: &Path) -> Result<Option<Self>, ConfigError> {
        let path = folder.join(PROJECT_FILE);
        text::read_when_written(&path)?.map(|text| Self::parse(&text, &path)).transpose()
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: Self = text::parse(text, &path.display().to_string())?;
        let wrong = |key: &str, what: &str| Err(ConfigError::new(format_args!("{}: {key}", path.display()), what));
        if file.build.trim().is_empty() {
            return wrong("build", "no command; a folder of plugins that need no build has no such file");
        }
        if !["wasm", "wat"].iter().any(|kind| file.plugin.extension().is_some_and(|found| found == *kind)) {
            return wrong("plugin", "not a plugin's file; its name ends in .wasm or .wat");
        }
        if file.manifest.extension().is_none_or(|found| found != "toml") {
            return wrong("manifest", "not a manifest; its name is the plugin's and ends in .toml");
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key_and_say_what_would_be_right() {
        let parse = |text: &str| ProjectFile::parse(text, Path::new("p/wharf-dev.toml")).map_err(|e| e.to_string());
        let right = "build = 'make'\nplugin = 'out/a.wasm'\nmanifest = 'a.toml'";
        assert_eq!(parse(right).unwrap().plugin, Path::new("out/a.wasm"));
        for (from, to, error) in [
            ("build", "biuld", "p/wharf-dev.toml:1: biuld: unknown key `biuld`; did you mean `build`?"),
            ("make", " ", "p/wharf-dev.toml: build: no command"),
            ("a.wasm", "a.js", "p/wharf-dev.toml: plugin: not a plugin's file"),
            ("a.toml", "a", "p/wharf-dev.toml: manifest: not a manifest"),
        ] {
            let told = parse(&right.replace(from, to)).unwrap_err();
            assert!(told.starts_with(error), "{told}");
        }
    }
}
