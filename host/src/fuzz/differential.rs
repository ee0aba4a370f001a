//! Random handlers, each run in every way that the host has for it: nothing that a client, the log
//! or the counts can see may tell one way from another.
//!
//! A program is a random module ([`module`]) in a random form ([`component`]), and some clients
//! ([`client`]). What a component does in a sandbox of its own is the model. The same has to come
//! of it as one module: in a sandbox that is put back after each session, in one that is made anew
//! from code that another process was given, with sessions one after the other and at once. And
//! where the plugin asks for instances that are reused, both ways have to keep the same.

mod choices;
mod client;
mod code;
mod component;
mod module;
mod seen;
mod shape;
mod ways;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::config::{self, ManifestFile};
use choices::Choices;
use client::Script;
use component::Form;
use module::Module;
use seen::conceal;
use shape::{Shape, Waits};
use ways::Host;

/// The most sessions that a program has.
const SESSIONS: usize = 8;
/// What was run so far.
#[derive(Debug, Default)]
pub struct Totals {
    pub programs: AtomicU64,
    /// Those that no way takes.
    pub refused: AtomicU64,
    /// Those that run as one module.
    pub bare: AtomicU64,
    /// Those whose sandboxes are put back.
    pub put_back: AtomicU64,
    pub sessions: AtomicU64,
    /// Differences that were not seen again.
    pub unsteady: AtomicU64,
    /// Programs of which a reused instance says something else than a fresh one: what shows that a
    /// leak would be seen.
    pub telling: AtomicU64,
    /// Draws of random bytes, no two of them the same.
    pub draws: AtomicU64,
}

pub static TOTALS: Totals = Totals {
    programs: AtomicU64::new(0),
    refused: AtomicU64::new(0),
    bare: AtomicU64::new(0),
    put_back: AtomicU64::new(0),
    sessions: AtomicU64::new(0),
    unsteady: AtomicU64::new(0),
    telling: AtomicU64::new(0),
    draws: AtomicU64::new(0),
};

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { programs, refused, bare, put_back, sessions, unsteady, telling, draws } = self;
        let of = |count: &AtomicU64| count.load(Relaxed);
        write!(
            f,
            "{} programs ({} refused, {} bare, {} put back, {} told apart when reused), {} sessions, {} draws, {} unsteady",
            of(programs),
            of(refused),
            of(bare),
            of(put_back),
            of(telling),
            of(sessions),
            of(draws),
            of(unsteady)
        )
    }
}

/// A plugin and its clients.
pub struct Sample {
    shape: Shape,
    form: Form,
    text: String,
    scripts: Vec<Script>,
}

impl Sample {
    /// The program that these bytes are.
    pub fn of(data: &[u8]) -> Self {
        Self::with(data, false)
    }

    /// One that can be compared over sockets: its clients say all at once, and nothing depends on a
    /// clock or on an address.
    pub fn plain(data: &[u8]) -> Self {
        Self::with(data, true)
    }

    fn with(data: &[u8], plain: bool) -> Self {
        // The rest is code, of which there may be more than bytes.
        let (form, data) = data.split_at(data.len().min(48));
        let choices = &mut Choices::of(data);
        let shape = Shape::of(choices, plain);
        let sessions = 1 + choices.below(SESSIONS);
        let scripts = (0..sessions).map(|number| Script::of(choices, &shape, number)).collect();
        let module = Module::of(choices, &shape);
        let (form, text) = component::wrapped(&module, &mut Choices::of(form), shape.wasi);
        Self { shape, form, text, scripts }
    }

    /// The plugin's file.
    pub fn wasm(&self) -> Vec<u8> {
        component::assembled(self.form, &self.text)
    }

    /// The plugin in WAT: of a component that wit-component makes, its module.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is, in a word or two.
    pub fn name(&self) -> String {
        let Shape { waits, wasi, datagrams, .. } = self.shape;
        let datagrams = if datagrams { "datagrams" } else { "connections" };
        format!("{:?}, {datagrams}, waits for {waits:?}{}", self.form, if wasi { ", WASI" } else { "" })
    }

    /// Its limits and timeouts, for its manifest.
    pub fn settings(&self) -> String {
        let memory = if self.shape.wasi { "3MiB" } else { "1MiB" };
        let idle = if self.shape.waits == Waits::Idle { "8ms" } else { "1min" };
        let phase = if self.shape.waits == Waits::Phase { "40ms" } else { "1min" };
        let phases = ["setup", "handle", "finish"].map(|name| format!("timeouts.{name} = '{phase}'\n")).concat();
        format!("limits.memory = '{memory}'\nlimits.cpu = '150ms'\ntimeouts.idle = '{idle}'\n{phases}")
    }

    fn manifest(&self, instance: &str) -> ManifestFile {
        let scheme = if self.shape.datagrams { "udp" } else { "tcp" };
        let text = format!("listen = '{scheme}://127.0.0.1:1'\ninstance = '{instance}'\n{}", self.settings());
        let beside = config::ManifestOrigin::Operator(Path::new("/nowhere/differential.toml"));
        ManifestFile::parse(&text, beside).expect("a manifest")
    }

    /// What its clients say, all at once, and what each is answered by the component. None if it is
    /// no plugin.
    ///
    /// # Panics
    /// It is not [plain](Self::plain).
    pub fn conversations(&mut self) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        assert!(self.shape.is_plain, "only plain ones are the same over sockets");
        let said: Vec<Vec<u8>> = self.scripts.iter_mut().map(Script::said_at_once).collect();
        let heard = HOST.lock().unwrap_or_else(PoisonError::into_inner).modelled(self)?;
        Some(said.into_iter().zip(heard).collect())
    }
}

/// What was sent to a client, with zeros where it is no two sessions' the same.
///
/// # Panics
/// Another session drew the same random bytes, or time stood still.
pub fn concealed(mut bytes: Vec<u8>) -> Vec<u8> {
    conceal(&mut bytes);
    bytes
}

static HOST: LazyLock<Mutex<Host>> = LazyLock::new(|| Mutex::new(Host::new()));

/// As a plugin and its clients, in all ways.
///
/// # Panics
/// Two ways are not the same, or two sessions drew the same random bytes, or time stood still.
pub fn differential(data: &[u8]) {
    HOST.lock().unwrap_or_else(PoisonError::into_inner).compare(&Sample::of(data));
}
