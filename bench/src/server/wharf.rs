//! wharf itself: the release binary, with the plugins that ship.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Lines, Process, START, Server, spawn};
use crate::Bench;
use crate::load::Target;

/// Where wharf keeps compiled code.
#[derive(Clone, Copy)]
pub enum CodeCache {
    None,
    /// One for the whole run.
    Shared,
}

/// A `wharf serve` with its folder and its events.
pub struct Wharf {
    process: Process,
    folder: tempfile::TempDir,
    lines: Lines,
}

impl Wharf {
    /// What serves bytes back on all transports, with these settings beside its own.
    pub fn echo(bench: &Bench, settings: &str) -> Result<Server> {
        let folder = tempfile::tempdir()?;
        // As many as the machine allows: no limit of ours is to be what is measured.
        fs::write(folder.path().join("wharf.toml"), "max-connections = 1000000\n")?;
        let unix = folder.path().join("echo.sock");
        put(bench, folder.path(), "echo", settings, &["tcp://127.0.0.1:0", &format!("unix://{}", unix.display())])?;
        put(bench, folder.path(), "upper-udp", settings, &["udp://127.0.0.1:0"])?;
        let wharf = Self::serve(bench, folder, CodeCache::Shared)?;
        let listening = (0..3).map(|_| wharf.listening()).collect::<Result<Vec<_>>>()?;
        let mut server = Server::new(wharf.process, wharf.folder);
        listening.iter().try_for_each(|(url, _)| server.listens(url))?;
        Ok(server)
    }

    /// Serves a folder that has been filled.
    pub fn serve(bench: &Bench, folder: tempfile::TempDir, cache: CodeCache) -> Result<Self> {
        let mut command = Command::new(&bench.wharf);
        command.arg("serve").arg(folder.path()).args(["--log", "error"]);
        match cache {
            CodeCache::None => command.arg("--no-cache"),
            CodeCache::Shared => command.arg("--cache-dir").arg(bench.cache.path()),
        };
        let (process, lines) = spawn(bench, &mut command)?;
        Ok(Self { process, folder, lines })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The rest of the next event of this name.
    pub fn event(&self, name: &str) -> Result<String> {
        let deadline = Instant::now() + START;
        loop {
            let line = self.lines.next(deadline).with_context(|| format!("waiting for `{name}`"))?;
            match line.split_once(' ') {
                Some((event, rest)) if event == name => return Ok(rest.to_owned()),
                Some(("refused" | "failed" | "kept", _)) => anyhow::bail!("{line}"),
                _ => {}
            }
        }
    }

    /// The next URL that is listened on, and whose it is.
    fn listening(&self) -> Result<(String, String)> {
        let rest = self.event("listening")?;
        let (url, plugin) = rest.split_once(' ').context("no plugin")?;
        Ok((url.to_owned(), plugin.to_owned()))
    }

    /// The next plugin that listens on TCP, and where.
    pub fn listening_named(&self) -> Result<(String, Target)> {
        loop {
            let (url, plugin) = self.listening()?;
            if let Some(address) = url.strip_prefix("tcp://") {
                return Ok((plugin, Target::tcp(address.parse()?)));
            }
        }
    }

    /// Where this plugin listens on TCP, once it does.
    pub fn listening_as(&self, plugin: &str) -> Result<Target> {
        loop {
            let (name, target) = self.listening_named()?;
            if name == plugin {
                return Ok(target);
            }
        }
    }
}

/// Puts a shipped plugin into a folder, with its own limits and these addresses.
fn put(bench: &Bench, folder: &Path, plugin: &str, settings: &str, listen: &[&str]) -> Result<()> {
    let manifest = format!("listen = {listen:?}\nmax-connections = 20000\nlimits.memory = \"1MiB\"\n{settings}");
    fs::write(folder.join(plugin).with_extension("toml"), manifest)?;
    let from = bench.plugin(plugin);
    fs::copy(&from, folder.join(plugin).with_extension("wasm")).with_context(|| from.display().to_string())?;
    Ok(())
}
