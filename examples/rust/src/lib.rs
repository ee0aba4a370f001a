//! Gives back each line in upper case, until the client ends.

#![forbid(unsafe_code)]

use std::io;

use wharf_guest::Connection;

/// Serves one client, in a sandbox of its own.
#[wharf_guest::main]
fn handle(connection: Connection) -> io::Result<()> {
    loop {
        let mut bytes = connection.read_chunk(65536)?;
        if bytes.is_empty() {
            return Ok(());
        }
        bytes.retain(|&byte| byte != b'\r');
        bytes.make_ascii_uppercase();
        connection.write_all(&bytes)?;
    }
}

#[cfg(test)]
mod tests {
    use wharf_guest::testing::{Client, serve};

    use super::*;

    #[test]
    fn lines_come_back_in_upper_case() {
        assert_eq!(serve(handle, "hello\r\nthere").text(), "HELLO\nTHERE");
    }

    #[test]
    fn the_answer_comes_at_once() {
        let client = Client::new().sends("hel").sends("lo\n");
        assert_eq!(serve(handle, client).writes, [b"HEL", b"LO\n"]);
    }
}
