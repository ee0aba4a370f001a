//! What every page in Markdown has to hold: its width, the size of its tables' cells, and its
//! links.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::checkout::Checkout;
use crate::step;

/// Characters of a line of prose.
const WIDTH: usize = 100;
/// Characters of a table's cell.
const CELL: usize = 200;
/// Pages that are not wrapped yet. Their links are checked all the same.
const UNWRAPPED: [&str; 2] = ["examples", "guest-sdk"];
/// The book: its links don't lead out of it, because its pages are read without the repository.
const BOOK: &str = "docs";
/// Folders of the repository that code spans name files of. `plugins` is not among them: users have
/// folders of that name.
const FOLDERS: [&str; 9] = ["bench", "docs", "examples", "fuzz", "guest-sdk", "host", "tests", "wit", "xtask"];
/// The page that lists the book's others.
const CONTENTS: &str = "docs/SUMMARY.md";

/// Checks every page of the repository, and names all that is wrong.
pub fn check(checkout: &Checkout) -> Result<(), String> {
    let root = checkout.path("");
    let pages = read(&root)?;
    let mut wrong = Vec::new();
    for (path, text) in &pages {
        let wrapped = !UNWRAPPED.iter().any(|unwrapped| path.starts_with(unwrapped));
        if wrapped {
            wrong.extend(too_wide(text).into_iter().map(|flaw| format!("{}:{flaw}", path.display())));
        }
        wrong.extend(dead_links(&root, path, text, &pages));
        wrong.extend(dead_paths(&root, text).into_iter().map(|flaw| format!("{}:{flaw}", path.display())));
    }
    wrong.extend(unlisted(&pages));
    if wrong.is_empty() {
        step::say(&format!("pages: {} hold", pages.len()));
        return Ok(());
    }
    Err(format!("pages:\n  {}", wrong.join("\n  ")))
}

type Pages = BTreeMap<PathBuf, String>;

/// Every page, by its path from the root.
fn read(root: &Path) -> Result<Pages, String> {
    let mut pages = Pages::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root.join(&folder)).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            let kind = entry.file_type().map_err(|error| format!("{}: {error}", path.display()))?;
            if kind.is_dir() && !["target", "node_modules", ".git", ".venv"].contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file() && name.ends_with(".md") {
                let text = fs::read_to_string(root.join(&path));
                pages.insert(path.clone(), text.map_err(|error| format!("{}: {error}", path.display()))?);
            }
        }
    }
    Ok(pages)
}

/// The lines outside of code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            code = !code;
            return None;
        }
        (!code).then_some((index + 1, line))
    })
}

/// The lines that are too long, as `LINE: WHAT`. A word that is longer than a line can't be helped.
fn too_wide(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in prose(text) {
        if line.starts_with('|') {
            let cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().chars().count());
            let longest = cells.max().unwrap_or_default();
            if longest > CELL {
                wrong.push(format!("{number}: a cell of {longest} characters; {CELL} is the most"));
            }
            continue;
        }
        let length = line.chars().count();
        let words = line.trim_start_matches(|c: char| c.is_whitespace() || "-*>".contains(c)).split_whitespace();
        if length > WIDTH && words.count() > 1 {
            wrong.push(format!("{number}: {length} characters; wrap at {WIDTH}"));
        }
    }
    wrong
}

/// Where a page's links lead to, as they stand there. A link's text may be split between lines, its
/// target not.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            links.push((number, target));
            rest = after;
        }
    }
    links
}

/// The links that lead to no page, no file or no heading, and what a page includes that is not
/// there.
fn dead_links(root: &Path, page: &Path, text: &str, pages: &Pages) -> Vec<String> {
    let folder = page.parent().unwrap_or(Path::new(""));
    let mut wrong = Vec::new();
    for (number, target) in links(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() { Some(page.to_owned()) } else { joined(folder, file) };
        let reason = match path {
            None => Some("leads out of the repository"),
            Some(path) if page.starts_with(BOOK) && !path.starts_with(BOOK) => Some("leads out of the book"),
            Some(path) if !root.join(&path).exists() => Some("leads nowhere"),
            Some(path) if !anchor.is_empty() => {
                let known = pages.get(&path).is_some_and(|text| anchors(text).contains(anchor));
                (!known).then_some("leads to no heading")
            }
            Some(_) => None,
        };
        wrong.extend(reason.map(|reason| format!("{}:{number}: {target} {reason}", page.display())));
    }
    for part in text.split("{{#include ").skip(1) {
        let file = part.split("}}").next().unwrap_or_default();
        if !joined(folder, file).is_some_and(|path| root.join(path).is_file()) {
            wrong.push(format!("{}: includes {file}, which is not there", page.display()));
        }
    }
    wrong
}

