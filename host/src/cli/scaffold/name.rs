//! What a new plugin may be called.

use std::fmt;

use super::template::Language;

/// A name that works wherever a project has it: as a folder, as a plugin, in a command of its
/// README, and in Rust as a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// # Errors
    /// What a name is made of, or why this one is taken.
    pub(crate) fn parse(text: &str, language: Language) -> Result<Self, String> {
        let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
        if !begins || !text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_')) {
            return Err(format!(
                "{text:?} is no plugin's name; that is made of ASCII letters, digits, `-` and `_`, a letter first"
            ));
        }
        if text == "wharf" {
            return Err("`wharf` is no plugin's name, as wharf.toml has the settings of the host".to_owned());
        }
        if text == "wharf-dev" {
            return Err("`wharf-dev` is no plugin's name, as wharf-dev.toml says how a project is built".to_owned());
        }
        if language.dependencies().any(|dependency| dependency == text) {
            return Err(format!(
                "`{text}` is what a crate is called that the project depends on; `{text}-plugin` would do"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
