//! Answers one message of each client in upper case. The twin of `tcp.py`.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler, println};

#[derive(Default)]
struct Upper;

impl StreamHandler for Upper {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        let message = connection.recv(1024)?;
        let data = message.trim_ascii();
        println!("Received from {}:", connection.client_address());
        println!("{}", str::from_utf8(data)?);
        connection.send(&data.to_ascii_uppercase())?;
        Ok(())
    }
}

wharf_guest::export!(Upper);
