//! Talks with each client for as long as it likes, with all of them at once. The twin of
//! `threading_tcp.py`.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;

#[wharf_guest::main]
fn handle(connection: Connection) -> io::Result<()> {
    let port = connection.peer_addr().port().unwrap_or_default();
    loop {
        let data = connection.read_chunk(1024)?;
        if data.is_empty() {
            return Ok(());
        }
        let mut response = format!("{port}: ").into_bytes();
        response.extend(data);
        connection.write_all(&response)?;
    }
}
