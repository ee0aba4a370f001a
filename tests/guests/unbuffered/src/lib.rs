//! Writes a line, and then what its client's line asks for: `whole N` is N bytes in one write,
//! `pieces N` is N writes of one byte. It never flushes.

#![forbid(unsafe_code)]

use std::io::{BufRead, Write};

use wharf_guest::Result;
use wharf_guest::socketserver::{StreamRequest, StreamRequestHandler};

#[derive(Default)]
struct Unbuffered;

impl StreamRequestHandler for Unbuffered {
    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        request.wfile.write_all(b"write data\n")?;
        let mut line = String::new();
        request.rfile.read_line(&mut line)?;
        let (how, number) = line.trim_end().split_once(' ').ok_or("HOW N")?;
        let bytes = vec![b'x'; number.parse()?];
        let piece = if how == "pieces" { 1 } else { bytes.len() };
        for piece in bytes.chunks(piece.max(1)) {
            request.wfile.write_all(piece)?;
        }
        Ok(())
    }
}

wharf_guest::export!(stream_request = Unbuffered);
