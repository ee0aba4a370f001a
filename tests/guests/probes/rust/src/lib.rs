//! Shows its client a session's steps, errors, timeouts and addresses: one message is one command.

#![forbid(unsafe_code)]

use std::net::Shutdown;
use std::time::Duration;

use wharf_guest::{Connection, Result, StreamHandler, println};

#[derive(Default)]
struct Probe;

impl StreamHandler for Probe {
    fn setup(&mut self, connection: Connection) -> Result {
        Ok(writeln!(connection, "setup")?)
    }

    fn handle(&mut self, connection: Connection) -> Result {
        loop {
            let message = connection.read_chunk(1024)?;
            if message.is_empty() {
                return Ok(());
            }
            let line = str::from_utf8(&message)?.trim_end();
            match line.split_once(' ').unwrap_or((line, "")) {
                ("addresses", _) => {
                    writeln!(connection, "{} {}", connection.peer_addr(), connection.local_addr())?;
                }
                ("timeout", milliseconds) => {
                    connection.set_timeout(Some(Duration::from_millis(milliseconds.parse()?)));
                    if let Err(error) = connection.read_chunk(1024) {
                        writeln!(connection, "{error}")?;
                    }
                    connection.set_timeout(None);
                }
                ("fail", reason) => return Err(reason.into()),
                ("trap", _) => panic!("told to"),
                ("shutdown", _) => {
                    connection.shutdown(Shutdown::Write)?;
                    writeln!(connection, "too late")?;
                }
                ("print", text) => {
                    println!("{text}");
                    writeln!(connection, "printed")?;
                }
                _ => writeln!(connection, "{line}")?,
            }
        }
    }

    fn finish(&mut self, connection: Connection) -> Result {
        Ok(writeln!(connection, "finish")?)
    }
}

wharf_guest::export!(Probe);
