//! One step: a child process that is announced, seen to live, and timed.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a log may stay silent before its reader takes the step for dead.
const TICK: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// All of xtask's own words go to stderr: stdout belongs to the tests' results and to the server's
/// events.
pub fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// Runs `command`, whose output goes to stderr. `what` names the step in every line about it.
pub fn run(what: &str, command: &mut Command) -> Result<(), String> {
    command.stdout(io::stderr());
    watch(what, command, None)
}

/// As [`run`], for what may hang where there is no network: it is ended after `limit`, and asks
/// nothing.
pub fn run_within(what: &str, limit: Duration, command: &mut Command) -> Result<(), String> {
    command.stdin(Stdio::null()).stdout(io::stderr());
    watch(what, command, Some(limit))
}

/// As [`run`], with stdout left as it is.
pub fn run_for_output(what: &str, command: &mut Command) -> Result<(), String> {
    watch(what, command, None)
}

/// What `command` prints, if it can be run and succeeds.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn watch(what: &str, command: &mut Command, limit: Option<Duration>) -> Result<(), String> {
    say(what);
    say(&format!("  $ {}", shown(command)));
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{what}: {}: {error}", command.get_program().display()))?;
    let status = wait(what, &mut child, began, limit)?;
    let took = seconds(began.elapsed());
    if status.success() {
        say(&format!("{what}: done in {took}"));
        Ok(())
    } else {
        Err(format!("{what}: {status} after {took}"))
    }
}

fn wait(what: &str, child: &mut Child, began: Instant, limit: Option<Duration>) -> Result<ExitStatus, String> {
    // A terminal sees the child's own progress bar, which a line of ours would tear.
    let ticking = !io::stderr().is_terminal();
    let mut next_tick = TICK;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| format!("{what}: {error}"))? {
            return Ok(status);
        }
        let elapsed = began.elapsed();
        if let Some(limit) = limit.filter(|limit| elapsed >= *limit) {
            // Whether it can still be killed or has just ended, the time is up.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{what}: no end after {}, stopped", seconds(limit)));
        }
        if ticking && elapsed >= next_tick {
            say(&format!("{what}: still at it after {} s", elapsed.as_secs()));
            next_tick += TICK;
        }
        thread::sleep(POLL);
    }
}

pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The command as one would type it: its environment's changes are the xtask's business.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(program.as_os_str()).display().to_string();
    for argument in command.get_args() {
        // A String takes whatever is written to it.
        let _ = write!(line, " {}", argument.display());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_hangs_is_ended_at_its_limit() {
        let began = Instant::now();
        let reason = run_within("sleeping", Duration::from_millis(100), Command::new("sleep").arg("60")).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(reason, "sleeping: no end after 0.1 s, stopped");
    }

    #[test]
    fn a_step_that_fails_says_how() {
        let reason = run("failing", Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(reason.starts_with("failing: exit status: 3 after "), "{reason}");
        let reason = run("missing", &mut Command::new("/nowhere/program")).unwrap_err();
        assert!(reason.starts_with("missing: /nowhere/program: "), "{reason}");
    }

    #[test]
    fn a_command_is_shown_as_typed() {
        assert_eq!(shown(Command::new("/usr/bin/cargo").args(["build", "--release"])), "cargo build --release");
    }
}
