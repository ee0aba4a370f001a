//! From TOML text to a typed file, with errors of one line: file, line, key, what is wrong, what would be right.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::Size;

/// The largest file of settings, in bytes.
pub const MOST_TEXT: u64 = 1 << 20;

/// Something an operator wrote that can't be used. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// `place` is the file, and the key where there is one.
    pub fn new(place: impl std::fmt::Display, what: impl std::fmt::Display) -> Self {
        Self(format!("{place}: {what}").replace('\n', " "))
    }
}

/// Reads `text`, which came from `place`.
///
/// # Errors
/// Not TOML, an unknown key (named with the nearest known one), or a value of the wrong type.
pub fn parse<T: DeserializeOwned>(text: &str, place: &str) -> Result<T, ConfigError> {
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
/// Present, but not readable as UTF-8 text.
pub fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let text = read_file(path, MOST_TEXT).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "not UTF-8 text"))
    });
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigError::new(path.display(), error)),
    }
}

/// Reads a file of `most` bytes at most. What is no file, a pipe for one, might never end, and is not read at all.
///
/// # Errors
/// As open(2) and read(2); it is no regular file, or a larger one.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "no regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(most)).unwrap_or(0));
    if metadata.len() <= most {
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    }
    if metadata.len().max(bytes.len() as u64) > most {
        let reason = format!("larger than {}, the most that is read of such a file", Size(most));
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// serde's ``unknown field `lisen`, expected one of `listen`, `backlog` `` with the nearest one picked out. Its words
/// are no contract of serde's; the test below tells if they change, and the plain message is shown where they do.
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
        idle: Option<crate::config::Span>,
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
    }
}
