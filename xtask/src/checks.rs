//! Every check, one after the other.

use std::env;
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::checkout::Checkout;
use crate::plugins;
use crate::step;
use crate::toolchain::Toolchain;
use crate::{bench, debian, deny, docs, examples, left_out};

/// Some 10 MB to fetch.
const COMPONENT_LIMIT: Duration = Duration::from_secs(180);

/// Stops at the first check that fails. The tests come last: they take longest, and their last lines are what one
/// wants to see on the screen.
pub fn run_all(checkout: &Checkout, test_arguments: &[OsString]) -> Result<(), String> {
    let began = Instant::now();
    left_out::forget().map_err(|error| format!("notes of an earlier run: {error}"))?;

    component(checkout, "fmt", "rustfmt")?;
    step::run("format", checkout.cargo().args(["fmt", "--all", "--check"]))?;
    for (what, manifest) in [("the benchmark", "bench/Cargo.toml"), ("the fuzzers", "fuzz/Cargo.toml")] {
        let format = ["fmt", "--all", "--check", "--manifest-path", manifest];
        step::run(&format!("format of {what}"), checkout.cargo().args(format))?;
    }
    docs::docs_if_possible(checkout)?;
    deny::deny_if_possible(checkout)?;

    // Before anything that may look for built plugins.
    let toolchains = Toolchain::all(checkout, env::var_os("CI").is_some_and(|value| value == "true"))?;
    let (toolchain, others) = toolchains.split_first().expect("there is one, or an error");
    plugins::build_with(checkout, toolchain)?;

    // All in release, which shares one build of wasmtime: its compiler, unoptimised, is ten times slower.
    component(checkout, "clippy", "clippy")?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"];
    step::run("clippy", checkout.cargo().args(clippy))?;
    bench::check(checkout)?;
    match toolchain {
        Toolchain::Rustup => plugins::lint(checkout, toolchain)?,
        Toolchain::Debian(_) => left_out::note("clippy for the plugins: Debian's toolchain has none"),
    }

    // With private items: most readers of this documentation work on the code, and its links rot unseen otherwise.
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items", "--release"];
    step::run("documentation", checkout.cargo().env("RUSTDOCFLAGS", "-Dwarnings").args(doc))?;

    // What the tests stand on beside cargo: Python, which wharf is compared with, and handlers in other languages. A
    // language whose toolchain can't be had is left out, and said to be.
    python(checkout)?;
    examples::build(checkout, Some(toolchain), &[])?;
    let test = |what: &[&str], toolchain: &Toolchain| {
        let mut cargo = checkout.cargo();
        cargo.args(["test", "--release"]).args(what).args(test_arguments);
        let name = format!("tests, with plugins by {}'s wasm toolchain", toolchain.name());
        step::run_for_output(&name, toolchain.forced_on(&mut cargo))
    };
    test(&["--workspace"], toolchain)?;

    // Another toolchain's std asks for other things of the host, and other code runs there. What has no plugin in it has been
    // tested by now.
    for toolchain in others {
        plugins::build_with(checkout, toolchain)?;
        examples::build(checkout, Some(toolchain), &["rust".into()])?;
        test(&["--workspace", "--test", "wharf"], toolchain)?;
    }

    match &left_out::noted()[..] {
        [] => step::say("nothing was left out"),
        notes => step::say(&format!("left out:\n  {}", notes.join("\n  "))),
    }
    step::say(&format!("every check passed, in {}", step::seconds(began.elapsed())));
    Ok(())
}

/// Has `python3` there.
fn python(checkout: &Checkout) -> Result<(), String> {
    let there = || step::answer(checkout.command("python3").arg("--version")).is_some();
    if !there() {
        // Where it can't be installed, say to whom it is to be said.
        let _ = debian::install(checkout, &["python3"]);
    }
    if there() { Ok(()) } else { Err("the tests compare with Python's socketserver: install python3".to_owned()) }
}

/// Has `cargo SUBCOMMAND` there. The pinned toolchain may have been installed without its components.
fn component(checkout: &Checkout, subcommand: &str, name: &str) -> Result<(), String> {
    let there = || step::answer(checkout.cargo().args([subcommand, "--version"])).is_some();
    if there() {
        return Ok(());
    }
    let added = if step::answer(Command::new("rustup").arg("--version")).is_some() {
        let mut add = checkout.command("rustup");
        step::run_within(
            &format!("adding {name}, which is missing, with rustup"),
            COMPONENT_LIMIT,
            add.args(["component", "add", name]),
        )
    } else {
        Err("rustup is not here to add it".to_owned())
    };
    match added {
        Ok(()) if there() => Ok(()),
        Ok(()) => Err(format!("`cargo {subcommand}` is missing: rustup added {name}, but not to the active toolchain")),
        Err(reason) => Err(format!("`cargo {subcommand}` is missing: install {name} ({reason})")),
    }
}
