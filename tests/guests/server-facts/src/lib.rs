//! Says `CLIENT-ADDRESS SERVER-ADDRESS` in one line, and closes.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;

#[wharf_guest::main]
fn handle(connection: Connection) -> io::Result<()> {
    writeln!(connection, "{} {}", connection.peer_addr(), connection.local_addr())
}
