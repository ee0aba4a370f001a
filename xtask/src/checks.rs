//! Every check, one after the other.

use std::env;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::checkout::Checkout;
use crate::plugins;
use crate::step;
use crate::toolchain::Toolchain;
use crate::{bench, comments, debian, deny, docs, examples, left_out, pages, slow, test_times, toolchain};

/// Some 10 MB to fetch.
const COMPONENT_LIMIT: Duration = Duration::from_secs(180);

/// `cargo xtask test`: every check, or with `--quick` those that take a minute once all is built.
pub fn run(checkout: &Checkout, arguments: &[OsString]) -> Result<(), String> {
    left_out::forget().map_err(|error| format!("notes of an earlier run: {error}"))?;
    match arguments.split_first() {
        Some((first, rest)) if first == "--quick" => run_quick(checkout, rest),
        _ => run_all(checkout, arguments),
    }
}

/// The format, the pages, and the tests that are not marked slow.
fn run_quick(checkout: &Checkout, test_arguments: &[OsString]) -> Result<(), String> {
    let began = Instant::now();
    component(checkout, "fmt", "rustfmt")?;
    step::run("format", checkout.cargo().args(["fmt", "--all", "--check"]))?;
    pages::check(checkout)?;
    comments::check(checkout)?;
    let toolchain = Toolchain::obtain(checkout)?;
    plugins::build_with(checkout, &toolchain)?;
    python(checkout)?;
    let slow = slow::tests(checkout)?;
    let (for_cargo, for_tests) = split(test_arguments);
    let mut arguments: Vec<&OsStr> = ["--workspace", "--lib", "--test", "wharf"].map(OsStr::new).to_vec();
    arguments.extend(for_cargo.iter().map(OsString::as_os_str));
    arguments.push("--".as_ref());
    // Many of them wait for a time to pass, and leave their core to others.
    let threads = format!("--test-threads={}", 2 * thread::available_parallelism().map_or(1, NonZero::get));
    arguments.push(threads.as_ref());
    for name in &slow {
        arguments.extend([OsStr::new("--skip"), name.as_ref()]);
    }
    arguments.extend(for_tests.iter().map(OsString::as_os_str));
    let outcome = test(checkout, &toolchain, &arguments);
    step::say(&format!(
        "left out by --quick, beside clippy and the like, what has in its name:\n  {}",
        slow.join("\n  ")
    ));
    outcome?;
    tell_left_out()?;
    step::say(&format!("the quick checks passed, in {}", step::seconds(began.elapsed())));
    Ok(())
}

/// Stops at the first check that fails. The tests come last: they take longest, and their last
/// lines are what one wants to see on the screen.
fn run_all(checkout: &Checkout, test_arguments: &[OsString]) -> Result<(), String> {
    let began = Instant::now();

    component(checkout, "fmt", "rustfmt")?;
    step::run("format", checkout.cargo().args(["fmt", "--all", "--check"]))?;
    for (what, manifest) in [("the benchmark", "bench/Cargo.toml"), ("the fuzzers", "fuzz/Cargo.toml")] {
        let format = ["fmt", "--all", "--check", "--manifest-path", manifest];
        step::run(&format!("format of {what}"), checkout.cargo().args(format))?;
    }
    comments::check(checkout)?;
    docs::docs_if_possible(checkout)?;
    deny::deny_if_possible(checkout)?;

    // Before anything that may look for built plugins.
    let toolchains = Toolchain::all(checkout, is_ci())?;
    let (toolchain, others) = toolchains.split_first().expect("there is one, or an error");
    plugins::build_with(checkout, toolchain)?;

    // All in release, which shares one build of wasmtime: its compiler, unoptimised, is ten times
    // slower.
    component(checkout, "clippy", "clippy")?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"];
    step::run("clippy", checkout.cargo().args(clippy))?;
    bench::check(checkout)?;
    match toolchain {
        Toolchain::Rustup => plugins::lint(checkout, toolchain)?,
        Toolchain::Debian(_) => left_out::note("clippy for the plugins", "Debian's toolchain has none"),
    }

    // With private items: most readers of this documentation work on the code, and its links rot
    // unseen otherwise.
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items", "--release"];
    step::run("documentation", checkout.cargo().env("RUSTDOCFLAGS", "-Dwarnings").args(doc))?;

    // What the tests stand on beside cargo: Python, which wharf is compared with, and handlers in
    // other languages. A language whose toolchain can't be had is left out, and said to be.
    python(checkout)?;
    examples::build(checkout, Some(toolchain), &[])?;
    let with = |what: &[&'static str]| -> Vec<OsString> {
        what.iter().map(OsString::from).chain(test_arguments.iter().cloned()).collect()
    };
    test(checkout, toolchain, &with(&["--workspace"]))?;

    // Another toolchain's std asks for other things of the host, and other code runs there. What
    // has no plugin in it has been tested by now.
    for toolchain in others {
        plugins::build_with(checkout, toolchain)?;
        examples::build(checkout, Some(toolchain), &["rust".into()])?;
        test(checkout, toolchain, &with(&["--workspace", "--test", "wharf"]))?;
    }

    tell_left_out()?;
    step::say(&format!("every check passed, in {}", step::seconds(began.elapsed())));
    Ok(())
}

/// `cargo test` with plugins that `toolchain` has built. Names the slowest tests, also if one
/// fails.
fn test(checkout: &Checkout, toolchain: &Toolchain, arguments: &[impl AsRef<OsStr>]) -> Result<(), String> {
    let mut cargo = checkout.cargo();
    cargo.args(["test", "--release"]).args(arguments).env(toolchain::PLUGINS_ARE_BUILT, "1");
    test_times::record(checkout, &mut cargo).map_err(|error| format!("times of an earlier run: {error}"))?;
    let name = format!("tests, with plugins by {}'s wasm toolchain", toolchain.name());
    let outcome = step::run_for_output(&name, toolchain.forced_on(&mut cargo));
    if let Some(slowest) = test_times::slowest(checkout) {
        step::say(&format!("the slowest tests:\n{slowest}"));
    }
    outcome
}

/// Ends a run: a table of what it left out. In CI it fails if a part is missing that a step before
/// the tests should have built.
fn tell_left_out() -> Result<(), String> {
    let notes = left_out::noted();
    if notes.is_empty() {
        step::say("nothing was left out");
        return Ok(());
    }
    step::say(&format!("left out:\n{}", left_out::table(&notes)));
    let without_reason = left_out::without_reason(&notes);
    if is_ci() && !without_reason.is_empty() {
        return Err(format!("left out without a reason:\n{}", left_out::table(&without_reason)));
    }
    Ok(())
}

fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// Arguments for cargo, and those behind `--` for the tests.
fn split(arguments: &[OsString]) -> (&[OsString], &[OsString]) {
    match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[]),
    }
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

/// Has `cargo SUBCOMMAND` there. The pinned toolchain may have been installed without its
/// components.
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
