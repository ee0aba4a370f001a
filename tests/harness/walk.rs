//! A random walk of what people do to a plugin folder while it is served, which its seed repeats.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Folder;
use super::guests::{Guest, answers, answers_to_version, slow_to_load};

/// The plugin that is changed while clients talk to it.
pub const SUBJECT: &str = "subject";
/// The plugin that comes and goes beside it.
pub const OTHER: &str = "other";

/// Which walk it is.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64);

impl Seed {
    /// The one in the environment's `WHARF_SEED`, to have a walk again; else a new one.
    pub fn chosen() -> Self {
        let given = std::env::var("WHARF_SEED").ok();
        Self(given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("WHARF_SEED is a number")))
    }
}

/// What a host has to make of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that anybody could wait for, or that is worth it.
    Unwatched,
    /// It says that the subject is loaded, in the generation of this number.
    Loaded(u32),
    /// It says that the subject is kept as it was.
    Kept,
    /// It says that the subject listens at its second address, or that this is closed.
    Second(bool),
    /// It says that the other plugin is loaded, or unloaded.
    Other(bool),
    /// A version that takes long to load stood there, and what served before it was put back: for
    /// so long.
    PutBack(Duration),
    /// It is to be told by SIGHUP, and says nothing.
    Hangup,
}

/// A walk through a folder's states. The subject's addresses never change but for the second one.
pub struct Walk<'f> {
    folder: &'f Folder,
    random: Rng,
    /// How many generations of the subject have been written.
    written: u32,
    /// Makes every text another one.
    changes: u32,
    second: bool,
    other: bool,
    /// Whether sessions of the subject are child processes.
    forks: bool,
    /// What is still to be done of a change of several steps.
    next: Option<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Renamed,
    InPlace,
    InPieces,
    Linked,
    Bad,
    Settings,
    BrokenSettings,
    SecondAddress,
    OtherPlugin,
    Hangup,
    Defaults,
    PutBack,
}

impl Step {
    /// The good ones are most of them.
    const ALL: [Self; 17] = [
        Self::Renamed,
        Self::Renamed,
        Self::Renamed,
        Self::InPlace,
        Self::InPlace,
        Self::InPieces,
        Self::InPieces,
        Self::Linked,
        Self::Linked,
        Self::Bad,
        Self::Settings,
        Self::BrokenSettings,
        Self::SecondAddress,
        Self::OtherPlugin,
        Self::Hangup,
        Self::Defaults,
        Self::PutBack,
    ];
}

impl<'f> Walk<'f> {
    /// Puts both plugins in, the subject in its first generation.
    pub fn begin(folder: &'f Folder, seed: Seed) -> Self {
        let random = Rng::with_seed(seed.0);
        let mut walk =
            Self { folder, random, written: 0, changes: 0, second: false, other: true, forks: false, next: None };
        fs::create_dir(walk.builds()).expect("create a folder");
        walk.defaults();
        walk.settings();
        walk.make(Step::Renamed);
        folder.plugin(OTHER, &answers("other"));
        walk
    }

    /// The number of the newest generation: it may serve from now on.
    pub fn newest(&self) -> u32 {
        self.written
    }

    /// Whether every file is good, so that a host that begins now serves all that another serves.
    pub fn is_at_rest(&self) -> bool {
        self.next.is_none()
    }

    /// Whether sessions of the subject are child processes.
    pub fn forks(&self) -> bool {
        self.forks
    }

    /// The subject's generation of this number, which [says](answers) that number.
    pub fn generation(number: u32) -> Guest {
        answers(&format!("g{number}"))
    }

    /// Where the subject's Unix sockets are: it always has the first one, and a TCP port.
    pub fn socket(&self, which: u32) -> String {
        format!("unix://{}", self.folder.parent().join(format!("{SUBJECT}{which}.sock")).display())
    }

    /// Chooses the next step, tells `about` it with the number of the newest generation that it
    /// makes, and makes it.
    pub fn step(&mut self, about: impl FnOnce(&str, u32)) -> Outcome {
        let step = match self.next.take() {
            Some(step) => step,
            None => *self.random.choice(&Step::ALL).expect("there are some"),
        };
        let is_new = matches!(step, Step::Renamed | Step::InPlace | Step::InPieces | Step::Linked);
        about(&format!("{step:?}"), self.written + u32::from(is_new));
        let outcome = self.make(step);
        // What is not waited for is overtaken by the next.
        if is_new && self.random.u8(..4) == 0 { Outcome::Unwatched } else { outcome }
    }

    /// The number that a version says which was put back.
    pub const UNDONE: u32 = 1_000_000;

    /// The last step: a good generation, to be waited for.
    pub fn end(&mut self) -> Outcome {
        self.settings();
        self.make(Step::Renamed)
    }

