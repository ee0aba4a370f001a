//! Debian's Rust: not a std for wasm, but the source of one, and a compiler and a linker to build
//! it with.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::checkout::Checkout;
use crate::step;

/// A std without WASI: it has neither stdout nor clocks, but can be built with no C library.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Builds std along with the plugins: once for each target folder.
pub const BUILD_FLAGS: &[&str] = &["-Zbuild-std=std,panic_abort"];
pub const PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld"];

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
/// Of the library's source, found through the link that rustc follows.
const STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
const WASM_LD: &str = "/usr/bin/wasm-ld";
const LINKER: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER";
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");
/// Some 200 MB to fetch and unpack.
const APT_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The packages, found installed and fit for use.
pub struct Debian {
    version: String,
    linker: Linker,
}

enum Linker {
    /// rustc's own for components, which Debian leaves out: borrowed from the active toolchain,
    /// where it lies in a folder of no one's PATH, beside the `rust-lld` that it calls.
    Component(PathBuf),
    /// Debian's `wasm-ld`. It leaves a core module with its component type embedded, which wharf
    /// loads as well.
    Module,
}

impl Debian {
    /// Looks for every part by itself: a `rustc` alone, or an older one, is common.
    pub fn installed(checkout: &Checkout) -> Result<Self, String> {
        let missing = |part: &Path, package| format!("no {} ({package})", part.display());

        let rustc = Path::new(RUSTC);
        let about =
            step::answer(clean(&mut Command::new(rustc)).arg("-vV")).ok_or_else(|| missing(rustc, "rustc-web"))?;
        let version = field(&about, "release").ok_or_else(|| format!("{RUSTC} names no release"))?;
        if minor(version) < minor(OLDEST) {
            return Err(format!("Debian's rustc {version} is older than {OLDEST}"));
        }
        for (part, package) in [(CARGO, "cargo-web"), (STD, "rust-web-src")] {
            if !Path::new(part).exists() {
                return Err(missing(Path::new(part), package));
            }
        }
        let host = field(&about, "host").unwrap_or_default();
        let borrowed = checkout.sysroot().map(|sysroot| sysroot.join("lib/rustlib").join(host).join("bin"));
        let linker = match borrowed {
            Some(folder) if folder.join("wasm-component-ld").exists() && folder.join("rust-lld").exists() => {
                Linker::Component(folder)
            }
            _ if Path::new(WASM_LD).exists() => Linker::Module,
            _ => return Err(missing(Path::new(WASM_LD), "lld")),
        };
        Ok(Self { version: version.to_owned(), linker })
    }

    pub fn cargo(&self, checkout: &Checkout) -> Command {
        let mut cargo = checkout.command(CARGO);
        clean(&mut cargo)
            .env("RUSTC", RUSTC)
            // Debian's is a stable compiler; building its std is the unstable part.
            .env("RUSTC_BOOTSTRAP", "1");
        match &self.linker {
            Linker::Component(folder) => {
                let path = env::var_os("PATH").unwrap_or_default();
                let path = [folder.clone()].into_iter().chain(env::split_paths(&path));
                // A folder whose name has a separator in it can't be in PATH; the linker then looks
                // for `wasm-ld`.
                if let Ok(path) = env::join_paths(path) {
                    cargo.env("PATH", path);
                }
                cargo.env(LINKER, folder.join("wasm-component-ld"));
            }
            Linker::Module => {
                cargo.env(LINKER, WASM_LD);
            }
        }
        cargo
    }
}

impl fmt::Display for Debian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let linker = match self.linker {
            Linker::Component(_) => "the active toolchain's wasm-component-ld",
            Linker::Module => "wasm-ld, which makes core modules",
        };
        write!(f, "rustc {}, std built here, {linker}", self.version)
    }
}

/// Installs packages. For root alone.
pub fn install(checkout: &Checkout, packages: &[&str]) -> Result<(), String> {
    let apt = |arguments: &[&str]| {
        let mut apt = checkout.command("apt-get");
        // Another apt may run, as on a machine that has just booted: its lock is waited for.
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=120"]).args(arguments);
        apt
    };
    // Its failure is no end: one unreachable source of many fails it, and the old lists may do.
    if let Err(reason) = step::run_within("reading Debian's package lists", APT_LIMIT, &mut apt(&["update"])) {
        step::say(&reason);
    }
    let mut install = apt(&["install", "-y", "--no-install-recommends"]);
    step::run_within(&format!("installing {}", packages.join(", ")), APT_LIMIT, install.args(packages))
}

/// Takes from a command's environment what points at the toolchain that runs xtask: cargo and
/// rustup set such variables for all their children, and Debian's tools would follow them.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let foreign = matches!(
            text,
            "CARGO"
                | "LD_LIBRARY_PATH"
                | "RUSTC"
                | "RUSTC_WRAPPER"
                | "RUSTC_WORKSPACE_WRAPPER"
                | "RUSTDOC"
                | "RUSTFLAGS"
                | "CARGO_ENCODED_RUSTFLAGS"
        ) || text.starts_with("RUSTUP_")
            || text.starts_with("CARGO_BUILD_");
        if foreign {
            command.env_remove(&name);
        }
    }
    command
}

/// A field of `rustc -vV`.
fn field<'a>(about: &'a str, name: &str) -> Option<&'a str> {
    about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The 96 of 1.96.0, which is all that tells Rust's versions apart here.
fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(minor("1.96.0") > minor("1.95"));
        assert!(minor("1.100.0") > minor("1.95"));
        assert!(minor("1.85.0") < minor("1.95"));
        assert!(minor("unheard of") < minor("1.95"));
    }

    #[test]
    fn rustc_is_read_by_field() {
        let about = "rustc 1.96.0 (built from a source tarball)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0";
        assert_eq!(field(about, "host"), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(field(about, "release"), Some("1.96.0"));
        assert_eq!(field(about, "LLVM version"), None);
    }
}
