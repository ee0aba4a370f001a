//! Gives back each line in upper case, until the client ends.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

#[derive(Default)]
struct Upper;

impl StreamHandler for Upper {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        loop {
            let mut heard = connection.recv(65536)?;
            if heard.is_empty() {
                return Ok(());
            }
            heard.retain(|&byte| byte != b'\r');
            heard.make_ascii_uppercase();
            connection.send(&heard)?;
        }
    }
}

wharf_guest::export!(Upper);
