//! The languages that have an example, what `cargo xtask examples` built of them, and what is to be
//! expected of each.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use xtask::left_out;

use super::guests::{Guest, root, rust_probe};
use super::{DEADLINE, Folder, Launch, Wharf};

/// A language, and what its probe, `tests/guests/probes/NAME`, shows.
pub struct Language {
    pub name: &'static str,
    /// Whether a plugin has the contract's three steps, or is an ordinary program, which has none.
    pub has_steps: bool,
    /// What the client hears of a wait that the handler had bounded.
    pub timed_out: &'static str,
    /// The cause in the log when the operator's idle timeout ended a wait, when a send followed a
    /// shutdown, when the handler failed for `no reason`, and when it did what ends an instance in
    /// this language.
    pub idle: &'static str,
    pub broken_pipe: &'static str,
    pub failed: &'static str,
    pub trapped: &'static str,
    /// Whether that is an error to the toolchain, after which the instance goes on.
    pub outlives_a_throw: bool,
    /// Where what it prints goes. None where the toolchain, as the example's README has it, gives
    /// nothing to print with.
    pub prints_to: Option<&'static str>,
}

const UNREACHABLE: &str = "trap: wasm `unreachable` instruction executed";

/// By the contract's own words, and without WASI.
const PLAIN: Language = Language {
    name: "",
    has_steps: true,
    timed_out: "timed-out",
    idle: "error: timed-out",
    broken_pipe: "error: broken-pipe",
    failed: "error: no reason",
    trapped: UNREACHABLE,
    outlives_a_throw: false,
    prints_to: None,
};

pub static LANGUAGES: [Language; 8] = [
    Language { name: "assemblyscript", ..PLAIN },
    Language { name: "c", prints_to: Some("stderr"), ..PLAIN },
    Language {
        name: "go",
        has_steps: false,
        // A program has no `set-timeout`, and Go's runtime can bound no wait for WASI's stdin.
        timed_out: "file type does not support deadline",
        // It has its status alone to tell by; the reason is on its stderr.
        idle: "exit: status 1",
        broken_pipe: "exit: status 1",
        failed: "exit: status 1",
        trapped: "exit: status 2",
        prints_to: Some("stderr"),
        ..PLAIN
    },
    // What it throws is the handler's error, be it a text or an Error.
    Language { name: "javascript", trapped: "error: told to", outlives_a_throw: true, ..PLAIN },
    // The errors have the names of the binding's classes. An exception other than its `Err` is a
    // trap.
    Language {
        name: "python",
        timed_out: "ErrorCode_TimedOut",
        idle: "error: ErrorCode_TimedOut",
        broken_pipe: "error: ErrorCode_BrokenPipe",
        prints_to: Some("stdout"),
        ..PLAIN
    },
    // By the words of its standard library.
    Language {
        name: "rust",
        timed_out: "timed out",
        idle: "error: timed out",
        broken_pipe: "error: broken pipe",
        prints_to: Some("stdout"),
        ..PLAIN
    },
    Language { name: "wat", ..PLAIN },
    Language { name: "zig", timed_out: "TimedOut", idle: "error: TimedOut", broken_pipe: "error: BrokenPipe", ..PLAIN },
];

impl Language {
    /// Of WAT the source is the plugin, so that there is always one language to test.
    pub fn is_text(&self) -> bool {
        self.name == "wat"
    }

    fn guest(&self, path: PathBuf) -> Option<Guest> {
        let extension = if self.is_text() { "wat" } else { "wasm" };
        Some(Guest { bytes: fs::read(path).ok()?, extension })
    }

    /// The example; none if it was not built.
    pub fn example(&self) -> Option<Guest> {
        let plugin = format!("upper-{}", self.name);
        self.guest(match self.is_text() {
            true => root().join(format!("examples/wat/{plugin}.wat")),
            false => root().join(format!("target/examples/languages/{plugin}.wasm")),
        })
    }

    fn probe(&self) -> Option<Guest> {
        match self.name {
            "rust" => Some(rust_probe()),
            "wat" => self.guest(root().join("tests/guests/probes/wat/probe-wat.wat")),
            name => self.guest(root().join(format!("target/examples/probes/{name}.wasm"))),
        }
    }
}

/// The languages whose example was built.
pub fn examples() -> &'static [(&'static Language, Guest)] {
    static BUILT: OnceLock<Vec<(&Language, Guest)>> = OnceLock::new();
    BUILT.get_or_init(|| built("example", Language::example))
}

/// The languages whose probe was built.
pub fn probes() -> &'static [(&'static Language, Guest)] {
    static BUILT: OnceLock<Vec<(&Language, Guest)>> = OnceLock::new();
    BUILT.get_or_init(|| built("probe", Language::probe))
}

/// Those that were built, all compiled: large ones take seconds, which no test's deadline has to
/// count. Others are named, and left out.
fn built(what: &str, guest: impl Fn(&'static Language) -> Option<Guest>) -> Vec<(&'static Language, Guest)> {
    let (built, missing): (Vec<_>, Vec<_>) =
        LANGUAGES.iter().map(|language| (language, guest(language))).partition(|(_, guest)| guest.is_some());
    for (language, _) in missing {
        left_out::note_unbuilt(
            language.name,
            &format!("tests of the {what} in {}", language.name),
            "cargo xtask examples",
        );
    }
    let built: Vec<_> = built.into_iter().filter_map(|(language, guest)| Some((language, guest?))).collect();
    let folder = Folder::new();
    for (language, guest) in &built {
        folder.plugin(language.name, guest);
        let file = folder.path().join(format!("{}.{}", language.name, guest.extension));
        let mut check = Launch::new(["check".as_ref(), file.as_os_str()]).start();
        assert_eq!(check.ended_within(4 * DEADLINE), 0, "{}: {:?}", language.name, check.events());
    }
    built
}

/// The probes of all languages, served from one folder, each under its language's name, with
/// `settings`.
pub fn probing(settings: &str) -> (Wharf, Folder) {
    let folder = Folder::new();
    for (language, guest) in probes() {
        folder.settings(language.name, settings).plugin(language.name, guest);
    }
    (Wharf::serve(&folder), folder)
}
