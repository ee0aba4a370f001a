//! The commands that a README tells its reader to type.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// The commands in the `sh` blocks below `## HEADING`, lines that a backslash continues put
/// together.
pub fn commands(readme: &str, heading: &str) -> Vec<String> {
    let heading = format!("## {heading}");
    let mut commands: Vec<String> = Vec::new();
    let (mut wanted, mut inside, mut continued) = (false, false, false);
    for line in readme.lines().map(str::trim_end) {
        if line.starts_with("## ") {
            wanted = line == heading;
        } else if line.starts_with("```") {
            inside = line == "```sh" && wanted;
        } else if inside {
            let text = line.strip_suffix('\\').unwrap_or(line).trim();
            match commands.last_mut().filter(|_| continued) {
                Some(command) => *command += &format!(" {text}"),
                None => commands.push(text.to_owned()),
            }
            continued = line.ends_with('\\');
        }
    }
    commands
}

/// One of them, with the toolchain that is installed in `home` before everything else on the path.
///
/// # Errors
/// The line names no program.
pub fn command(line: &str, home: &Path) -> Result<Command, String> {
    let mut words = line.split_whitespace().peekable();
    let mut variables = Vec::new();
    while let Some(variable) = words.next_if(|word| word.contains('=')) {
        variables.extend(variable.split_once('='));
    }
    let program = words.next().ok_or_else(|| format!("`{line}` names no program"))?;

    let mut path: OsString =
        env::join_paths([home.join("venv/bin"), home.join("node_modules/.bin")]).map_err(|error| error.to_string())?;
    if let Some(rest) = env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let cache = home.join("cache");
    let mut command = Command::new(program);
    command
        .args(words)
        .env("PATH", path)
        .env("VIRTUAL_ENV", home.join("venv"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ZIG_GLOBAL_CACHE_DIR", &cache)
        .env("GOCACHE", &cache)
        .env("GOPATH", home.join("go"))
        // The Go that was installed, and none that it might fetch.
        .env("GOTOOLCHAIN", "local")
        .envs(variables);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_their_section() {
        let readme = "# X\n```sh\nno\n```\n## Toolchain\nText\n```sh\npip install x\n```\n## Build\n```sh\na -b \\\n   -c\nd\n```\n\
                      ```console\nno\n```\n## Serve\n```sh\nno\n```\n";
        assert_eq!(commands(readme, "Toolchain"), ["pip install x"]);
        assert_eq!(commands(readme, "Build"), ["a -b -c", "d"]);
        assert_eq!(commands(readme, "Test"), [""; 0]);
    }
}
