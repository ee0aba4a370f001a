//! Answers one message of each client in upper case. The twin of `tcp.py`.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, println};

#[wharf_guest::main]
fn handle(connection: Connection) -> Result {
    let message = connection.read_chunk(1024)?;
    let data = message.trim_ascii();
    println!("Received from {}:", connection.peer_addr());
    println!("{}", str::from_utf8(data)?);
    connection.write_all(&data.to_ascii_uppercase())?;
    Ok(())
}
