//! The handlers of `wharf_guest::socketserver`, which do as Python's.

#![forbid(unsafe_code)]

use std::io::{BufRead, Read, Write};
use std::time::Duration;

use wharf_guest::Result;
use wharf_guest::socketserver::{DatagramRequest, DatagramRequestHandler, StreamRequest, StreamRequestHandler};
use wharf_guest::testing::{Client, serve, serve_datagram};

/// Answers each line in upper case, and fails at the line `fail`.
fn answer(request: &mut StreamRequest) -> Result {
    for line in request.rfile.by_ref().lines() {
        let line = line?;
        if line == "fail" {
            Err("asked to fail")?;
        }
        request.wfile.write_all(line.to_uppercase().as_bytes())?;
    }
    Ok(())
}

#[derive(Default)]
struct Unbuffered;

impl StreamRequestHandler for Unbuffered {
    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        answer(request)
    }
}

#[derive(Default)]
struct Buffered;

impl StreamRequestHandler for Buffered {
    const WBUFSIZE: usize = 100;
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(5));

    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        answer(request)
    }
}

#[test]
fn without_settings_nothing_is_buffered_and_no_wait_is_bounded() {
    let served = serve(Unbuffered, Client::from("one\nt").sends("wo\nthree"));
    assert_eq!(served.writes, [&b"ONE"[..], b"TWO", b"THREE"]);
    assert_eq!((served.timeout, served.failures), (None, vec![]));
}

#[test]
fn a_buffered_reply_is_sent_at_finish() {
    let served = serve(Buffered, "one\ntwo\n");
    assert_eq!(served.writes, [b"ONETWO"]);
    assert_eq!((served.timeout, served.failures), (Some(Duration::from_secs(5)), vec![]));
}

#[test]
fn a_buffered_reply_is_sent_after_a_failed_handle() {
    let served = serve(Buffered, "one\nfail\ntwo\n");
    assert_eq!(served.failures, ["handle: asked to fail"]);
    assert_eq!(served.writes, [b"ONE"]);
}

#[test]
fn a_reply_that_cannot_be_sent_fails_the_session_in_finish() {
    let served = serve(Buffered, Client::from("one\n").stops_reading_after(0));
    assert_eq!(served.failures, ["finish: broken pipe"]);
}

/// Writes in each method, and fails in those that its type names.
#[derive(Default)]
struct Phases<const SETUP: bool, const FINISH: bool>;

impl<const SETUP: bool, const FINISH: bool> StreamRequestHandler for Phases<SETUP, FINISH> {
    const WBUFSIZE: usize = 100;

    fn setup(&mut self, request: &mut StreamRequest) -> Result {
        request.wfile.write_all(b"setup ")?;
        if SETUP { Err("no")? } else { Ok(()) }
    }
    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        Ok(request.wfile.write_all(b"handle ")?)
    }
    fn finish(&mut self, request: &mut StreamRequest) -> Result {
        request.wfile.write_all(b"finish")?;
        if FINISH { Err("no")? } else { Ok(()) }
    }
}

impl<const SETUP: bool, const FINISH: bool> DatagramRequestHandler for Phases<SETUP, FINISH> {
    fn setup(&mut self, request: &mut DatagramRequest) -> Result {
        request.wfile.write_all(b"setup ")?;
        if SETUP { Err("no")? } else { Ok(()) }
    }
    fn handle(&mut self, request: &mut DatagramRequest) -> Result {
        Ok(request.wfile.write_all(b"handle ")?)
    }
    fn finish(&mut self, request: &mut DatagramRequest) -> Result {
        request.wfile.write_all(b"finish")?;
        if FINISH { Err("no")? } else { Ok(()) }
    }
}

/// The writes and failures that a connection and a datagram have alike.
fn phases<const SETUP: bool, const FINISH: bool>() -> (Vec<Vec<u8>>, Vec<String>) {
    let stream = serve(Phases::<SETUP, FINISH>, "");
    let datagram = serve_datagram(Phases::<SETUP, FINISH>, "");
    let packets: Vec<_> = datagram.sent.into_iter().map(|(packet, _)| packet).collect();
    assert_eq!((&packets, &datagram.failures), (&stream.writes, &stream.failures));
    (packets, datagram.failures)
}

#[test]
fn the_files_are_open_from_setup_to_finish() {
    assert_eq!(phases::<false, false>(), (vec![b"setup handle finish".to_vec()], vec![]));
}

#[test]
fn a_failed_finish_keeps_nothing_back() {
    assert_eq!(phases::<false, true>(), (vec![b"setup handle finish".to_vec()], vec!["finish: no".into()]));
}

#[test]
fn after_a_failed_setup_nothing_is_sent() {
    assert_eq!(phases::<true, false>(), (vec![], vec!["setup: no".into()]));
}

/// Reads a line and two bytes through `rfile`, and the rest from the connection.
#[derive(Default)]
struct NothingAhead;

impl StreamRequestHandler for NothingAhead {
    const RBUFSIZE: usize = 0;

    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        let mut line = String::new();
        request.rfile.read_line(&mut line)?;
        request.rfile.read_exact(&mut [0; 2])?;
        let rest = request.connection().read_chunk(100)?;
        Ok(request.wfile.write_all(&rest)?)
    }
}

#[test]
fn without_a_buffer_nothing_is_read_ahead() {
    assert_eq!(serve(NothingAhead, "line\n12rest").text(), "rest");
}

/// Answers the words of the first line, each with a write of its own.
#[derive(Default)]
struct Words;

impl DatagramRequestHandler for Words {
    fn handle(&mut self, request: &mut DatagramRequest) -> Result {
        let mut line = String::new();
        request.rfile.read_line(&mut line)?;
        for word in line.split_whitespace() {
            if word == "fail" {
                Err("asked to fail")?;
            }
            request.wfile.write_all(word.as_bytes())?;
        }
        Ok(())
    }
}

#[test]
fn a_reply_of_several_pieces_is_one_datagram() {
    assert_eq!(serve_datagram(Words, "one two\nthree").packets(), [b"onetwo"]);
}

#[test]
fn an_empty_reply_is_a_datagram() {
    assert_eq!(serve_datagram(Words, "").packets(), [b""]);
}

#[test]
fn a_failed_handle_replies_with_what_it_wrote() {
    let served = serve_datagram(Words, "one fail two");
    assert_eq!(served.failures, ["handle: asked to fail"]);
    assert_eq!(served.sent[0].0, b"one");
}

/// Answers with both addresses, and with a datagram's packet.
#[derive(Default)]
struct Facts;

impl StreamRequestHandler for Facts {
    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        Ok(write!(request.wfile, "{} {}", request.client_address(), request.server_address())?)
    }
}

impl DatagramRequestHandler for Facts {
    fn handle(&mut self, request: &mut DatagramRequest) -> Result {
        request.rfile.read_exact(&mut [0; 2])?;
        let packet = str::from_utf8(request.packet())?.to_owned();
        let (client, server) = (request.client_address(), request.server_address());
        Ok(write!(request.wfile, "{client} {server} {packet}")?)
    }
}

#[test]
fn both_addresses_and_the_whole_packet_are_known() {
    let served = serve(Facts, "");
    assert_eq!(served.writes.concat(), b"127.0.0.1:50000 127.0.0.1:9999");
    assert_eq!(serve_datagram(Facts, "packet").packets(), [b"127.0.0.1:50000 127.0.0.1:9999 packet"]);
}
