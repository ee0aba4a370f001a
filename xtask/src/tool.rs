//! Programs from crates.io that are not part of the toolchain: installed once, into the target
//! folder, and kept there.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::checkout::Checkout;
use crate::step;

/// Some minutes of compiling on two cores, and more where they are busy.
const INSTALL_LIMIT: Duration = Duration::from_secs(25 * 60);

/// A program, of a version that is known to do what is asked of it here. `cargo-NAME` is called as
/// `cargo NAME`.
pub struct Tool {
    pub program: &'static str,
    pub version: &'static str,
    /// More options for `cargo install`.
    pub options: &'static [&'static str],
}

impl Tool {
    /// Has it there: whichever is installed already, else this version from crates.io.
    pub fn obtain(&self, checkout: &Checkout) -> Result<(), String> {
        if self.is_there(checkout) {
            return Ok(());
        }
        let program = self.program;
        let mut install = checkout.cargo();
        install.args(["install", "--quiet", "--locked", "--version", self.version, "--root"]).arg(Self::home(checkout));
        install.args(self.options).arg(program);
        let what = format!("installing {program} {}, once, into target/tools", self.version);
        let reason = match step::run_within(&what, INSTALL_LIMIT, &mut install) {
            Ok(()) if self.is_there(checkout) => return Ok(()),
            Ok(()) => format!("no {program} came of it"),
            Err(reason) => reason,
        };
        Err(format!("{program} is missing: `cargo install --locked {program}` ({reason})"))
    }

    /// The program, also where it was installed here.
    pub fn command(&self, checkout: &Checkout) -> Command {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::split_paths(&path).chain([Self::home(checkout).join("bin")]);
        // A folder whose name has a separator in it can't be in PATH; only what is installed
        // elsewhere is found then.
        let path = env::join_paths(path).ok();
        let mut command = match self.program.strip_prefix("cargo-") {
            Some(subcommand) => {
                let mut cargo = checkout.cargo();
                cargo.arg(subcommand);
                cargo
            }
            // Which folders are looked through is this process's business, where the child has
            // another PATH.
            None => {
                let found = path.iter().flat_map(env::split_paths).map(|folder| folder.join(self.program));
                checkout.command(found.into_iter().find(|file| file.is_file()).unwrap_or_else(|| self.program.into()))
            }
        };
        if let Some(path) = path {
            command.env("PATH", path);
        }
        command
    }

    fn is_there(&self, checkout: &Checkout) -> bool {
        step::answer(self.command(checkout).arg("--version")).is_some()
    }

    fn home(checkout: &Checkout) -> PathBuf {
        checkout.target_dir().join("tools")
    }
}
