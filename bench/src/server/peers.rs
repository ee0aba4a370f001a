//! What people would run instead. Each is the plainest program that its own documentation would
//! have one write.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use super::{Server, announcing, free_port, spawn, until_listening};
use crate::Bench;

pub fn python(bench: &Bench) -> Result<Server> {
    let mut command = Command::new("python3");
    command.arg(bench.peers.join("threading_server.py"));
    announcing(bench, command)
}

pub fn go(bench: &Bench) -> Result<Server> {
    announcing(bench, Command::new(installed(bench, "echo-go")?))
}

pub fn workerd(bench: &Bench) -> Result<Server> {
    let program = installed(bench, "node_modules/workerd/bin/workerd")?;
    let address = free_port()?;
    let mut command = Command::new(program);
    command
        .args(["serve", "--experimental", "--socket-addr"])
        .arg(format!("tcp={address}"))
        .arg(bench.peers.join("workerd.capnp"));
    on_port(bench, command, address)
}

pub fn tcpserver(bench: &Bench) -> Result<Server> {
    let program = installed(bench, "usr/bin/tcpserver")?;
    let address = free_port()?;
    let mut command = Command::new(program);
    // No look-ups of names, no delay, as many at once as come, TCP_NODELAY.
    command.args(["-HRDl0", "-c", "2000", "-b", "1024", "127.0.0.1", &address.port().to_string(), "cat"]);
    on_port(bench, command, address)
}

/// One that prints nothing, and is told its port.
fn on_port(bench: &Bench, mut command: Command, address: SocketAddr) -> Result<Server> {
    let (mut process, _) = spawn(bench, &mut command)?;
    until_listening(address, &mut process)?;
    let mut server = Server::new(process, tempfile::tempdir()?);
    server.tcp = Some(address);
    Ok(server)
}

/// What `cargo xtask bench` fetched.
fn installed(bench: &Bench, inside: &str) -> Result<PathBuf> {
    let path = bench.installed.join(inside);
    ensure!(path.is_file(), "not installed");
    Ok(path)
}
