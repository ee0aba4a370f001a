//! A project that is to be, and how it comes into its folder.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::listen;
use super::name::Name;
use super::template::Language;
use crate::config::{ConfigError, ListenAddress};

/// A project that is to be made in a folder that is not there, or has nothing in it.
#[derive(Debug)]
pub struct NewProject {
    folder: PathBuf,
    /// What the folder is to lie in, which is there.
    parent: PathBuf,
    name: Name,
    language: Language,
    address: ListenAddress,
}

impl NewProject {
    /// The project that is called what `folder`'s last part is. It listens at `address`, or where
    /// no project beside it does.
    ///
    /// # Errors
    /// A name that can't be one, a folder with something in it, nowhere to make it, or an address
    /// for datagrams.
    pub fn new(folder: PathBuf, language: Language, address: Option<ListenAddress>) -> Result<Self, ConfigError> {
        let wrong = |what: &str| Err(ConfigError::new(folder.display(), what));
        let Some(name) = folder.file_name() else {
            return wrong("a folder's name is needed, as the plugin's: `wharf new NAME`");
        };
        let name = Name::parse(&name.to_string_lossy(), language).map_err(|what| ConfigError::new("new", what))?;
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if !parent.is_dir() {
            return wrong(&format!("no folder {} to make it in", parent.display()));
        }
        match fs::symlink_metadata(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Ok(there) if there.is_dir() && is_empty(&folder) => {}
            Ok(there) if there.is_dir() => {
                return wrong("there is something in this folder; another name, or an empty folder, would do");
            }
            Ok(_) => return wrong("there is something of this name; another would do"),
            Err(error) => return wrong(&error.to_string()),
        }
        let address = address.map_or_else(|| Ok(listen::free(&parent)), listen::checked)?;
        Ok(Self { folder, parent, name, language, address })
    }

    /// Makes it, whole or not at all, and prints what to type next.
    ///
    /// # Errors
    /// It can't be written. Nothing of it is left then.
    pub fn make(&self) -> anyhow::Result<ExitCode> {
        let files = self.language.files(&self.name.to_string(), &self.address);
        self.write(&files).with_context(|| format!("{}: the project can't be made", self.folder.display()))?;

        let mut out = io::stdout().lock();
        let Self { folder, name, language, address, .. } = self;
        let readme = folder.join("README.md");
        writeln!(out, "{name}: a plugin in {}, for {address}. {} says more.", language.name(), readme.display())?;
        writeln!(out, "\n# Install its toolchain, in the folder {}", typed(folder))?;
        let readme = files.iter().find(|(path, _)| path == "README.md");
        let readme = readme.map_or("".into(), |(_, content)| String::from_utf8_lossy(content));
        for command in commands(&readme, "Toolchain") {
            writeln!(out, "{command}")?;
        }
        writeln!(out, "\n# Build it, serve it, and build it again when a source changes\nwharf dev {}", typed(folder))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Writes beside and renames, so that nobody sees half a project, and nothing that came there
    /// meanwhile is lost.
    fn write(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        let aside = self.parent.join(format!(".{}.new-{}", self.name, std::process::id()));
        fs::create_dir(&aside)?;
        let written = write_all(&aside, files).and_then(|()| fs::rename(&aside, &self.folder));
        if written.is_err() {
            // The error before this one is what there is to tell.
            let _ = fs::remove_dir_all(&aside);
        }
        written
    }
}

/// A path as a shell takes it.
fn typed(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |char: char| char.is_alphanumeric() || "/._-+".contains(char);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> io::Result<()> {
    for (path, content) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("it is in the folder"))?;
        fs::write(path, content)?;
    }
    Ok(())
}

/// What the section of a README says to type into a shell.
fn commands<'a>(readme: &'a str, heading: &str) -> Vec<&'a str> {
    let mut commands = Vec::new();
    let (mut wanted, mut inside) = (false, false);
    for line in readme.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            wanted = text == heading;
        } else if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && wanted {
            commands.push(line);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_is_what_the_readme_has_for_a_shell() {
        let readme = "# X\n## A\ntext\n```sh\na \\\n  -b\n```\n```console\nno\n```\n## B\n```sh\nc\n```\n";
        assert_eq!(commands(readme, "A"), ["a \\", "  -b"]);
        assert_eq!(commands(readme, "C"), [""; 0]);
    }
}
