//! Talks with each client for as long as it likes, with all of them at once. The twin of `threading_tcp.py`.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

#[derive(Default)]
struct Echo;

impl StreamHandler for Echo {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        let port = connection.client_address().port().unwrap_or_default();
        loop {
            let data = connection.recv(1024)?;
            if data.is_empty() {
                return Ok(());
            }
            let mut response = format!("{port}: ").into_bytes();
            response.extend(data);
            connection.send(&response)?;
        }
    }
}

wharf_guest::export!(Echo);
