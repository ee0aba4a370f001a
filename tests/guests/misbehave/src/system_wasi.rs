//! What lies outside the sandbox, for the target whose standard library reaches nothing: the same
//! as `system.rs`, through WASI.

use std::io;
use std::time::Duration;

use bindings::wasi::cli::{environment, exit};
use bindings::wasi::clocks::monotonic_clock;
use bindings::wasi::filesystem::preopens;
use bindings::wasi::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

/// No more of WASI than is used here. The enumerations must be whole.
mod bindings {
    wit_bindgen::generate!({ path: "wasi.wit", world: "wharf:fixtures/misbehave", generate_all });
}

/// WASI 0.2 has two statuses only: the host sees 1 for everything but 0.
pub fn exit(status: i32) -> ! {
    exit::exit(if status == 0 { Ok(()) } else { Err(()) });
    unreachable!("exit doesn't return")
}

pub fn variable(name: &str) -> Option<String> {
    environment::get_environment().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

pub fn arguments() -> Vec<String> {
    environment::get_arguments()
}

pub fn read(path: &str) -> io::Result<String> {
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ)?;
    let mut bytes = Vec::new();
    loop {
        let (more, end) = file.read(64 << 10, bytes.len() as u64).map_err(error)?;
        bytes.extend(more);
        if end {
            return String::from_utf8(bytes).map_err(io::Error::other);
        }
    }
}

pub fn write(path: &str, text: &str) -> io::Result<()> {
    let file = open(path, OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE)?;
    let mut written = 0;
    while written < text.len() {
        written += file.write(&text.as_bytes()[written..], written as u64).map_err(error)? as usize;
    }
    Ok(())
}

/// The names in a folder, sorted.
pub fn names(path: &str) -> io::Result<Vec<String>> {
    let entries = open(path, OpenFlags::DIRECTORY, DescriptorFlags::READ)?.read_directory().map_err(error)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.read_directory_entry().map_err(error)? {
        names.push(entry.name);
    }
    names.sort();
    Ok(names)
}

pub fn connect(address: &str) -> io::Result<()> {
    std::net::TcpStream::connect(address).map(drop)
}

pub fn sleep(time: Duration) {
    monotonic_clock::subscribe_duration(time.as_nanos() as u64).block();
}

fn open(path: &str, how: OpenFlags, access: DescriptorFlags) -> io::Result<Descriptor> {
    for (folder, name) in preopens::get_directories() {
        let Some(rest) = path.strip_prefix(&name) else { continue };
        if rest.is_empty() || rest.starts_with('/') || name.ends_with('/') {
            let rest = rest.trim_start_matches('/');
            let rest = if rest.is_empty() { "." } else { rest };
            return folder.open_at(PathFlags::SYMLINK_FOLLOW, rest, how, access).map_err(error);
        }
    }
    Err(io::Error::other("no granted folder has this path"))
}

fn error(code: ErrorCode) -> io::Error {
    io::Error::other(code.to_string())
}
