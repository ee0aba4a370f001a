//! A folder of built plugins, which a server may be watching.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Lists what was put here by this program, so that nothing else is ever removed: people drop
/// plugins of their own into the folder. Servers pass over names that begin with a dot.
const LIST: &str = ".built";

pub struct Folder {
    path: PathBuf,
    kept: BTreeSet<String>,
    changed: Vec<String>,
}

impl Folder {
    pub fn open(path: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, kept: BTreeSet::new(), changed: Vec::new() })
    }

    /// Puts a copy of `source` here as `name`. Whoever watches sees the old file or the whole new
    /// one, and nothing at all if they are the same.
    pub fn put(&mut self, source: &Path, name: &str) -> Result<(), String> {
        let content = fs::read(source).map_err(|error| format!("{}: {error}", source.display()))?;
        self.kept.insert(name.to_owned());
        let target = self.path.join(name);
        if fs::read(&target).is_ok_and(|old| old == content) {
            return Ok(());
        }
        self.replace(&target, &content).map_err(|error| format!("{}: {error}", target.display()))?;
        self.changed.push(name.to_owned());
        Ok(())
    }

    /// Removes what an earlier run put here and this one did not. Returns the names that changed,
    /// for people.
    pub fn close(mut self) -> Result<Vec<String>, String> {
        let list = self.path.join(LIST);
        let before = fs::read_to_string(&list).unwrap_or_default();
        for name in before.lines().filter(|name| !self.kept.contains(*name)) {
            let gone = self.path.join(name);
            match fs::remove_file(&gone) {
                Ok(()) => self.changed.push(format!("{name} (removed)")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{}: {error}", gone.display())),
            }
        }
        let after: String = self.kept.iter().map(|name| format!("{name}\n")).collect();
        if after != before {
            self.replace(&list, after.as_bytes()).map_err(|error| format!("{}: {error}", list.display()))?;
        }
        Ok(self.changed)
    }

    fn replace(&self, target: &Path, content: &[u8]) -> io::Result<()> {
        // Of this process alone: two builds may end at once.
        let half = self.path.join(format!(".half-written-{}", std::process::id()));
        fs::write(&half, content)?;
        fs::rename(&half, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn build(path: &Path, files: &[(&str, &str)]) -> Vec<String> {
        let mut folder = Folder::open(path.join("out")).unwrap();
        for (name, content) in files {
            let source = path.join("source");
            fs::write(&source, content).unwrap();
            folder.put(&source, name).unwrap();
        }
        folder.close().unwrap()
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path.join("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_differs_is_written() {
        let path = scratch("differs");
        assert_eq!(build(&path, &[("a.wasm", "1"), ("b.wasm", "1")]), ["a.wasm", "b.wasm"]);
        let written = fs::metadata(path.join("out/a.wasm")).unwrap().modified().unwrap();
        assert_eq!(build(&path, &[("a.wasm", "1"), ("b.wasm", "2")]), ["b.wasm"]);
        assert_eq!(fs::metadata(path.join("out/a.wasm")).unwrap().modified().unwrap(), written);
        assert_eq!(fs::read_to_string(path.join("out/b.wasm")).unwrap(), "2");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn only_what_was_built_is_removed() {
        let path = scratch("removed");
        build(&path, &[("a.wasm", "1"), ("a.toml", "1"), ("b.wasm", "1")]);
        fs::write(path.join("out/dropped-in.wasm"), "1").unwrap();
        assert_eq!(build(&path, &[("b.wasm", "1")]), ["a.toml (removed)", "a.wasm (removed)"]);
        assert_eq!(names(&path), [".built", "b.wasm", "dropped-in.wasm"]);
        fs::remove_dir_all(path).unwrap();
    }
}
