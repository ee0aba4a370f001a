//! Builds everything, says what to type, and becomes the server.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::checkout::Checkout;
use crate::plugins::{self, Guest};
use crate::step;

/// How to try each plugin that ships: what to type, with `{}` for the address as `nc` wants it,
/// `-u` included, and what comes of it.
const TRIALS: &[(&str, &str, &str)] = &[
    ("echo", "nc {}", "gives back what you type"),
    ("frames", r"printf '\0\0\0\5hello' | nc {}", "answers 5 bytes as well, olleh"),
    ("greet", "nc {}", "greets you, then answers each line with 好 after it; q ends it"),
    ("lifecycle", "printf hello | nc {}", "answers hello; the log says who came and went"),
    ("talk", "nc {}", "answers what you type; close ends it"),
    ("upper", "printf hello | nc {}", "answers HELLO"),
    ("upper-udp", "printf hello | nc -w1 {}", "answers HELLO"),
];

pub fn serve(checkout: &Checkout, arguments: &[OsString]) -> Result<(), String> {
    step::run("building the host", &mut checkout.build_host())?;
    plugins::build(checkout)?;
    print_trials(&plugins::shipped(checkout)?);

    // In the caller's own folder, against which the paths in its arguments are meant.
    let mut server = Command::new(checkout.host_binary());
    server.arg("serve").arg(near(&checkout.path(plugins::SHIPPED))).args(arguments);
    // Takes this process's place, so that signals reach the server and its exit status is ours.
    let error = server.exec();
    Err(format!("{}: {error}", server.get_program().display()))
}

fn near(path: &Path) -> &Path {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}

/// On stderr as all of xtask's words: stdout is the server's, for its events.
fn print_trials(guests: &[Guest]) {
    let trials: Vec<_> = guests.iter().filter_map(|guest| Some((guest, trial(guest)?))).collect();
    let width = trials.iter().map(|(_, (command, _))| command.chars().count()).max().unwrap_or(0);
    eprintln!("\nOnce they are listening, try them from another terminal:");
    for (guest, (command, outcome)) in &trials {
        eprintln!("  {:<10} {command:<width$}   {outcome}", guest.name);
    }
    eprintln!(
        "\nTo replace one while it serves: edit plugins/upper/src/lib.rs, then `cargo xtask plugins`.\n\
         Ctrl-C ends it.\n"
    );
}

/// What to type for a plugin that listens on TCP or UDP, and what comes of it.
fn trial(guest: &Guest) -> Option<(String, &'static str)> {
    let manifest = fs::read_to_string(guest.manifest()?).ok()?;
    let address = first_inet_address(&manifest)?;
    let (_, command, outcome) = TRIALS.iter().find(|(name, ..)| *name == guest.name).unwrap_or(&("", "nc {}", ""));
    Some((command.replace("{}", &address), outcome))
}

/// The first `tcp://` or `udp://` address among a manifest's `listen`, as `HOST PORT` or
/// `-u HOST PORT`. No TOML parser: its one use would be a hint's, and every command would wait for
/// it to compile.
fn first_inet_address(manifest: &str) -> Option<String> {
    let (option, address) = manifest
        .lines()
        .map(str::trim_start)
        .take_while(|line| !is_table(line))
        .skip_while(|line| !is_listen(line))
        .find_map(|line| inet_url(line.split('#').next()?))?;
    let (host, port) = address.rsplit_once(':')?;
    Some(format!("{option}{} {port}", host.trim_matches(['[', ']'])))
}

/// What `nc` must be told of the line's first such URL, and what follows its scheme.
fn inet_url(line: &str) -> Option<(&'static str, &str)> {
    line.split('"').find_map(|text| {
        let tcp = text.strip_prefix("tcp://").map(|rest| ("", rest));
        tcp.or_else(|| Some(("-u ", text.strip_prefix("udp://")?)))
    })
}

fn is_table(line: &str) -> bool {
    // An address inside a list that spans lines begins with a quote.
    line.starts_with('[')
}

fn is_listen(line: &str) -> bool {
    line.strip_prefix("listen").is_some_and(|rest| rest.trim_start().starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_however_the_list_is_written() {
        let found = Some("127.0.0.1 9999".to_owned());
        for manifest in [
            "listen = \"tcp://127.0.0.1:9999\"",
            "# tcp first\nlisten=[\"tcp://127.0.0.1:9999\", \"tcp://127.0.0.1:1\"]",
            "backlog = 5\nlisten = [\n  # \"tcp://127.0.0.1:1\"\n  \"unix:///run/x\",\n  \"tcp://127.0.0.1:9999\",\n]",
        ] {
            assert_eq!(first_inet_address(manifest), found, "{manifest}");
        }
        assert_eq!(first_inet_address("listen = \"tcp://[::1]:9999\""), Some("::1 9999".to_owned()));
        assert_eq!(first_inet_address("listen = \"udp://[::1]:9999\""), Some("-u ::1 9999".to_owned()));
    }

    #[test]
    fn none_of_the_internet_is_none() {
        for manifest in ["", "listen = \"unix:///run/x\"", "[limits]\nlisten = \"tcp://127.0.0.1:1\""] {
            assert_eq!(first_inet_address(manifest), None, "{manifest}");
        }
    }

    #[test]
    fn every_plugin_that_ships_has_a_trial() {
        for guest in plugins::shipped(&Checkout::find()).unwrap() {
            let (command, outcome) = trial(&guest).unwrap_or_else(|| panic!("{} has no address", guest.name));
            assert!(!outcome.is_empty(), "{}: {command} lacks a line in TRIALS", guest.name);
        }
    }
}
