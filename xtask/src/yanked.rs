//! Which of the locked crates were yanked, by what cargo itself knows of them: the registry's
//! entries that it keeps beside its downloads. Their form is cargo's own: what can't be read is not
//! known, and nothing worse.

use std::fs;
use std::path::{Path, PathBuf};

/// A crate in a lock file that comes from the registry.
#[derive(Debug, PartialEq, Eq)]
pub struct Locked {
    pub name: String,
    pub version: String,
}

/// What is known of some crates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub yanked: Vec<Locked>,
    pub unknown: usize,
}

/// The crates of a Cargo.lock that come from a registry.
pub fn locked(lock: &str) -> Vec<Locked> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
        line.strip_suffix('"').map(str::to_owned)
    };
    lock.split("[[package]]")
        .skip(1)
        .filter(|package| value(package, "source").is_some_and(|source| source.starts_with("registry+")))
        .filter_map(|package| Some(Locked { name: value(package, "name")?, version: value(package, "version")? }))
        .collect()
}

/// Looks each of them up in the folders that cargo keeps the entries in.
pub fn look_up(crates: Vec<Locked>, caches: &[PathBuf]) -> Known {
    let mut known = Known::default();
    for locked in crates {
        let place = place(&locked.name);
        let entry = caches.iter().find_map(|cache| fs::read(cache.join(&place)).ok());
        match entry.and_then(|entry| is_yanked(&entry, &locked.version)) {
            Some(true) => known.yanked.push(locked),
            Some(false) => {}
            None => known.unknown += 1,
        }
    }
    known
}

/// cargo's folders of that kind, one for each registry.
pub fn caches(cargo_home: &Path) -> Vec<PathBuf> {
    let registries = fs::read_dir(cargo_home.join("registry/index")).into_iter().flatten().flatten();
    registries.map(|registry| registry.path().join(".cache")).filter(|cache| cache.is_dir()).collect()
}

/// Where a registry has a crate's entry.
fn place(name: &str) -> String {
    let name = name.to_lowercase();
    match name.len() {
        1 | 2 => format!("{}/{name}", name.len()),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

/// What an entry, whose versions are JSON texts between NULs, says of one.
fn is_yanked(entry: &[u8], version: &str) -> Option<bool> {
    let entry = String::from_utf8_lossy(entry);
    let vers = format!("\"vers\":\"{version}\"");
    let of_version = entry.split('\0').find(|part| part.starts_with('{') && part.contains(&vers))?;
    match (of_version.contains("\"yanked\":true"), of_version.contains("\"yanked\":false")) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yanked_crate_is_found_and_what_is_not_known_is_counted() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n\
            [[package]]\nname = \"good\"\nversion = \"1.0.0\"\nsource = \"registry+https://example.org\"\n\n\
            [[package]]\nname = \"bad\"\nversion = \"1.0.0\"\nsource = \"registry+https://example.org\"\n\n\
            [[package]]\nname = \"new\"\nversion = \"2.0.0\"\nsource = \"registry+https://example.org\"\n";
        let home = std::env::temp_dir().join(format!("wharf-yanked-{}", std::process::id()));
        let cache = home.join("registry/index/example/.cache");
        for (name, entry) in [
            (
                "go/od/good",
                "\u{3}etag\x000.9.0\0{\"vers\":\"0.9.0\",\"yanked\":true}\x001.0.0\0{\"vers\":\"1.0.0\",\"yanked\":false}\0",
            ),
            ("3/b/bad", "\u{3}etag\x001.0.0\0{\"vers\":\"1.0.0\",\"yanked\":true}\0"),
        ] {
            let path = cache.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, entry).unwrap();
        }
        let known = look_up(locked(lock), &caches(&home));
        fs::remove_dir_all(&home).unwrap();
        let bad = Locked { name: "bad".to_owned(), version: "1.0.0".to_owned() };
        assert_eq!(known, Known { yanked: vec![bad], unknown: 1 });
    }
}
