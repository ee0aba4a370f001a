//! From TOML text to a typed file, with errors of one line: file, line, key, what is wrong, what
//! would be right.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::file;
use super::plain::one_line;

/// The most that a file of settings may hold, in bytes.
pub const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Something an operator wrote that can't be used. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct ConfigError {
    text: String,
    is_early: bool,
}

impl ConfigError {
    /// `place` is the file, and the key where there is one.
    pub fn new(place: impl std::fmt::Display, what: impl std::fmt::Display) -> Self {
        Self { text: one_line(&format_args!("{place}: {what}")), is_early: false }
    }

    /// Whether the file was not read because somebody is writing it.
    pub fn is_early(&self) -> bool {
        self.is_early
    }
}

/// Reads `text`, which came from `place`.
///
/// # Errors
/// Not TOML, an unknown key (named with the nearest known one), or a value of the wrong type.
pub(super) fn parse<T: DeserializeOwned>(text: &str, place: &str) -> Result<T, ConfigError> {
    let at = |span: Option<std::ops::Range<usize>>| match span {
        Some(span) => format!("{place}:{}", text[..span.start.min(text.len())].matches('\n').count() + 1),
        None => place.to_owned(),
    };
    let raw = toml::Deserializer::parse(text).map_err(|error| ConfigError::new(at(error.span()), error.message()))?;
    serde_path_to_error::deserialize(raw).map_err(|error| {
        let key = error.path().to_string();
        let inner = error.into_inner();
        let what = unknown_key(inner.message()).unwrap_or_else(|| inner.message().to_owned());
        let place = at(inner.span());
        match key.as_str() {
            "." | "" => ConfigError::new(place, what),
            key => ConfigError::new(format!("{place}: {key}"), what),
        }
    })
}

/// The file's text; none where there is no such file.
///
/// # Errors
/// Present, but not readable as UTF-8 text; or somebody is writing it.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    text(path, file::read(path, MAX_TEXT_BYTES))
}

/// The same, but waits a while for a file that is being written.
///
/// # Errors
/// Those of reading the file, and text that is not UTF-8.
pub fn read_when_written(path: &Path) -> Result<Option<String>, ConfigError> {
    text(path, file::read_when_written(path, MAX_TEXT_BYTES))
}

fn text(path: &Path, read: io::Result<Vec<u8>>) -> Result<Option<String>, ConfigError> {
    match read.map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Some(text)),
        Ok(Err(_)) => Err(ConfigError::new(path.display(), "not UTF-8 text")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let is_early = file::is_being_written(&error);
            Err(ConfigError { is_early, ..ConfigError::new(path.display(), error) })
        }
    }
}

/// serde's ``unknown field `lisen`, expected one of `listen`, `backlog` `` with the nearest one
/// picked out. Its words are no contract of serde's; the test below tells if they change, and the
/// plain message is shown where they do.
fn unknown_key(message: &str) -> Option<String> {
    let list = message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))?;
    let words: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = words.split_first()?;
    let kind = if message.starts_with("unknown field") { "unknown key" } else { "unknown value" };
    Some(match super::nearest(unknown, known) {
        Some(near) => format!("{kind} `{unknown}`; did you mean `{near}`?"),
        None => format!("{kind} `{unknown}`; known are {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[allow(dead_code, reason = "only its parsing is looked at")]
    struct File {
        listen: Option<String>,
        mode: Option<Mode>,
        nested: Option<Nested>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        Task,
        Serial,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its parsing is looked at")]
    struct Nested {
        idle: Option<super::super::units::Span>,
    }

    #[test]
    fn errors_are_one_line_with_file_line_key_and_the_nearest_right_word() {
        for (text, expected) in [
            ("lisen = 'x'", "f.toml:1: lisen: unknown key `lisen`; did you mean `listen`?"),
            (
                "\nzzzzzzzzzzzz = 1",
                "f.toml:2: zzzzzzzzzzzz: unknown key `zzzzzzzzzzzz`; known are listen, mode, nested",
            ),
            ("mode = 'seral'", "f.toml:1: mode: unknown value `seral`; did you mean `serial`?"),
            ("[nested]\nidel = '5s'", "f.toml:2: nested.idel: unknown key `idel`; did you mean `idle`?"),
            ("[nested]\nidle = 5", "f.toml:2: nested.idle: invalid type: integer `5`, expected a string"),
            (
                "[nested]\nidle = '5x'",
                "f.toml:2: nested.idle: \"5x\" is no duration; write \"500ms\", \"10s\", \"5m\", \"1h\" or \"1d\"",
            ),
        ] {
            assert_eq!(parse::<File>(text, "f.toml").unwrap_err().to_string(), expected);
        }
        let broken = parse::<File>("listen = [", "f.toml").unwrap_err().to_string();
        assert!(broken.starts_with("f.toml:1: ") && !broken.contains('\n'), "{broken}");
        let hidden = parse::<File>("\"\\u001b[2J\" = 1", "f.toml").unwrap_err().to_string();
        assert!(hidden.contains("unknown key") && !hidden.contains(char::is_control), "{hidden:?}");
    }
}
