//! The `wharf` command.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use wharf::cli::{Arguments, Command, Exit};
use wharf::cli::{check, dev, serve};
use wharf::listen::activation;
use wharf::plugin::{compiler, examine};
use wharf::report::{self, log};
use wharf::session::child;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status for a wrong command line or configuration.
const WRONG: u8 = 2;
/// How long the reader of our output gets for the last of it.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let sockets = activation::sockets();
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
        Command::Serve(command) => sockets.and_then(|sockets| Ok(serve::serve(command.resolve()?, sockets))),
        Command::Run(command) => sockets.and_then(|sockets| Ok(serve::serve(command.resolve()?, sockets))),
        Command::Dev(command) => sockets.and_then(|sockets| dev::dev(command, sockets)),
        Command::Check(command) => Ok(check::check(&command)),
        Command::New(command) => command.resolve().map(|project| project.make()),
        Command::Schema { of } => {
            Ok(io::stdout().write_all(of.text().as_bytes()).map(|()| ExitCode::SUCCESS).map_err(Into::into))
        }
        Command::Child => Ok(child::run()),
        Command::Examine { seconds } => Ok(examine::run(seconds)),
        Command::Compile { profile, seconds } => Ok(compiler::run(&profile, seconds)),
    };
    report::flush(FLUSH_TIMEOUT);
    log::flush(FLUSH_TIMEOUT);
    match outcome {
        Ok(Ok(status)) => status,
        // The reader of our output has had enough, as `head` does.
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
