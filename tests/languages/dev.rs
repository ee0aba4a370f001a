//! `wharf dev`: what it builds and when, what serves meanwhile, and that nothing of it is left at
//! the end.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Folder, Launch, Wharf, answer, answers, ask};

/// A compiler that a word in the source breaks.
const COMPILER: &str =
    "grep -q nonsense source.wat && { echo source.wat:1: it is broken; exit 3; }\ncp source.wat out.wat";

/// A project whose compiler is a shell script.
struct Project {
    temp: TempDir,
}

impl Project {
    fn new(compiler: &str) -> Self {
        let project = Self { temp: tempfile::tempdir().expect("create a temporary folder") };
        fs::create_dir(project.path("")).expect("create the project's folder");
        project.write("wharf-dev.toml", "build = 'sh build.sh'\nplugin = 'out.wat'\nmanifest = 'hello.toml'\n");
        project.write("hello.toml", "listen = 'tcp://127.0.0.1:0'\n");
        project.write("build.sh", compiler);
        project.source("A");
        project
    }

    fn path(&self, file: &str) -> PathBuf {
        self.temp.path().join("project").join(file)
    }

    /// Something beside the project, which is none of its sources.
    fn beside(&self, file: &str) -> PathBuf {
        self.temp.path().join(file)
    }

    /// Replaces a file as an editor does.
    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let new = self.beside("new");
        fs::write(&new, content).expect("write");
        fs::rename(&new, self.path(file)).expect("rename");
    }

    /// Has the handler answer this.
    fn source(&self, text: &str) {
        self.write("source.wat", answers(text).bytes);
    }

    fn launch(&self) -> Launch {
        Launch::new(["dev".as_ref(), self.path("").as_os_str()])
    }
}

/// Whether this generation serves now, and answers so.
#[track_caller]
fn serves(wharf: &Wharf, text: &str) {
    assert_eq!(wharf.event("loaded", "hello").generation, answers(text).generation());
}

fn count(wharf: &Wharf, part: &str) -> usize {
    wharf.log().iter().filter(|line| line.contains(part)).count()
}

#[test]
fn a_changed_source_is_built_and_served() {
    // It also writes into the project: what is there already, and what nobody had written before.
    let project = Project::new("cp source.wat out.wat\ncp source.wat copy.wat\ncp build.sh new.sh\nmv new.sh build.sh");
    let wharf = project.launch().start();
    serves(&wharf, "A");
    let address = wharf.address("hello");
    assert_eq!(ask(address, "x"), answer("A"));
    wharf.logs(&["building", "command=\"sh build.sh\""]);
    wharf.logs(&["built in "]);
    fs::create_dir(project.path("src")).expect("create a folder");
    project.source("B");
    serves(&wharf, "B");
    assert_eq!(ask(address, "x"), answer("B"));
    // A new folder is watched, too.
    project.write("src/more", "1");
    project.write("build.sh", format!("cat src/more >&2\n{COMPILER}"));
    wharf.logs(&["1"]);
    project.write("src/more", "two");
    wharf.logs(&["two"]);
    wharf.stop();
}

#[test]
fn a_build_that_writes_into_the_project_does_not_follow_from_itself() {
    let project = Project::new("cp source.wat out.wat\ncp build.sh new\nmv new build.sh\ndate +%N > made");
    project.write(".gitignore", "made\n");
    let wharf = project.launch().start();
    let address = wharf.address("hello");
    for backlog in 1..5 {
        // Whatever the build did is seen before this.
        project.write("hello.toml", format!("listen = 'tcp://{address}'\nbacklog = {backlog}"));
        serves(&wharf, "A");
    }
    assert_eq!(count(&wharf, "building"), 1, "{:#?}", wharf.log());
    wharf.stop();
}

#[test]
fn a_failed_build_keeps_what_serves() {
    let project = Project::new(COMPILER);
    project.write("source.wat", "nonsense");
    let wharf = project.launch().start();
    // What the compiler says is shown before the outcome.
    wharf.logs(&["source.wat:1: it is broken"]);
    wharf.logs(&["ERROR", "the build failed; the served plugin stays", "exit status: 3"]);
    project.source("A");
    serves(&wharf, "A");
    let address = wharf.address("hello");
    project.write("source.wat", "nonsense");
    wharf.logs(&["source.wat:1: it is broken"]);
    wharf.logs(&["the build failed"]);
    assert_eq!(ask(address, "x"), answer("A"));
    // As with the script, so with what says which one it is.
    project.write("wharf-dev.toml", "biuld = 'x'");
    wharf.logs(&["ERROR", "did you mean `build`", "not built"]);
    project.write("wharf-dev.toml", "build = 'true'\nplugin = 'nothing.wasm'\nmanifest = 'hello.toml'\n");
    wharf.logs(&["the build failed", "it made no ", "nothing.wasm"]);
    assert_eq!(ask(address, "x"), answer("A"));
    assert_eq!(wharf.events().len(), 2, "loaded and listening: {:#?}", wharf.events());
    wharf.stop();
}

#[test]
fn a_changed_manifest_is_served_without_a_build() {
    let project = Project::new(COMPILER);
    let wharf = project.launch().start();
    serves(&wharf, "A");
    let address = wharf.address("hello");
    project.write("hello.toml", format!("listen = 'tcp://{address}'\nbacklog = 7"));
    serves(&wharf, "A");
    project.write("hello.toml", "lisen = 1");
    assert!(wharf.event("kept", "hello").reason.contains("did you mean `listen`"));
    assert_eq!(ask(address, "x"), answer("A"));
    assert_eq!(count(&wharf, "building"), 1, "{:#?}", wharf.log());
    wharf.stop();
}

