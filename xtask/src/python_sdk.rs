//! Builds plugins of Python scripts with `guest-sdk/python`, which is installed for it as users
//! install it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::checkout::Checkout;
use crate::folder::Folder;
use crate::{left_out, step};

const SDK: &str = "guest-sdk/python";
/// Where the built plugins go, from the root.
const OUTPUT: &str = "target/examples/python-sdk";
/// What builds the package is fetched.
const INSTALL_LIMIT: Duration = Duration::from_secs(180);
/// Beyond the limits that the build has itself.
const BUILD_LIMIT: Duration = Duration::from_secs(300);

struct Plugin {
    name: &'static str,
    script: &'static str,
    /// The script's own.
    arguments: &'static [&'static str],
}

const PLUGINS: [Plugin; 5] = [
    Plugin { name: "tcp", script: "examples/socketserver/tcp/tcp.py", arguments: &[] },
    Plugin { name: "udp", script: "examples/socketserver/udp/udp.py", arguments: &[] },
    Plugin { name: "commands", script: "tests/python/commands.py", arguments: &[] },
    Plugin { name: "datagrams", script: "tests/python/datagrams.py", arguments: &[] },
    Plugin { name: "web", script: "tests/python/web.py", arguments: &["--directory", "/www", "--port", "8765"] },
];

/// Builds them all with the Python in `toolchain`, as the language's example has left it there.
/// Without it they are left out.
pub fn build(checkout: &Checkout, toolchain: &Path) -> Result<(), String> {
    let python = toolchain.join("venv/bin/python");
    if !python.is_file() {
        left_out::note_unavailable("python", "plugins of Python scripts", "Python's toolchain is not here");
        return Ok(());
    }
    let installed = install(checkout, &python, toolchain);
    let scratch = empty(toolchain.join("plugins"))?;
    let mut folder = Folder::open(checkout.path(OUTPUT))?;
    for Plugin { name, script, arguments } in &PLUGINS {
        let plugin = scratch.join(name).with_extension("wasm");
        let mut command = checkout.command(&python);
        command
            .env("PYTHONPATH", &installed)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["-m", "wharf", "build", script, "-o"])
            .arg(&plugin)
            .arg("--")
            .args(*arguments);
        step::run_within(&format!("guest-sdk/python: {name}"), BUILD_LIMIT, &mut command)?;
        // The manifest first: a server that watches takes a plugin without one for unfinished.
        let manifest = plugin.with_extension("toml");
        if manifest.is_file() {
            folder.put(&manifest, &format!("{name}.toml"))?;
        }
        folder.put(&plugin, &format!("{name}.wasm"))?;
    }
    folder.close().map(drop)
}

/// Where the package is: installed from a wheel, as users have it, or where what builds wheels
/// can't be had, its source.
fn install(checkout: &Checkout, python: &Path, toolchain: &Path) -> PathBuf {
    let installed = toolchain.join("sdk");
    let mut pip: Command = checkout.command(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade", "--target"])
        .arg(&installed)
        .arg(checkout.path(SDK));
    match step::run_within("guest-sdk/python: installing", INSTALL_LIMIT, &mut pip) {
        Ok(()) => installed,
        Err(reason) => {
            step::say(&format!("guest-sdk/python: used from its source, not installed: {reason}"));
            // An older one would pass for this one.
            let _ = fs::remove_dir_all(&installed);
            checkout.path(SDK)
        }
    }
}

fn empty(folder: PathBuf) -> Result<PathBuf, String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => fs::create_dir_all(&folder).map_err(failed)?,
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_is_there() {
        let checkout = Checkout::find();
        for Plugin { script, .. } in &PLUGINS {
            assert!(checkout.path(script).is_file(), "{script}");
        }
    }
}
