//! `wharf check`: what would be served, without serving it.

use std::path::Path;

use crate::harness::guests::shipped;
use crate::harness::{Folder, Launch, answers};

/// Exit status and output of `wharf check PATH…`.
fn check(paths: &[&Path]) -> (i32, String) {
    let mut wharf = Launch::new(["check".as_ref()].into_iter().chain(paths.iter().map(|path| path.as_os_str())))
        .own_cache()
        .env("HOME", paths[0].parent().expect("tests use absolute paths"))
        .start();
    (wharf.ended(), wharf.events().join("\n"))
}

#[test]
fn good_files_and_folders_pass_and_are_described() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).plugin("upper", &shipped("upper"));
    folder.settings("upper", "[grants.env]\nGREETING = 'hello'");
    let (status, said) = check(&[folder.path()]);
    assert_eq!(status, 0, "{said}");
    for part in ["answers", "upper", "tcp://127.0.0.1:0", "wharf:handler/connection", "GREETING"] {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
    let (status, said) = check(&[&folder.path().join("upper.wasm")]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("upper") && !said.contains("answers"), "{said}");
}

#[test]
fn one_bad_plugin_fails_the_check_and_the_others_are_still_described() {
    for (file, content, manifest, reason) in [
        ("bad.wasm", "buy milk".as_bytes().to_vec(), "", "wharf:handler/stream-handler"),
        ("bad.wat", answers("A").bytes, "lisen = 'tcp://127.0.0.1:0'", "listen"),
        ("bad.wat", answers("A").bytes, "backlog = 5", "no address"),
    ] {
        let folder = Folder::new();
        folder.plugin("answers", &answers("A")).file(file, content);
        if manifest.is_empty() {
            folder.settings("bad", "");
        } else {
            folder.manifest("bad", manifest);
        }
        let bad = folder.path().join(file);
        for paths in [vec![folder.path()], vec![bad.as_path()], vec![folder.path(), bad.as_path()]] {
            let (status, said) = check(&paths);
            assert_eq!(status, 1, "{said}");
            assert!(said.contains("bad") && said.contains(reason), "no {reason:?} in: {said}");
            assert_eq!(said.contains("answers"), paths[0] == folder.path(), "{said}");
        }
    }
    let (status, _) = check(&[Path::new("/no/such/plugin.wasm")]);
    assert_ne!(status, 0);
}

#[test]
fn two_plugins_with_one_address_fail_and_a_manifest_without_a_plugin_is_named() {
    let folder = Folder::new();
    for (name, address) in
        [("first", "tcp://0.0.0.0:9999"), ("second", "tcp://127.0.0.1:9999"), ("third", "udp://127.0.0.1:0")]
    {
        folder.manifest(name, &format!("listen = '{address}'"));
    }
    folder.plugin("first", &answers("A")).plugin("second", &answers("B"));
    let (status, said) = check(&[folder.path()]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("first: ok"), "{said}");
    assert!(said.contains("second: refused: tcp://127.0.0.1:9999: plugin first has tcp://0.0.0.0:9999"), "{said}");
    let lonely = format!("{}: no plugin stands beside it", folder.path().join("third.toml").display());
    assert!(said.contains(&lonely), "{said}");
    // Each by itself is good, and so are two whose ports the kernel chooses.
    assert_eq!(check(&[&folder.path().join("first.wat"), &folder.path().join("second.wat")]).0, 0);
    folder.settings("first", "").settings("second", "");
    assert_eq!(check(&[folder.path()]).0, 0);
}

#[test]
fn host_wide_settings_count_and_may_stand_elsewhere() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A")).file("wharf.toml", "[defaults]\nbacklog = 7");
    let other = folder.parent().join("other.toml");
    let with_config = |config: &str| {
        std::fs::write(&other, config).expect("write");
        let arguments = ["check".as_ref(), folder.path().as_os_str(), "--config".as_ref(), other.as_os_str()];
        let mut wharf = Launch::new(arguments).start();
        (wharf.ended(), wharf.events().join("\n"))
    };
    assert_eq!(check(&[folder.path()]).0, 0);
    let (status, said) = with_config("[defaults.grants.env]\nGREETING = 'hello'");
    assert!(status == 0 && said.contains("the variable GREETING"), "{said}");
    let (status, said) = with_config("[defaults]\nbaklog = 7");
    assert!(status == 1 && said.contains("did you mean `backlog`?"), "{said}");
    std::fs::remove_file(&other).expect("remove");
    let mut wharf =
        Launch::new(["check".as_ref(), folder.path().as_os_str(), "--config".as_ref(), other.as_os_str()]).start();
    assert_eq!((wharf.ended(), wharf.events().join("\n").contains("other.toml: no such file")), (1, true));
}