#[test]
fn a_manifest_is_served_while_a_build_runs() {
    let project = Project::new(COMPILER);
    let wharf = project.launch().start();
    serves(&wharf, "A");
    let address = wharf.address("hello");
    project.write("build.sh", "echo slow\nsleep 1000");
    wharf.logs(&["slow"]);
    project.write("hello.toml", format!("listen = 'tcp://{address}'\nbacklog = 7"));
    serves(&wharf, "A");
    wharf.stop();
}

#[test]
fn a_change_during_a_build_is_built_after_it() {
    // Two builds at once would fail.
    let project = Project::new(
        "mkdir ../lock\ncp source.wat out.wat\necho started\nread line < ../gate\nrmdir ../lock\n[ \"$line\" = go ]",
    );
    let gate = project.beside("gate");
    rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    let wharf = project.launch().start();
    wharf.logs(&["started"]);
    project.source("B");
    fs::write(&gate, "go\n").expect("the build reads it");
    serves(&wharf, "A");
    wharf.logs(&["started"]);
    fs::write(&gate, "go\n").expect("the build reads it");
    serves(&wharf, "B");
    assert_eq!(count(&wharf, "failed"), 0, "{:#?}", wharf.log());
    wharf.stop();
}

/// The end is that of all who hold the host's stderr, as what a build started does.
#[test]
fn a_stop_ends_a_build_and_all_that_it_started() {
    for (ignore, signal) in [("", Signal::INT), ("", Signal::TERM), ("trap '' TERM; ", Signal::INT)] {
        let project = Project::new(&format!("{ignore}sleep 1000 & sleep 1000 & echo begun; wait"));
        let mut wharf = project.launch().start();
        wharf.logs(&["begun"]);
        wharf.signal(signal);
        assert_eq!(wharf.ended(), 0, "{ignore}");
        assert_eq!(wharf.events(), ["draining 0", "stopped"]);
    }
}

#[test]
fn a_stop_ends_the_build_before_the_last_session() {
    let project = Project::new(COMPILER);
    let mut wharf = project.launch().start();
    let mut session = crate::harness::Client::connect(wharf.address("hello"));
    session.hears("A ");
    project.write("build.sh", "trap 'sleep 0.1; echo told to end; exit 1' TERM\necho slow\nsleep 1000 & wait");
    wharf.logs(&["slow"]);
    wharf.signal(Signal::INT);
    wharf.logs(&["told to end"]);
    session.send("go on");
    assert_eq!(session.rest(), "A A ");
    assert_eq!(wharf.ended(), 0);
}

#[test]
fn a_folder_of_plugins_needs_no_build() {
    let folder = Folder::new();
    folder.plugin("answers", &answers("A"));
    let wharf = Launch::new(["dev".as_ref(), folder.path()]).start();
    assert_eq!(ask(wharf.address("answers"), "x"), answer("A"));
    folder.plugin("answers", &answers("B"));
    wharf.event("loaded", "answers");
    assert_eq!(wharf.event("loaded", "answers").generation, answers("B").generation());
    assert_eq!(count(&wharf, "building"), 0);
    wharf.stop();
}

#[test]
fn what_can_not_be_begun_is_told_in_one_line() {
    let project = Project::new(COMPILER);
    fs::create_dir(project.beside("empty")).expect("create a folder");
    let complaint = |path: &Path| {
        let mut wharf = Launch::new(["dev".as_ref(), path.as_os_str()]).start();
        assert_eq!(wharf.ended(), 2);
        assert_eq!(wharf.events(), [""; 0]);
        let [line] = &wharf.log()[..] else { panic!("one line: {:#?}", wharf.log()) };
        line.clone()
    };
    for (path, file, content, parts) in [
        ("nowhere", "", "", &["nowhere: no such folder", "wharf new NAME"][..]),
        ("empty", "", "", &["neither wharf-dev.toml nor a plugin"]),
        ("project", "hello.toml", "lisen = 1", &["hello.toml:1: lisen", "did you mean `listen`"]),
        ("project", "wharf-dev.toml", "build = 1", &["wharf-dev.toml:1: build"]),
        ("project", "wharf-dev.toml", "build = ''\nplugin = 'a.wasm'\nmanifest = 'a.toml'", &["build: no command"]),
        ("project", "wharf-dev.toml", "build = 'x'\nplugin = 'a.wasm'\nmanifest = 'a.toml'", &["a.toml: no such file"]),
    ] {
        if !file.is_empty() {
            project.write(file, content);
        }
        let line = complaint(&project.beside(path));
        for part in parts.iter().chain(&["wharf: "]) {
            assert!(line.contains(part), "no {part:?} in: {line}");
        }
    }
}

/// script(1) gives it a terminal, and passes on what it writes there.
#[test]
fn colour_is_for_a_terminal_whose_user_wants_it() {
    for (no_color, loaded) in [("", "\x1b[1m\x1b[32mloaded\x1b[0m"), ("1", "loaded")] {
        let project = Project::new(COMPILER);
        let command = format!("{} dev --no-cache {}", env!("CARGO_BIN_EXE_wharf"), project.path("").display());
        let script = Launch::program(Path::new("script"), ["-qec", &command, "/dev/null"]).own_cache();
        let wharf = script.env("NO_COLOR", no_color).start();
        wharf.event(loaded, "hello");
        let shown = wharf.events();
        let building = shown.iter().find(|line| line.contains("building")).expect("it was said before");
        // Without the time, which somebody who watches does not need.
        assert_eq!(building.starts_with(" INFO building"), !no_color.is_empty(), "{building:?}");
        assert_eq!(building.contains('\x1b'), no_color.is_empty(), "{building:?}");
    }
}
