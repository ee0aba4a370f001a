//! The fuzzers, for as long as one likes: `tests/project/fuzzing.rs` has them run for a moment.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use crate::checkout::Checkout;
use crate::step;
use crate::tool::Tool;

const FUZZ: Tool = Tool { program: "cargo-fuzz", version: "0.13.2", options: &[] };

/// Unless `--minutes` says otherwise, for each target.
const MINUTES: u64 = 5;

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Request {
    /// None for all there are.
    targets: Vec<String>,
    minutes: u64,
}

impl Request {
    fn parse(arguments: &[OsString], known: &[String]) -> Result<Self, String> {
        let mut request = Self { targets: Vec::new(), minutes: MINUTES };
        let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        while let Some(argument) = arguments.next() {
            if argument == "--minutes" {
                let minutes = arguments.next().and_then(|number| number.parse().ok()).filter(|minutes| *minutes > 0);
                request.minutes = minutes.ok_or("--minutes wants a number, from 1 on")?;
            } else if known.iter().any(|target| **target == *argument) {
                request.targets.push(argument.into_owned());
            } else {
                return Err(format!("no target {argument}; there are {}", known.join(", ")));
            }
        }
        Ok(request)
    }
}

/// Builds the fuzzers and runs each for its minutes. What they find new is kept in
/// `target/fuzz/corpus`, what fails in `fuzz/artifacts`.
pub fn fuzz(checkout: &Checkout, arguments: &[OsString]) -> Result<(), String> {
    let known = targets(checkout)?;
    let Request { targets, minutes } = Request::parse(arguments, &known)?;
    let targets = if targets.is_empty() { known } else { targets };
    FUZZ.obtain(checkout)?;
    // A stable compiler counts branches, too; only the sanitizers want another.
    let cargo = |subcommand: &str, target: &str| -> Command {
        let mut cargo = FUZZ.command(checkout);
        cargo.args([subcommand, "--sanitizer", "none", "--fuzz-dir"]).arg(checkout.path("fuzz"));
        cargo.arg("--target-dir").arg(checkout.target_dir().join("fuzz")).arg(target);
        cargo
    };
    for target in &targets {
        step::run(&format!("building the fuzzer {target}"), &mut cargo("build", target))?;
    }
    let mut failed = Vec::new();
    for target in &targets {
        // The first folder is where libFuzzer puts what it finds; what is kept in git it only
        // reads.
        let found = checkout.target_dir().join("fuzz/corpus").join(target);
        fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let mut run = cargo("run", target);
        run.arg(found).arg(checkout.path("fuzz/corpus").join(target)).arg("--");
        run.arg(format!("-max_total_time={}", minutes * 60)).args(["-timeout=20", "-print_final_stats=1"]);
        run.arg(format!("-dict={}", checkout.path("fuzz/words.dict").display()));
        if step::run_for_output(&format!("fuzzing {target} for {minutes} min"), &mut run).is_err() {
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let failed = failed.join(", ");
    Err(format!("inputs that failed are in fuzz/artifacts ({failed}); with its fix, one goes into fuzz/corpus/TARGET"))
}

/// Those that `fuzz/Cargo.toml` has, in its order.
fn targets(checkout: &Checkout) -> Result<Vec<String>, String> {
    let path = checkout.path("fuzz/Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let binaries = text.split("[[bin]]\n").skip(1);
    let names = binaries.filter_map(|binary| binary.strip_prefix("name = \"")?.split('"').next());
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Request, String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Request::parse(&arguments, &["load".to_owned(), "cache".to_owned()])
    }

    #[test]
    fn targets_and_minutes_are_taken_and_others_refused_with_what_there_is() {
        assert_eq!(parse(&[]), Ok(Request { targets: vec![], minutes: MINUTES }));
        assert_eq!(parse(&["load", "--minutes", "2"]), Ok(Request { targets: vec!["load".to_owned()], minutes: 2 }));
        assert_eq!(parse(&["laod"]), Err("no target laod; there are load, cache".to_owned()));
        for wrong in [&["--minutes"][..], &["--minutes", "0"], &["--minutes", "x"]] {
            assert_eq!(parse(wrong), Err("--minutes wants a number, from 1 on".to_owned()));
        }
    }

    #[test]
    fn every_target_has_its_source_and_something_to_begin_with() {
        let checkout = Checkout::find();
        let targets = targets(&checkout).unwrap();
        assert!(targets.len() > 1);
        for target in targets {
            let source = checkout.path("fuzz/targets").join(target.replace('-', "_")).with_extension("rs");
            assert!(source.is_file(), "{}", source.display());
            let corpus = checkout.path("fuzz/corpus").join(&target);
            assert!(fs::read_dir(&corpus).is_ok_and(|mut files| files.next().is_some()), "{}", corpus.display());
        }
    }
}
