//! Listens where the manifest inside it says, with no file beside it. Says `embedded` and closes.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;

#[wharf_guest::main(manifest = "manifest.toml")]
fn handle(connection: Connection) -> io::Result<()> {
    connection.write_all(b"embedded")
}
