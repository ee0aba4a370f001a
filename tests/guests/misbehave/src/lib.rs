//! Does what the first line from its client says. `handle` lists the commands; any other line is
//! given back.
//!
//! A command that needs a permission answers its outcome, or `error: …`.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wharf_guest::{Connection, Result, eprintln, println};

#[cfg_attr(target_os = "unknown", path = "system_wasi.rs")]
mod system;

#[wharf_guest::main]
fn handle(connection: Connection) -> Result {
    let mut line = String::new();
    BufReader::new(&connection).read_line(&mut line)?;
    let line = line.trim_end();
    let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
    let answer = match command {
        "panic" => panic!("asked to panic"),
        "exit" => system::exit(argument.parse()?),
        "error" => return Err(argument.into()),
        "spin" => spin(),
        "recurse" => recurse(0).to_string(),
        "grow" => grow(),
        "print" => {
            println!("{argument}");
            "printed".into()
        }
        "stderr" => {
            eprintln!("{argument}");
            "printed".into()
        }
        "env" => system::variable(argument).unwrap_or_else(|| "unset".into()),
        "args" => system::arguments().join(" "),
        "read" => tell(system::read(argument)),
        "write" => {
            let (path, text) = argument.split_once(' ').ok_or("write PATH TEXT")?;
            tell(system::write(path, text).map(|()| "written".into()))
        }
        "listdir" => tell(system::names(argument).map(|names| names.join(" "))),
        "connect" => tell(system::connect(argument).map(|()| "connected".into())),
        "sleep" => {
            system::sleep(Duration::from_millis(argument.parse()?));
            "slept".into()
        }
        "never-read" => loop {
            connection.write_all(&[b'x'; 8 << 10])?;
        },
        "sends" => {
            io::copy(&mut io::repeat(b'x').take(argument.parse()?), &mut &connection)?;
            return Ok(());
        }
        "recv-timeout" => {
            connection.set_timeout(Some(Duration::from_millis(argument.parse()?)));
            match connection.read_chunk(1024) {
                Err(error) if error.kind() == ErrorKind::TimedOut => "timed out".into(),
                received => String::from_utf8(received?)?,
            }
        }
        _ => line.into(),
    };
    connection.write_all(answer.as_bytes())?;
    Ok(())
}

fn tell(result: io::Result<String>) -> String {
    result.unwrap_or_else(|error| format!("error: {error}"))
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Nothing is done after the call that the compiler could turn into a loop, and no memory is
/// touched: it is wasm's own stack that ends, not the one in the plugin's memory.
fn recurse(depth: u64) -> u64 {
    static ENOUGH: AtomicBool = AtomicBool::new(false);
    if ENOUGH.load(Ordering::Relaxed) { depth } else { recurse(depth + 1).rotate_left(3) ^ depth }
}

fn grow() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}
