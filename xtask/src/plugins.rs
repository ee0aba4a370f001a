//! Builds what is written in Rust here for wasm: the shipped plugins, the tests' fixtures, and the
//! examples.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::checkout::Checkout;
use crate::folder::Folder;
use crate::step;
use crate::toolchain::Toolchain;

/// Where built plugins go, from the root.
pub const SHIPPED: &str = "target/plugins";
/// Apart from the native build's, so that neither waits for the other's lock.
const TARGET_DIR: &str = "target/guests";
/// The stack comes first in a guest's memory, and what is touched of it the host must clear for
/// each session: Rust's own choice is 1 MiB.
const RUSTFLAGS: &str = "-Clink-arg=-zstack-size=32768";

/// A folder of crates, and where their output goes.
struct Shelf {
    sources: &'static str,
    output: &'static str,
    /// What a crate's name has before its folder's.
    prefix: &'static str,
}

const SHELVES: [Shelf; 4] = [
    Shelf { sources: "plugins", output: SHIPPED, prefix: "" },
    Shelf { sources: "tests/guests", output: "target/fixtures", prefix: "fixture-" },
    Shelf { sources: "tests/guests/probes", output: "target/examples/probes", prefix: "probe-" },
    Shelf { sources: "examples/socketserver", output: "target/examples", prefix: "example-" },
];

/// One crate on a shelf.
pub struct Guest {
    /// The folder's name, and the plugin's.
    pub name: String,
    folder: PathBuf,
    package: String,
}

impl Guest {
    /// The settings that belong beside the built plugin, if it has any there.
    pub fn manifest(&self) -> Option<PathBuf> {
        let path = self.folder.join(format!("{}.toml", self.name));
        path.is_file().then_some(path)
    }
}

/// The plugins that ship, by name.
pub fn shipped(checkout: &Checkout) -> Result<Vec<Guest>, String> {
    SHELVES[0].guests(checkout)
}

/// Builds them all, with the toolchain that can be had.
pub fn build(checkout: &Checkout) -> Result<(), String> {
    build_with(checkout, &Toolchain::obtain(checkout)?)
}

/// Builds them all.
pub fn build_with(checkout: &Checkout, toolchain: &Toolchain) -> Result<(), String> {
    let mut build = cargo(checkout, toolchain, "build")?;
    build.args(toolchain.build_flags());
    step::run(&format!("building the plugins for {}", toolchain.target()), &mut build)?;

    let built = checkout.path(TARGET_DIR).join(toolchain.target()).join("guest");
    for shelf in &SHELVES {
        let mut folder = Folder::open(checkout.path(shelf.output))?;
        let guests = shelf.guests(checkout)?;
        for guest in &guests {
            let wasm = built.join(format!("{}.wasm", guest.package.replace('-', "_")));
            folder.put(&wasm, &format!("{}.wasm", guest.name))?;
            if let Some(manifest) = guest.manifest() {
                folder.put(&manifest, &format!("{}.toml", guest.name))?;
            }
        }
        let changed = folder.close()?;
        let changes = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        step::say(&format!("{}: {} built, changed: {changes}", shelf.output, guests.len()));
    }
    toolchain.has_built(checkout)
}

/// Clippy on what only exists for wasm. `toolchain` must be rustup's: Debian's has no clippy.
pub fn lint(checkout: &Checkout, toolchain: &Toolchain) -> Result<(), String> {
    let mut clippy = cargo(checkout, toolchain, "clippy")?;
    step::run("clippy for the plugins", clippy.args(["--", "-D", "warnings"]))
}

/// `cargo SUBCOMMAND` on every guest and nothing else: the host is no program for wasm.
fn cargo(checkout: &Checkout, toolchain: &Toolchain, subcommand: &str) -> Result<Command, String> {
    let mut cargo = toolchain.cargo(checkout);
    cargo
        // Above every other way to give flags, so that neither the caller's nor a configuration's
        // take their place.
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS)
        // Whoever starts xtask has had Cargo.lock brought up to date; Debian's cargo, another
        // version, must not touch it.
        .args([subcommand, "--locked", "--profile", "guest", "--target", toolchain.target()])
        .args(["--target-dir", TARGET_DIR]);
    for shelf in &SHELVES {
        for guest in shelf.guests(checkout)? {
            cargo.args(["--package", &guest.package]);
        }
    }
    Ok(cargo)
}

impl Shelf {
    fn guests(&self, checkout: &Checkout) -> Result<Vec<Guest>, String> {
        let sources = checkout.path(self.sources);
        let unreadable = |error| format!("{}: {error}", sources.display());
        let mut guests = Vec::new();
        for entry in fs::read_dir(&sources).map_err(unreadable)? {
            let folder = entry.map_err(unreadable)?.path();
            // Other things lie there too, as the tests' guests in WAT.
            if !folder.join("Cargo.toml").is_file() {
                continue;
            }
            let Some(name) = folder.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                return Err(format!("{}: a plugin's name must be UTF-8", folder.display()));
            };
            let package = format!("{}{name}", self.prefix);
            guests.push(Guest { name, folder, package });
        }
        guests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(guests)
    }
}
