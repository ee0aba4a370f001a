//! Answers the first line of each client in upper case. The twin of `lines.py`.

#![forbid(unsafe_code)]

use std::io::{BufRead, Read, Write};
use std::time::Duration;

use wharf_guest::Result;
use wharf_guest::socketserver::{StreamRequest, StreamRequestHandler};

#[derive(Default)]
struct Upper;

impl StreamRequestHandler for Upper {
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));

    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        let mut line = Vec::new();
        request.rfile.by_ref().take(10000).read_until(b'\n', &mut line)?;
        request.wfile.write_all(&line.trim_ascii().to_ascii_uppercase())?;
        request.wfile.write_all(b"\n")?;
        Ok(())
    }
}

wharf_guest::export!(stream_request = Upper);
