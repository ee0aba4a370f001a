use std::io::{BufRead, Read};

use super::*;
use crate::fake_host::{heard, leave, say, timeout};
use crate::session::{Handles, Session};

/// One request's way through `H`, and what came of its three methods.
fn serve<H: Handles<R>, R>(session: &Session<H, R>, request: R) -> [Result<(), String>; 3] {
    let setup = session.setup(request);
    if setup.is_err() {
        return [setup, Ok(()), Ok(())];
    }
    [setup, session.handle(), session.finish()]
}

fn stream<H: StreamRequestHandler>() -> [Result<(), String>; 3] {
    serve(&Session::<StreamRequests<H>, _>::new(), Connection::current())
}

fn datagram<H: DatagramRequestHandler>(packet: &str) -> [Result<(), String>; 3] {
    serve(&Session::<DatagramRequests<H>, _>::new(), Datagram::new(packet.into()))
}

fn failed<T>(text: &str) -> Result<T, String> {
    Err(text.into())
}

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
fn unbuffered_as_python_unless_asked() {
    say(["one\nt", "wo\nthree"]);
    assert_eq!(stream::<Unbuffered>(), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(heard(), [&b"ONE"[..], b"TWO", b"THREE"]);
    assert_eq!(timeout(), None);
}

#[test]
fn a_buffered_reply_is_sent_at_finish() {
    let session = Session::<StreamRequests<Buffered>, _>::new();
    say(["one\ntwo\n"]);
    session.setup(Connection::current()).unwrap();
    assert_eq!(timeout(), Some(Duration::from_secs(5)));
    session.handle().unwrap();
    assert!(heard().is_empty());
    session.finish().unwrap();
    assert_eq!(heard(), [b"ONETWO"]);
}

#[test]
fn a_buffered_reply_is_sent_after_a_failed_handle() {
    say(["one\nfail\ntwo\n"]);
    assert_eq!(stream::<Buffered>(), [Ok(()), failed("asked to fail"), Ok(())]);
    assert_eq!(heard(), [b"ONE"]);
}

#[test]
fn a_reply_that_cannot_be_sent_fails_the_session_in_finish() {
    say(["one\n"]);
    leave();
    assert_eq!(stream::<Buffered>(), [Ok(()), Ok(()), failed("broken pipe")]);
}

#[test]
fn a_reused_instance_sends_nobody_what_was_meant_for_another() {
    let session = Session::<StreamRequests<Buffered>, _>::new();
    say(["secret\n"]);
    session.setup(Connection::current()).unwrap();
    session.handle().unwrap();
    say(["hello\n"]);
    assert_eq!(serve(&session, Connection::current()), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(heard(), [b"HELLO"]);
}

/// Writes in each method, and fails in those that its type says.
#[derive(Default)]
struct Phases<const SETUP: bool, const FINISH: bool>;

impl<const SETUP: bool, const FINISH: bool> StreamRequestHandler for Phases<SETUP, FINISH> {
    const WBUFSIZE: usize = 100;

    fn setup(&mut self, request: &mut StreamRequest) -> Result {
        request.wfile.write_all(b"setup ")?;
        if SETUP { Err("setup failed")? } else { Ok(()) }
    }
    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        Ok(request.wfile.write_all(b"handle ")?)
    }
    fn finish(&mut self, request: &mut StreamRequest) -> Result {
        request.wfile.write_all(b"finish")?;
        if FINISH { Err("finish failed")? } else { Ok(()) }
    }
}

impl<const SETUP: bool, const FINISH: bool> DatagramRequestHandler for Phases<SETUP, FINISH> {
    fn setup(&mut self, request: &mut DatagramRequest) -> Result {
        request.wfile.write_all(b"setup ")?;
        if SETUP { Err("setup failed")? } else { Ok(()) }
    }
    fn handle(&mut self, request: &mut DatagramRequest) -> Result {
        Ok(request.wfile.write_all(b"handle ")?)
    }
    fn finish(&mut self, request: &mut DatagramRequest) -> Result {
        request.wfile.write_all(b"finish")?;
        if FINISH { Err("finish failed")? } else { Ok(()) }
    }
}

#[test]
fn the_files_are_open_from_setup_to_finish() {
    for serve in [stream::<Phases<false, false>>, || datagram::<Phases<false, false>>("")] {
        assert_eq!(serve(), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(heard(), [b"setup handle finish"]);
    }
}

#[test]
fn a_failed_finish_keeps_nothing_back() {
    for serve in [stream::<Phases<false, true>>, || datagram::<Phases<false, true>>("")] {
        assert_eq!(serve(), [Ok(()), Ok(()), failed("finish failed")]);
        assert_eq!(heard(), [b"setup handle finish"]);
    }
}

#[test]
fn after_a_failed_setup_nothing_is_sent() {
    for serve in [stream::<Phases<true, false>>, || datagram::<Phases<true, false>>("")] {
        assert_eq!(serve(), [failed("setup failed"), Ok(()), Ok(())]);
        assert!(heard().is_empty());
    }
}

/// Reads a line and a byte through `rfile`, and the rest from the connection.
#[derive(Default)]
struct NothingAhead;

impl StreamRequestHandler for NothingAhead {
    const RBUFSIZE: usize = 0;

    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        let mut line = String::new();
        request.rfile.read_line(&mut line)?;
        request.rfile.read_exact(&mut [0; 2])?;
        let rest = request.connection().recv(100)?;
        request.wfile.write_all(&rest)?;
        Ok(())
    }
}

#[test]
fn without_a_buffer_nothing_is_read_ahead() {
    say(["line\n12rest"]);
    assert_eq!(stream::<NothingAhead>(), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(heard(), [b"rest"]);
}

/// Answers the words of the first line in one piece each.
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
    assert_eq!(datagram::<Words>("one two\nthree"), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(heard(), [b"onetwo"]);
}

#[test]
fn an_empty_reply_is_a_datagram() {
    assert_eq!(datagram::<Words>(""), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(heard(), [b""]);
}

#[test]
fn a_failed_handle_replies_what_it_wrote() {
    assert_eq!(datagram::<Words>("one fail two"), [Ok(()), failed("asked to fail"), Ok(())]);
    assert_eq!(heard(), [b"one"]);
}

#[test]
fn a_reused_instance_has_the_next_packet_alone() {
    let session = Session::<DatagramRequests<Words>, _>::new();
    for word in ["one", "two"] {
        assert_eq!(serve(&session, Datagram::new(word.into())), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(heard(), [word.as_bytes()]);
    }
}

/// Tells what it knows of the request beside the files.
#[derive(Default)]
struct Facts;

impl StreamRequestHandler for Facts {
    fn handle(&mut self, request: &mut StreamRequest) -> Result {
        let facts = format!("{} {}", request.client_address(), request.server_address());
        Ok(request.wfile.write_all(facts.as_bytes())?)
    }
}

impl DatagramRequestHandler for Facts {
    fn handle(&mut self, request: &mut DatagramRequest) -> Result {
        request.rfile.read_exact(&mut [0; 2])?;
        let packet = str::from_utf8(request.packet())?;
        let facts = format!("{} {} {packet}", request.client_address(), request.server_address());
        Ok(request.wfile.write_all(facts.as_bytes())?)
    }
}

#[test]
fn both_ends_and_the_whole_packet_are_known() {
    assert_eq!(stream::<Facts>(), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(heard(), [b"127.0.0.1:1 127.0.0.1:2"]);
    assert_eq!(datagram::<Facts>("packet"), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(heard(), [b"127.0.0.1:1 127.0.0.1:2 packet"]);
}
