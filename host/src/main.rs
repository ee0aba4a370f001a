//! The `wharf` command.

#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use wharf::cli::{Arguments, Command, Exit};
use wharf::{check, child, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status for a wrong command line or configuration.
const WRONG: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(Exit::Asked(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Exit::Wrong(line)) => {
            eprintln!("wharf: {line}");
            return ExitCode::from(WRONG);
        }
    };
    let outcome = match arguments.command {
        Command::Serve(command) => command.resolve().map(serve::serve),
        Command::Run(command) => command.resolve().map(serve::serve),
        Command::Check(command) => Ok(check::check(&command)),
        Command::New(command) => command.resolve().map(|project| project.make()),
        Command::Child => Ok(child::run()),
    };
    match outcome {
        Ok(Ok(status)) => status,
        // Whoever read our output has had enough, as `head` does.
        Ok(Err(error)) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            eprintln!("wharf: {error:#}");
            ExitCode::FAILURE
        }
        Err(wrong) => {
            eprintln!("wharf: {wrong}");
            ExitCode::from(WRONG)
        }
    }
}
