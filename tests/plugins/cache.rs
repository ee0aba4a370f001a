//! Compiled code on disk: used, never trusted.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::harness::{Folder, Launch, Wharf, answer, answers, ask};

/// What tells one writing of a file from another.
type Identity = (u64, i64, i64);

/// The entries of a cache folder, whatever it looks like inside.
fn entries(dir: &Path) -> BTreeMap<PathBuf, Identity> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("read the cache's folder") {
            let path = entry.expect("read the cache's folder").path();
            let data = path.symlink_metadata().expect("an entry");
            if data.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path, (data.ino(), data.mtime(), data.mtime_nsec()));
            }
        }
    }
    found
}

/// Two plugins, and a cache folder that does not exist yet.
fn scene() -> (Folder, PathBuf) {
    let folder = Folder::new();
    folder.plugin("a", &answers("A")).plugin("b", &answers("B"));
    let cache = folder.parent().join("cache");
    (folder, cache)
}

/// Serves both plugins once, which have to answer as ever, whatever the cache holds.
#[track_caller]
fn serves(folder: &Folder, cache: &Path) -> Wharf {
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).cache(cache).start();
    assert_eq!(ask(wharf.address("a"), "x"), answer("A"));
    assert_eq!(ask(wharf.address("b"), "x"), answer("B"));
    wharf
}

#[test]
fn the_second_start_uses_what_the_first_one_compiled() {
    let (folder, cache) = scene();
    serves(&folder, &cache).stop();
    let first = entries(&cache);
    assert!(first.len() >= 2, "an entry each: {first:?}");
    assert_eq!(fs::metadata(&cache).expect("it was made").mode() & 0o777, 0o700, "for its owner only");
    for path in first.keys() {
        let mode = fs::metadata(path).expect("an entry").mode();
        assert_eq!(mode & 0o022, 0, "{} is for its owner to write only: {mode:o}", path.display());
    }
    serves(&folder, &cache).stop();
    assert_eq!(entries(&cache), first, "nothing was written again");
}

#[test]
fn a_damaged_entry_is_rebuilt() {
    let (folder, cache) = scene();
    serves(&folder, &cache).stop();
    let flip = |content: &mut Vec<u8>, at: usize| content[at] ^= 0xff;
    type Damage<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>));
    let damages: [Damage; 7] = [
        ("its first byte", &|content| flip(content, 0)),
        ("a byte in its middle", &|content| flip(content, content.len() / 2)),
        ("its last byte", &|content| flip(content, content.len() - 1)),
        ("cut in half", &|content| content.truncate(content.len() / 2)),
        ("empty", &|content| content.clear()),
        ("a byte more", &|content| content.push(0)),
        ("other content", &|content| *content = b"#!/bin/sh\necho pwned\n".to_vec()),
    ];
    for (what, damage) in damages {
        let before: BTreeMap<PathBuf, Vec<u8>> =
            entries(&cache).into_keys().map(|path| (path.clone(), fs::read(path).expect("an entry"))).collect();
        assert!(before.len() >= 2, "{what}: {:?}", before.keys());
        for (path, content) in &before {
            let mut content = content.clone();
            damage(&mut content);
            fs::write(path, content).expect("damage it");
        }
        let damaged = entries(&cache);
        serves(&folder, &cache).stop();
        let after = entries(&cache);
        for (path, identity) in damaged {
            assert_ne!(after.get(&path), Some(&identity), "{what}: {} was left as it was", path.display());
            assert_eq!(fs::read(&path).expect("it is there again").len(), before[&path].len(), "{what}");
        }
    }
}

#[test]
fn whatever_stands_at_an_entrys_place_while_it_serves_keeps_no_load_waiting() {
    type Stand<'a> = (&'a str, &'a dyn Fn(&Path));
    let stands: [Stand; 5] = [
        ("a FIFO", &|path| mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("a FIFO")),
        ("a folder", &|path| fs::create_dir(path).expect("a folder")),
        ("a link to a device", &|path| symlink("/dev/zero", path).expect("a link")),
        ("a link to itself", &|path| symlink(path, path).expect("a link")),
        ("a hole of a tebibyte", &|path| {
            let file = File::options().write(true).create_new(true).mode(0o600).open(path).expect("a file");
            file.set_len(1 << 40).expect("it takes no room");
        }),
    ];
    let (folder, cache) = scene();
    let wharf = serves(&folder, &cache);
    let paths: Vec<PathBuf> = entries(&cache).into_keys().collect();
    for (what, stand) in stands {
        for path in &paths {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
            stand(path);
        }
        wharf.forget_events();
        folder.remove("a.wat");
        wharf.event("unloaded", "a");
        folder.plugin("a", &answers("A"));
        wharf.event("loaded", "a");
        assert_eq!(ask(wharf.address("a"), "x"), answer("A"), "{what}");
    }
    wharf.stop();
}

#[test]
fn an_entry_of_another_plugin_is_not_taken() {
    let (folder, cache) = scene();
    serves(&folder, &cache).stop();
    let paths: Vec<PathBuf> = entries(&cache).into_keys().collect();
    let contents: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("an entry")).collect();
    for (path, content) in paths.iter().zip(contents.iter().rev()) {
        fs::write(path, content).expect("swap them");
    }
    // `serves` looks at what they answer.
    serves(&folder, &cache).stop();
}

#[test]
fn what_others_could_have_written_is_not_trusted() {
    for mode in [0o620, 0o602, 0o666] {
        let (folder, cache) = scene();
        serves(&folder, &cache).stop();
        let before = entries(&cache);
        for path in before.keys() {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
        }
        serves(&folder, &cache).stop();
        let after = entries(&cache);
        for (path, identity) in before {
            assert_ne!(after.get(&path), Some(&identity), "{} had mode {mode:o}", path.display());
            assert_eq!(fs::metadata(&path).expect("it is there again").mode() & 0o022, 0);
        }
    }
}

#[test]
fn a_folder_that_others_can_write_to_is_not_used() {
    for mode in [0o770, 0o707, 0o777] {
        let (folder, cache) = scene();
        fs::create_dir(&cache).expect("create it");
        fs::set_permissions(&cache, Permissions::from_mode(mode)).expect("chmod");
        let wharf = serves(&folder, &cache);
        wharf.logs(&["WARN", "cache", cache.to_str().expect("UTF-8")]);
        wharf.stop();
        assert_eq!(entries(&cache).len(), 0, "nothing is put where others can change it");
    }
}

#[test]
fn an_unusable_cache_costs_time_and_nothing_else() {
    let (folder, cache) = scene();
    fs::write(&cache, "a file where the folder should be").expect("write");
    serves(&folder, &cache).stop();
    let wharf = Launch::new(["serve".as_ref(), folder.path(), "--no-cache".as_ref()])
        .own_cache()
        .env("HOME", folder.parent())
        .start();
    assert_eq!(ask(wharf.address("a"), "x"), answer("A"));
    wharf.stop();
    assert!(!folder.parent().join(".cache").exists(), "--no-cache writes nothing");
}

#[test]
fn without_an_option_the_cache_is_where_the_user_has_caches() {
    let (folder, _) = scene();
    let wharf = Launch::new(["serve".as_ref(), folder.path()]).own_cache().env("HOME", folder.parent()).start();
    assert_eq!(ask(wharf.address("a"), "x"), answer("A"));
    wharf.stop();
    assert!(!entries(&folder.parent().join(".cache/wharf")).is_empty());
}
