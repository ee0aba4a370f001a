//! Answers each line in upper case, until the client's end of stream or the line `fail`, at which
//! it fails. Both ways the answers are sent when it has finished.

#![forbid(unsafe_code)]

use std::io::{BufRead, Write};

use wharf_guest::Result;
use wharf_guest::socketserver::{StreamRequest, StreamRequestHandler};

#[derive(Default)]
struct Lines;

impl StreamRequestHandler for Lines {
    /// More than the tests' answers take together.
    const WBUFSIZE: usize = 64 << 10;

    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        for line in (&mut request.rfile).lines() {
            let line = line?;
            writeln!(request.wfile, "{}", line.to_uppercase())?;
            if line == "fail" {
                Err("asked to fail")?;
            }
        }
        Ok(())
    }
}

wharf_guest::export!(stream_request = Lines);
