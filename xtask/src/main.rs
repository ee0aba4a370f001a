//! The project's own commands, `cargo xtask …`: everything that takes more than one cargo call.

#![forbid(unsafe_code)]

mod bench;
mod checks;
mod comments;
mod deny;
mod docs;
mod examples;
mod folder;
mod fuzz;
mod pages;
mod plugins;
mod python_sdk;
mod serve;
mod soak;
mod tool;
mod yanked;

use std::ffi::OsString;
use std::process::ExitCode;

use xtask::checkout::Checkout;
use xtask::{checkout, debian, left_out, readme, slow, step, test_times, toolchain};

const USAGE: &str = "\
The commands of this project.

Usage: cargo xtask COMMAND

Commands:
  serve [ARGS…]   build the host and the shipped plugins, then `wharf serve target/plugins ARGS…`
  test [--quick] [ARGS…]  every check: format, pages, plugins, clippy, documentation, examples, tests (ARGS go to
                  `cargo test`), the tests once more with the plugins of each further wasm toolchain; ends with the
                  slowest tests and a table of what was left out, and fails where CI=true and a part is missing
                  without a reason. --quick: format, pages and the tests that tests/slow.txt does not name
  plugins         build the shipped plugins into target/plugins, the examples into target/examples,
                  the tests' into target/fixtures
  examples [LANG…]  build the same plugin from each language, into target/examples/languages, the tests' probe in each,
                  into target/examples/probes, and with Python's the plugins of scripts, into target/examples/python-sdk
  bench [SCENARIO…]  measure wharf beside native tokio and what people run instead, into target/bench; `list` names the
                  scenarios, `--help` the options
  soak [--minutes N] [--seed N]  everything at once, for minutes: reloads, hostile plugins and clients, faults, new host processes;
                  ends in a table of what was served and lost
  fuzz [TARGET…] [--minutes N]  run the fuzzers, 5 minutes each unless told otherwise; cargo-fuzz is installed into target/tools
                  if it is not here
  docs            check every page in Markdown, and build the book of docs/ into target/book; mdbook is installed into
                  target/tools if it is not here
  deny            licences, sources and known vulnerabilities of all that this depends on, by deny.toml; cargo-deny is
                  installed likewise

Plugins need a wasm toolchain for Rust. What is installed is used before anything is fetched:
  1. the std for wasm32-wasip2 of the active toolchain, if it is there
  2. Debian's rustc-web, cargo-web, rust-web-src and lld, if they are there
  3. `rustup target add wasm32-wasip2`
  4. `apt-get install` of Debian's packages, when root
`test` takes each toolchain that is installed, and where CI=true each that can be.

Environment:
  WHARF_WASM_TOOLCHAIN=rustup|debian   use rustup's (1, 3) or Debian's (2, 4) toolchain only
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(command) = arguments.next() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let rest: Vec<OsString> = arguments.collect();
    let checkout = Checkout::find();

    let outcome = match command.to_str() {
        Some("serve") => serve::serve(&checkout, &rest),
        Some("test") => checks::run(&checkout, &rest),
        Some("bench") => bench::bench(&checkout, &rest),
        Some("soak") => soak::soak(&checkout, &rest),
        Some("examples") => examples::build(&checkout, None, &rest),
        Some("fuzz") => fuzz::fuzz(&checkout, &rest),
        Some("docs") if rest.is_empty() => docs::docs(&checkout),
        Some("docs") => return misused("`docs` takes no arguments"),
        Some("deny") if rest.is_empty() => deny::deny(&checkout),
        Some("deny") => return misused("`deny` takes no arguments"),
        Some("plugins") if rest.is_empty() => plugins::build(&checkout),
        Some("plugins") => return misused("`plugins` takes no arguments"),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => return misused(&format!("no command {}", command.display())),
    };

    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            step::say(&format!("failed: {reason}"));
            ExitCode::FAILURE
        }
    }
}

fn misused(reason: &str) -> ExitCode {
    eprintln!("xtask: {reason}\n\n{USAGE}");
    ExitCode::from(2)
}
