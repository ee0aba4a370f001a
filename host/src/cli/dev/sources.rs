//! A project's sources: every file in it but those that its `.gitignore` names, and that a build
//! makes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};
use sha2::{Digest, Sha256};

use super::project::SERVED;
use crate::config::file;

/// Folders that hold no sources, whether or not there is a `.gitignore`.
const NOT_SOURCES: [&str; 7] = [".git", ".venv", "__pycache__", "node_modules", "target", "venv", SERVED];
/// A larger file counts by its size and its time: it is data, and takes long to read after each
/// change.
const MAX_READ: u64 = 1 << 20;

/// The folders that sources are in: where changes are to be expected.
pub(super) fn folders(project: &Path) -> impl Iterator<Item = PathBuf> {
    walk(project).filter(is_folder).map(DirEntry::into_path)
}

/// A digest of the sources, of their names and their content, without the files `others`. Times
/// would not do: many a build writes unchanged sources again, and would then cause the next one.
pub(super) fn digest(project: &Path, others: &[PathBuf]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for entry in walk(project) {
        let path = entry.path();
        if others.iter().any(|other| other == path) {
            continue;
        }
        // Through links, as a compiler reads them.
        let Ok(metadata) = fs::metadata(path) else { continue };
        if metadata.is_dir() {
            continue;
        }
        digest.update(path.as_os_str().as_encoded_bytes());
        match file::read(path, MAX_READ) {
            Ok(content) => digest.update(Sha256::digest(content)),
            Err(_) => digest.update(format!("{} {} {}", metadata.size(), metadata.mtime(), metadata.mtime_nsec())),
        }
    }
    digest.finalize().into()
}

fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_dir())
}

fn walk(project: &Path) -> impl Iterator<Item = DirEntry> {
    let mut walk = WalkBuilder::new(project);
    walk.standard_filters(false).git_ignore(true).require_git(false).sort_by_file_name(Ord::cmp);
    walk.filter_entry(|entry| {
        entry.depth() == 0 || !is_folder(entry) || !NOT_SOURCES.iter().any(|name| entry.file_name() == *name)
    });
    // A compiler can't read what fails here either.
    walk.build().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_a_source_changes_the_digest() {
        let temp = tempfile::tempdir().unwrap();
        // A name that is passed over is so only below the project.
        let project = temp.path().join("target");
        let put = |path: &str, content: &str| {
            let path = project.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put(".gitignore", "/*.wasm\n/made/\n");
        put("src/main.rs", "1");
        put(".cargo/config.toml", "1");
        put("a.toml", "1");
        let others = [project.join("a.toml")];
        let first = digest(&project, &others);
        for path in ["a.toml", "a.wasm", "made/x.c", "target/x", "plugins/a.wasm", "node_modules/x/y.js", ".git/HEAD"] {
            put(path, "2");
            assert_eq!(digest(&project, &others), first, "{path}");
        }
        // The same content once more.
        put("src/main.rs", "1");
        assert_eq!(digest(&project, &others), first);
        let mut seen = vec![first];
        for (path, content) in [("src/main.rs", "2"), (".cargo/config.toml", "2"), ("src/new.rs", "")] {
            put(path, content);
            let now = digest(&project, &others);
            assert!(!seen.contains(&now), "{path}");
            seen.push(now);
        }
        let names: Vec<PathBuf> = folders(&project).collect();
        assert_eq!(names, [project.clone(), project.join(".cargo"), project.join("src")]);
    }
}
