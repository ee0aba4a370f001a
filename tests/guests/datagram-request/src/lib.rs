//! Does what a datagram's first word says: `empty` writes nothing, `twice A B` writes A and B each
//! by itself, `fail` writes `written` and fails. Any other text is written as it is.

#![forbid(unsafe_code)]

use std::io::{Read, Write};

use wharf_guest::Result;
use wharf_guest::socketserver::{DatagramRequest, DatagramRequestHandler};

#[derive(Default)]
struct Replies;

impl DatagramRequestHandler for Replies {
    fn handle(&mut self, request: &mut DatagramRequest) -> Result {
        let mut text = String::new();
        request.rfile.read_to_string(&mut text)?;
        let mut words = text.split_whitespace();
        match words.next() {
            Some("empty") => {}
            Some("twice") => {
                for word in words {
                    request.wfile.write_all(word.as_bytes())?;
                }
            }
            Some("fail") => {
                request.wfile.write_all(b"written")?;
                Err("asked to fail")?;
            }
            _ => request.wfile.write_all(text.as_bytes())?,
        }
        Ok(())
    }
}

wharf_guest::export!(datagram_request = Replies);
