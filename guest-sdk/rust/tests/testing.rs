//! The client of `wharf_guest::testing`, and each shape of a handler that it serves.

#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use wharf_guest::testing::{Client, serve, serve_datagram};
use wharf_guest::{Address, Connection, Datagram, DatagramHandler, Result, StreamHandler};

fn echo(connection: Connection) -> io::Result<()> {
    loop {
        let bytes = connection.read_chunk(4)?;
        if bytes.is_empty() {
            return Ok(());
        }
        connection.write_all(&bytes)?;
    }
}

#[test]
fn a_client_sends_piece_by_piece_and_then_half_closes() {
    let served = serve(echo, Client::from("one").sends("").sends("two or"));
    assert_eq!(served.writes, [&b"one"[..], b"two ", b"or"]);
    assert_eq!(served.text(), "onetwo or");
    assert_eq!(serve(echo, "").output(), b"");
}

#[test]
fn a_client_that_resets_fails_reads_and_then_writes() {
    let kinds = |connection: Connection| {
        let mut buffer = [0; 9];
        assert_eq!(connection.read(&mut buffer).unwrap(), 3);
        let kinds = [connection.read(&mut buffer).unwrap_err(), connection.write_all(b"x").unwrap_err()];
        assert_eq!(kinds.map(|error| error.kind()), [ErrorKind::ConnectionReset; 2]);
    };
    serve(kinds, Client::from("one").resets());
    assert_eq!(serve(echo, Client::new().resets()).failures, ["handle: connection reset"]);
}

#[test]
fn a_client_that_stops_reading_breaks_the_pipe() {
    let served = serve(echo, Client::from("one").sends("two").stops_reading_after(5));
    assert_eq!((served.writes.concat(), &served.failures[..]), (b"one".to_vec(), &["handle: broken pipe".into()][..]));
}

#[test]
fn a_client_that_pauses_lets_one_read_time_out() {
    let patient = |connection: Connection| {
        connection.set_timeout(Some(Duration::from_secs(5)));
        assert_eq!(connection.read_chunk(9).unwrap_err().kind(), ErrorKind::TimedOut);
        connection.write_all(b"still there?\n").unwrap();
        assert_eq!(connection.read_chunk(9).unwrap(), b"yes");
    };
    let served = serve(patient, Client::new().pauses().sends("yes"));
    assert_eq!(served.timeout, Some(Duration::from_secs(5)));
    assert_eq!(served.text(), "still there?\n");
}

#[test]
fn each_direction_can_be_shut_down() {
    let ends = |connection: Connection| {
        connection.shutdown(Shutdown::Read).unwrap();
        assert_eq!(connection.read_chunk(9).unwrap(), b"");
        connection.shutdown(Shutdown::Write).unwrap();
        assert_eq!(connection.write_all(b"late").unwrap_err().kind(), ErrorKind::BrokenPipe);
    };
    assert_eq!(serve(ends, "hello").output(), b"");
}

#[test]
fn no_client_grants_tls() {
    let start = |connection: Connection| connection.start_tls();
    assert_eq!(serve(start, "").failures, ["handle: the operator has not granted this"]);
}

#[test]
fn a_client_has_the_addresses_that_the_test_gives_it() {
    let local: SocketAddr = "[::1]:80".parse().unwrap();
    let facts = |connection: Connection| write!(connection, "{} {}", connection.peer_addr(), connection.local_addr());
    let client = Client::new().peer_addr(Address::Unix(None)).local_addr(local);
    assert_eq!(serve(facts, client).text(), "unnamed [::1]:80");
}

#[test]
fn formatted_text_is_sent_as_one_piece() {
    let writes = |mut connection: Connection| -> io::Result<()> {
        writeln!(connection, "{} and {}", 1, 2)?;
        Write::write_fmt(&mut &connection, format_args!("{}{}", 3, 4))?;
        Write::write_fmt(&mut connection, format_args!("{}{}", 5, 6))
    };
    assert_eq!(serve(writes, "").writes, [&b"1 and 2\n"[..], b"34", b"56"]);
}

#[test]
fn a_connection_and_a_reference_to_it_are_read_and_write() {
    let copies = |mut connection: Connection| -> Result {
        let mut client = BufReader::new(&connection);
        let mut line = String::new();
        client.read_line(&mut line)?;
        let rest = client.buffer().to_vec();
        connection.write_all(line.to_uppercase().as_bytes())?;
        connection.write_all(&rest)?;
        let mut reader = connection.clone().take(4);
        io::copy(&mut reader, &mut connection)?;
        let mut last = Vec::new();
        connection.read_to_end(&mut last)?;
        Ok(connection.write_all(&last)?)
    };
    assert_eq!(serve(copies, Client::from("one\ntwo ").sends("four").sends("five")).text(), "ONE\ntwo fourfive");
}

/// Notes each call, and fails in `handle`.
#[derive(Default)]
struct Steps {
    calls: u8,
}

impl StreamHandler for Steps {
    fn setup(&mut self, connection: Connection) -> Result {
        self.calls += 1;
        Ok(write!(connection, "setup {} ", self.calls)?)
    }
    fn handle(&mut self, _: Connection) -> Result {
        self.calls += 1;
        Err("no")?
    }
    fn finish(&mut self, connection: Connection) -> Result {
        self.calls += 1;
        Ok(write!(connection, "finish {}", self.calls)?)
    }
}

impl DatagramHandler for Steps {
    fn handle(&mut self, datagram: Datagram) -> Result {
        Ok(datagram.reply(datagram.packet())?)
    }
}

#[test]
fn a_value_is_served_from_setup_to_finish() {
    let served = serve(Steps::default(), "");
    assert_eq!((served.writes.concat(), served.failures), (b"setup 1 finish 3".to_vec(), vec!["handle: no".into()]));
    assert_eq!(serve_datagram(Steps::default(), "packet").packets(), [b"packet"]);
}

#[test]
fn a_datagram_goes_to_its_client_and_where_the_operator_grants_it() {
    let other: Address = SocketAddr::from(([127, 0, 0, 1], 7)).into();
    let sends = |datagram: Datagram| -> io::Result<()> {
        datagram.reply(b"reply")?;
        datagram.send_to(datagram.as_ref(), &SocketAddr::from(([127, 0, 0, 1], 7)).into())
    };
    let denied = serve_datagram(sends, "packet");
    assert_eq!(denied.failures, ["handle: the operator has not granted this"]);
    assert_eq!(denied.sent.len(), 1);
    let granted = serve_datagram(sends, Client::from("packet").with_grant(other.clone()));
    assert_eq!(granted.sent[1], (b"packet".to_vec(), other));
    assert_eq!(serve_datagram(sends, Client::from("packet").resets()).failures, ["handle: connection reset"]);
}

#[test]
#[should_panic(expected = "the handler failed: handle: connection reset")]
fn the_output_of_a_failed_handler_is_a_panic() {
    serve(echo, Client::new().resets()).output();
}

#[test]
#[should_panic(expected = "can't serve a client while it is served itself")]
fn a_handler_is_not_served_inside_another() {
    serve(|_: Connection| drop(serve(echo, "")), "");
}

#[test]
fn a_panic_leaves_nothing_for_the_next_client() {
    let panics = || serve(|_: Connection| -> Result { panic!("asked to") }, "");
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(serve(echo, "next").text(), "next");
}
