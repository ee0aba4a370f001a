//! Listens where the manifest inside it says, with no file beside it. Says `embedded` and closes.

#![forbid(unsafe_code)]

use wharf_guest::{Connection, Result, StreamHandler};

#[derive(Default)]
struct Embedded;

impl StreamHandler for Embedded {
    fn handle(&mut self, connection: &mut Connection) -> Result {
        connection.send(b"embedded")?;
        Ok(())
    }
}

wharf_guest::export!(Embedded, manifest = "manifest.toml");
