//! The rooms of the host's library, and the order they stand in: what a file may know is what
//! stands below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::harness::guests::root;

/// From the lowest to the highest. Each may use those before it, and none after it.
const ORDER: [&str; 12] = [
    "timer",
    "config",
    "capacity",
    "report",
    "listen",
    "sandbox",
    "plugin",
    "upgrade",
    "session",
    "supervisor",
    "cli",
    "fuzz",
];

/// A module's path from `host/src`, and its text without comments and tests.
fn modules(folder: &Path, path: &[String], found: &mut BTreeMap<Vec<String>, String>) {
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let entry = entry.expect("a folder of the sources").path();
        let stem = entry.file_stem().expect("a name").to_string_lossy().into_owned();
        let inner = if stem == "mod" { path.to_vec() } else { [path, &[stem]].concat() };
        if entry.is_dir() {
            modules(&entry, &inner, found);
            continue;
        }
        let text = fs::read_to_string(&entry).expect("UTF-8 text");
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        found.insert(inner, lines.collect::<Vec<_>>().join("\n"));
    }
}

fn all() -> BTreeMap<Vec<String>, String> {
    let mut found = BTreeMap::new();
    modules(&root().join("host/src"), &[], &mut found);
    found.remove(&vec!["lib".to_owned()]);
    found.remove(&vec!["main".to_owned()]);
    found
}

/// The first names behind each `prefix` of a text, in braces or not.
fn names_behind<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).flat_map(move |(at, _)| {
        let rest = &text[at + prefix.len()..];
        let mut depth = 0;
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split_once("};").map_or(list, |(list, _)| list),
            None => rest.split_once(|c: char| !c.is_alphanumeric() && c != '_').map_or(rest, |(name, _)| name),
        };
        let outer = names.split(move |c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        outer.map(|name| name.trim().split("::").next().unwrap_or_default())
    })
}

#[test]
fn no_room_knows_one_above_it() {
    let place = |room: &str| ORDER.iter().position(|known| *known == room);
    let mut wrong = Vec::new();
    for (path, text) in all() {
        let own = place(&path[0]).unwrap_or_else(|| panic!("{} has a place in the order", path[0]));
        for room in names_behind(&text, "crate::") {
            if place(room).is_some_and(|place| place > own) {
                wrong.push(format!("{} knows {room}", path.join("::")));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn no_two_files_of_a_room_know_each_other() {
    let modules = all();
    // For each folder, which of its entries know which others.
    let mut edges: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, text) in &modules {
        for ups in 1..path.len() {
            let folder = &path[..path.len() - ups];
            let text =
                text.replace("super::super::super::", "3:").replace("super::super::", "2:").replace("super::", "1:");
            for name in names_behind(&text, &format!("{ups}:")) {
                let (own, other) = (&path[folder.len()], name.to_owned());
                if *own != other && modules.contains_key(&[folder, std::slice::from_ref(&other)].concat()) {
                    edges.entry(folder.to_vec()).or_default().entry(own.clone()).or_default().insert(other);
                }
            }
        }
    }
    for (folder, mut edges) in edges {
        // Those that know no other can be in no circle, and so on.
        loop {
            let known = |name: &String| edges.contains_key(name);
            let free: Vec<_> = edges.iter().filter(|(_, others)| !others.iter().any(known)).collect();
            let free: Vec<String> = free.into_iter().map(|(name, _)| name.clone()).collect();
            if free.is_empty() {
                break;
            }
            edges.retain(|name, _| !free.contains(name));
        }
        assert!(edges.is_empty(), "a circle in {}: {edges:?}", folder.join("::"));
    }
}

#[test]
fn a_glance_shows_all_rooms() {
    let entries: Vec<_> = fs::read_dir(root().join("host/src")).expect("sources").flatten().collect();
    let folders = entries.iter().filter(|entry| entry.path().is_dir()).count();
    assert!(folders <= 10 && entries.len() - folders <= 6, "{folders} folders, {} files", entries.len() - folders);
    let rooms: BTreeSet<String> = all().into_keys().map(|path| path[0].clone()).collect();
    assert_eq!(rooms, ORDER.map(str::to_owned).into());
}