/// The files and folders of the repository that a page names in code spans and that are not there,
/// as `LINE: WHAT`. A name in capitals stands for another.
fn dead_paths(root: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in prose(text) {
        for span in line.split('`').skip(1).step_by(2) {
            let plain = span.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            let begins = span.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder));
            let template = span.split(['/', '.']).any(|name| ["NAME", "LANGUAGE", "TARGET"].contains(&name));
            if plain && begins && !template && !root.join(span).exists() {
                wrong.push(format!("{number}: there is no {span}"));
            }
        }
    }
    wrong
}

/// The path from the root of what a page in `folder` calls `file`. None if it is not below the
/// root.
fn joined(folder: &Path, file: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in folder.join(file).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => path = path.parent().filter(|_| path != Path::new(""))?.to_owned(),
            Component::Prefix(_) | Component::RootDir => return None,
        }
    }
    Some(path)
}

/// What one can link to in a page: its headings, as GitHub and mdbook make names of them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let name: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            })
            .collect();
        let mut unique = name.clone();
        let mut times = 0;
        while !anchors.insert(unique.clone()) {
            times += 1;
            unique = format!("{name}-{times}");
        }
    }
    anchors
}

/// The pages of the book that its contents leave out.
fn unlisted(pages: &Pages) -> Vec<String> {
    let contents = Path::new(CONTENTS);
    let listed: BTreeSet<PathBuf> = pages
        .get(contents)
        .map(|text| links(text).into_iter().filter_map(|(_, target)| joined(Path::new(BOOK), target)).collect())
        .unwrap_or_default();
    let book = pages.keys().filter(|page| page.starts_with(BOOK) && *page != contents);
    book.filter(|page| !listed.contains(*page))
        .map(|page| format!("{}: {CONTENTS} does not list it", page.display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_wrapped_and_what_can_not_be_is_let_be() {
        let long = "word ".repeat(21);
        let code = format!("```text\n{long}\n```");
        let address = format!("- https://example.org/{}", "x".repeat(100));
        let row = format!("| a | {} |", "b".repeat(200));
        assert_eq!(too_wide(&[code, address, row].join("\n")), [""; 0]);
        assert_eq!(too_wide(&format!("a\n{long}")), ["2: 105 characters; wrap at 100"]);
        assert_eq!(too_wide(&format!("| {} | a |", "b".repeat(201))), ["1: a cell of 201 characters; 200 is the most"]);
    }

    #[test]
    fn links_lead_to_pages_and_headings() {
        let root = Checkout::find().path("");
        let text =
            "# A `b` C, d!\n## Twice\n## Twice\n[a](#a-b-c-d) [b](#twice-1)\n[c](book.toml)\n```\n[d](no)\n```\n";
        let page = PathBuf::from("docs/introduction.md");
        let pages = Pages::from([(page.clone(), text.to_owned())]);
        assert_eq!(dead_links(&root, &page, text, &pages), [""; 0]);
        for (link, reason) in [
            ("no.md", "leads nowhere"),
            ("#no", "leads to no heading"),
            ("../README.md", "leads out of the book"),
            ("../../README.md", "leads out of the repository"),
        ] {
            let wrong = dead_links(&root, &page, &format!("[x]({link})"), &pages);
            assert_eq!(wrong, [format!("docs/introduction.md:1: {link} {reason}")]);
        }
        let wrong = dead_links(&root, &page, "{{#include ../no.wit}}", &pages);
        assert_eq!(wrong, ["docs/introduction.md: includes ../no.wit, which is not there"]);
    }

    #[test]
    fn files_that_are_named_are_there() {
        let root = Checkout::find().path("");
        let text = "`xtask/src/pages.rs` `plugins/x.wasm` `examples/LANGUAGE/`\n`host/src/no.rs` `docs/*.md`\n";
        assert_eq!(dead_paths(&root, text), ["2: there is no host/src/no.rs"]);
    }

    #[test]
    fn a_page_that_the_contents_leave_out_is_named() {
        let pages = Pages::from([
            (CONTENTS.into(), "[a](a.md)\n- [b](x/b.md)".to_owned()),
            ("docs/a.md".into(), String::new()),
            ("docs/x/b.md".into(), String::new()),
            ("docs/x/c.md".into(), String::new()),
            ("README.md".into(), String::new()),
        ]);
        assert_eq!(unlisted(&pages), ["docs/x/c.md: docs/SUMMARY.md does not list it"]);
    }
}