    fn make(&mut self, step: Step) -> Outcome {
        self.changes += 1;
        match step {
            Step::Renamed | Step::InPlace | Step::InPieces | Step::Linked => {
                self.written += 1;
                let bytes = Self::generation(self.written).bytes;
                self.put(step, &bytes);
                Outcome::Loaded(self.written)
            }
            Step::Bad => {
                // Always another, as nobody says again what was said of the same file.
                let text = format!("bad{}", self.changes);
                let bad = match self.random.u8(..6) {
                    0 => format!("buy milk ({text})").into_bytes(),
                    1 => {
                        let good = answers(&text).bytes;
                        good[..self.random.usize(1..good.len() * 9 / 10)].to_vec()
                    }
                    2 => answers_to_version(&text, "9.9.9").bytes,
                    3 => format!("(module) ;; {text}").into_bytes(),
                    4 => vec![b' '; self.changes as usize],
                    _ => Vec::new(),
                };
                let is_said = !bad.is_empty() && self.random.u8(..4) == 0;
                let way = if self.random.bool() { Step::Renamed } else { Step::InPlace };
                self.put(way, &bad);
                self.next = Some(Step::Renamed);
                // It takes a second, as its writer may not be done.
                if is_said { Outcome::Kept } else { Outcome::Unwatched }
            }
            Step::Settings => {
                self.settings();
                Outcome::Loaded(self.written)
            }
            Step::BrokenSettings => {
                let broken = ["listen = [", "lisen = 'tcp://127.0.0.1:0'", "concurrency = 'magic'"];
                let broken = self.random.choice(broken).expect("there are some");
                self.folder.manifest(SUBJECT, &format!("# {}\n{broken}", self.changes));
                self.next = Some(Step::Settings);
                if self.random.u8(..4) == 0 { Outcome::Kept } else { Outcome::Unwatched }
            }
            Step::SecondAddress => {
                self.second = !self.second;
                self.settings();
                Outcome::Second(self.second)
            }
            Step::OtherPlugin => {
                self.other = !self.other;
                if self.other {
                    self.folder.plugin(OTHER, &answers("other"));
                } else {
                    self.folder.remove(&format!("{OTHER}.wat"));
                }
                Outcome::Other(self.other)
            }
            Step::PutBack => {
                let file = self.folder.path().join(format!("{SUBJECT}.wat"));
                let before = fs::read(&file).expect("it stands there between steps");
                let undone = slow_to_load(&format!("g{}", Self::UNDONE + self.changes));
                let begun = Instant::now();
                // The content counts, whatever the name says.
                self.put(Step::Renamed, &undone.bytes);
                thread::sleep(Duration::from_millis(self.random.u64(..150)));
                self.put(Step::Renamed, &before);
                Outcome::PutBack(begun.elapsed())
            }
            Step::Hangup => Outcome::Hangup,
            Step::Defaults => {
                self.defaults();
                Outcome::Loaded(self.written)
            }
        }
    }

    /// Puts the subject's file in, by one of the ways there are.
    fn put(&mut self, way: Step, bytes: &[u8]) {
        let name = format!("{SUBJECT}.wat");
        match way {
            Step::InPlace => self.folder.overwrite(&name, bytes),
            Step::InPieces => {
                let mut file = File::create(self.folder.path().join(name)).expect("open in place");
                for piece in bytes.chunks(bytes.len() / self.random.usize(2..20)) {
                    file.write_all(piece).expect("write a piece");
                    (0..self.random.u32(..50)).for_each(|_| thread::yield_now());
                }
            }
            Step::Linked => {
                let build = self.builds().join(self.changes.to_string());
                fs::write(&build, bytes).expect("write");
                symlink(&build, self.builds().join("link")).expect("link");
                fs::rename(self.builds().join("link"), self.folder.path().join(name)).expect("swap the link");
            }
            _ => _ = self.folder.file(&name, bytes),
        }
    }

    /// Random settings of the subject, of which none may cost a session anything.
    fn settings(&mut self) {
        let mut toml = format!("# {}\nlisten = ['tcp://127.0.0.1:0', '{}'", self.changes, self.socket(1));
        if self.second {
            write!(toml, ", '{}'", self.socket(2)).expect("a string");
        }
        let random = &mut self.random;
        // Most of the time not of the ways that are slow.
        let concurrency = *random.choice(&["task", "task", "task", "thread", "serial", "process"]).expect("some");
        self.forks = concurrency == "process";
        let instance = random.choice(["fresh", "reused"]).expect("some");
        write!(
            toml,
            "]\nconcurrency = '{concurrency}'\ninstance = '{instance}'\nmax-connections = {}\nbacklog = {}\n[timeouts]\nidle = '{}s'\nhandle = '{}s'\n",
            random.u32(1..100),
            random.u32(100..2000),
            random.u32(60..600),
            random.u32(60..600),
        )
        .expect("a string");
        self.folder.manifest(SUBJECT, &toml);
    }

    /// Host-wide settings, always others than before.
    fn defaults(&mut self) {
        let (rescan, setup) = (self.random.choice(["1h", "100ms"]).expect("some"), 60 + self.changes);
        let toml = format!("rescan = '{rescan}'\n[defaults]\n[defaults.timeouts]\nsetup = '{setup}s'\n");
        self.folder.file("wharf.toml", toml);
    }

    fn builds(&self) -> PathBuf {
        self.folder.parent().join("builds")
    }
}
