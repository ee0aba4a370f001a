//! What lies outside the sandbox, as the standard library reaches for it.

use std::net::TcpStream;
use std::time::Duration;
use std::{env, fs, io, process, thread};

/// WASI 0.2 has two statuses only: the host sees 1 for everything but 0.
pub fn exit(status: i32) -> ! {
    process::exit(status)
}

pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

pub fn arguments() -> Vec<String> {
    env::args().collect()
}

pub fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path)
}

pub fn write(path: &str, text: &str) -> io::Result<()> {
    fs::write(path, text)
}

/// The names in a folder, sorted.
pub fn names(path: &str) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

pub fn connect(address: &str) -> io::Result<()> {
    TcpStream::connect(address).map(drop)
}

pub fn sleep(time: Duration) {
    thread::sleep(time);
}
