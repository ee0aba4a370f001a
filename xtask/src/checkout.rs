//! The checkout this runs in: its folders, and the cargo that builds it.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::step;

pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    pub fn find() -> Self {
        // Asked at run time first: a target folder shared by two checkouts may hold the other one's
        // xtask.
        let xtask =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = xtask.parent().unwrap_or(&xtask).to_owned();
        Self { root }
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// Builds [`host_binary`](Self::host_binary). Of the whole workspace, so that its dependencies
    /// have the features that they have for the tests: of the package alone, wasmtime would be
    /// built once more.
    pub fn build_host(&self) -> Command {
        let mut cargo = self.cargo();
        cargo.args(["build", "--release", "--workspace", "--bin", "wharf"]);
        cargo
    }

    /// What [`build_host`](Self::build_host) leaves.
    pub fn host_binary(&self) -> PathBuf {
        self.target_dir().join("release").join("wharf")
    }

    /// Where cargo puts what it builds for this machine.
    pub fn target_dir(&self) -> PathBuf {
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        self.root.join(target)
    }

    /// The cargo that runs this xtask, and so the toolchain that rust-toolchain.toml pins.
    pub fn cargo(&self) -> Command {
        let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        self.command(&program)
    }

    /// Where the rustc that [`Self::cargo`] would call keeps its parts.
    pub fn sysroot(&self) -> Option<PathBuf> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        // From the root, so that a rustup proxy takes the toolchain that is pinned there.
        step::answer(self.command(rustc).args(["--print", "sysroot"])).map(PathBuf::from)
    }

    /// A command that starts in the root, without what cargo tells xtask about xtask: a build
    /// script that looks at such a variable would run again each time cargo is called from here
    /// rather than by hand.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            let about_xtask =
                name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
            if about_xtask {
                command.env_remove(name);
            }
        }
        command
    }
}
