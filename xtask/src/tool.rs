//! Programs of cargo's that are not part of the toolchain: had once, into the target folder, and kept there.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::checkout::Checkout;
use crate::step;

/// Some minutes of compiling on two cores, and more where they are busy.
const INSTALL_LIMIT: Duration = Duration::from_secs(25 * 60);

/// `cargo NAME`, of a version that is known to do what is asked of it here.
pub struct Tool {
    pub name: &'static str,
    pub version: &'static str,
}

impl Tool {
    /// Has it there: whichever is installed already, else this version from crates.io.
    pub fn obtain(&self, checkout: &Checkout) -> Result<(), String> {
        if self.is_there(checkout) {
            return Ok(());
        }
        let mut install = checkout.cargo();
        install.args(["install", "--quiet", "--locked", "--version", self.version, "--root"]).arg(Self::home(checkout));
        let package = format!("cargo-{}", self.name);
        let what = format!("installing {package} {}, once, into target/tools", self.version);
        let reason = match step::run_within(&what, INSTALL_LIMIT, install.arg(&package)) {
            Ok(()) if self.is_there(checkout) => return Ok(()),
            Ok(()) => format!("no cargo-{} came of it", self.name),
            Err(reason) => reason,
        };
        Err(format!("`cargo {}` is missing: `cargo install --locked {package}` ({reason})", self.name))
    }

    /// `cargo NAME`, which finds what was installed here as well.
    pub fn command(&self, checkout: &Checkout) -> Command {
        let mut cargo = checkout.cargo();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::split_paths(&path).chain([Self::home(checkout).join("bin")]);
        // A folder whose name has a separator in it can't be in PATH; only what is installed elsewhere is found then.
        if let Ok(path) = env::join_paths(path) {
            cargo.env("PATH", path);
        }
        cargo.arg(self.name);
        cargo
    }

    fn is_there(&self, checkout: &Checkout) -> bool {
        step::answer(self.command(checkout).arg("--version")).is_some()
    }

    fn home(checkout: &Checkout) -> PathBuf {
        checkout.target_dir().join("tools")
    }
}
