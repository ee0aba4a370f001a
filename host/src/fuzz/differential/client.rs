//! The clients of a program's sessions: what each sends, and when, and what was sent to it. No
//! sockets: what they would do by chance, these do by choice.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::choices::Choices;
use super::shape::{Shape, Waits};
use crate::config::{SocketAddress, UnixName};
use crate::sandbox::{Connection, DatagramSocket, Peer};

/// For longer than a guest's memory is left as it is.
const QUIET: Duration = Duration::from_millis(1100);

#[derive(Clone, Debug)]
enum Event {
    Bytes(Vec<u8>),
    /// Nothing yet, and something at the next look.
    Pause,
    Quiet,
    Silence,
    Reset,
}

/// How what is sent to a client goes out.
#[derive(Clone, Copy, Debug)]
enum Takes {
    All,
    /// So many bytes at a time, and every other time none.
    Pieces(usize),
    /// So many bytes, then nothing more and no end.
    Stalls(usize),
    /// So many bytes, then the connection is gone.
    Breaks(usize),
}

/// What one client does.
#[derive(Clone, Debug)]
pub(super) struct Script {
    events: VecDeque<Event>,
    takes: Takes,
    pub(super) client: SocketAddress,
    pub(super) server: SocketAddress,
    /// Where it sends a datagram.
    packet: Option<Arc<[u8]>>,
}

impl Script {
    /// Of the session with this number. No two have the same client.
    pub(super) fn of(choices: &mut Choices<'_>, shape: &Shape, number: usize) -> Self {
        let silences = matches!(shape.waits, Waits::Idle | Waits::Own | Waits::Phase);
        let mut events = VecDeque::new();
        let mut is_quiet = shape.waits == Waits::Rest;
        for _ in 0..choices.below(4) {
            if shape.waits == Waits::None {
                events.extend((0..choices.below(3)).map(|_| Event::Pause));
            }
            // Once is enough, as it takes a second.
            if is_quiet && choices.once_in(2) {
                is_quiet = false;
                events.push_back(Event::Quiet);
            }
            events.push_back(Event::Bytes(command(choices)));
        }
        match choices.below(8) {
            0 => events.push_back(Event::Reset),
            1..4 if silences => events.push_back(Event::Silence),
            _ => {}
        }
        let takes = match choices.below(12) {
            0 | 1 if shape.waits == Waits::None => Takes::Pieces(1 + choices.below(4000)),
            2 => Takes::Breaks(choices.below(4000)),
            // A datagram's guest has no time of its own to set.
            3 if silences && !(shape.datagrams && shape.waits == Waits::Own) => Takes::Stalls(choices.below(4000)),
            _ => Takes::All,
        };
        let port = 40_000 + number as u16;
        let inet = |text: &str| {
            let mut addr: SocketAddr = text.parse().expect("an address");
            addr.set_port(port);
            SocketAddress::Inet(addr)
        };
        let packet = shape.datagrams.then(|| (0..choices.below(3)).flat_map(|_| command(choices)).collect());
        let client = match choices.below(4) {
            // A datagram is answered where the program says that it came from.
            _ if shape.datagrams => SocketAddress::Inet(([127, 0, 0, 1], 4711).into()),
            0 => inet("[2001:db8::17]:1"),
            1 => SocketAddress::Unix(Some(UnixName::of_text(format!("/run/client-{number}").as_bytes()))),
            _ => inet("192.0.2.17:1"),
        };
        Self { events, takes, client, server: inet("127.0.0.1:1"), packet }
    }

    /// All that the client says at once, and no more: what one over a socket can do in one call.
    pub(super) fn said_at_once(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        for event in self.events.drain(..) {
            if let Event::Bytes(bytes) = event {
                all.extend(bytes);
            }
        }
        self.takes = Takes::All;
        self.events.push_back(Event::Bytes(all.clone()));
        all
    }

    /// The client, and what will have been sent to it.
    pub(super) fn play(&self) -> (Peer, Arc<Heard>) {
        let heard = Arc::new(Heard(Mutex::default()));
        let line = Line { events: self.events.clone(), takes: self.takes, heard: heard.clone(), sleep: None };
        let peer = match &self.packet {
            Some(packet) => Peer::Datagram(packet.clone(), Arc::new(Post { takes: self.takes, heard: heard.clone() })),
            None => Peer::Connection(Box::new(line)),
        };
        (peer, heard)
    }
}

/// A secret, and which steps are to be taken, few of them.
fn command(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..16).map(|_| choices.byte()).collect();
    match choices.below(4) {
        0 => {}
        1 => bytes[8..12].fill(0),
        _ => (8..12).for_each(|at| bytes[at] &= choices.byte()),
    }
    bytes.truncate(if choices.once_in(10) { choices.below(17).max(1) } else { 16 });
    bytes
}

/// What was sent to a client.
pub(super) struct Heard(Mutex<Sent>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Each send's bytes of a connection run on; datagrams are apart, each with where it went.
    pub(super) bytes: Vec<u8>,
    pub(super) datagrams: Vec<(Vec<u8>, String)>,
    pub(super) shutdowns: Vec<&'static str>,
    pub(super) closed: bool,
    /// How often anything was tried to be sent.
    tries: usize,
    is_reset: bool,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Sent {
        std::mem::take(&mut *self.lock())
    }

    /// How many bytes go out of so many.
    fn room(&self, takes: Takes, length: usize) -> io::Result<usize> {
        let mut sent = self.lock();
        sent.tries += 1;
        let out = sent.bytes.len() + sent.datagrams.iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
        if sent.is_reset || sent.shutdowns.iter().any(|how| *how != "read") {
            return Err(ErrorKind::BrokenPipe.into());
        }
        match takes {
            Takes::All => Ok(length),
            Takes::Pieces(_) if sent.tries.is_multiple_of(2) => Err(ErrorKind::WouldBlock.into()),
            Takes::Pieces(most) => Ok(length.min(most)),
            Takes::Stalls(most) if out >= most => Err(ErrorKind::WouldBlock.into()),
            Takes::Stalls(most) => Ok(length.min(most - out)),
            Takes::Breaks(most) if out >= most => Err(ErrorKind::BrokenPipe.into()),
            Takes::Breaks(most) => Ok(length.min(most - out)),
        }
    }
}

fn poll_sendable(takes: Takes) -> Poll<io::Result<()>> {
    match takes {
        // Nobody wakes it: only a clock does.
        Takes::Stalls(_) => Poll::Pending,
        _ => Poll::Ready(Ok(())),
    }
}

struct Line {
    events: VecDeque<Event>,
    takes: Takes,
    heard: Arc<Heard>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Connection for Line {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>> {
        loop {
            match self.events.front_mut() {
                None => return Poll::Ready(Ok(0)),
                Some(Event::Bytes(bytes)) => {
                    let taken = bytes.len().min(max);
                    buffer.extend(bytes.drain(..taken));
                    if bytes.is_empty() {
                        self.events.pop_front();
                    }
                    if taken > 0 {
                        return Poll::Ready(Ok(taken));
                    }
                }
                Some(Event::Pause) => {
                    self.events.pop_front();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Event::Quiet) => {
                    let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(QUIET)));
                    if sleep.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.sleep = None;
                    self.events.pop_front();
                }
                Some(Event::Silence) => return Poll::Pending,
                Some(Event::Reset) => {
                    self.heard.lock().is_reset = true;
                    return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
                }
            }
        }
    }

    fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        let taken = self.heard.room(self.takes, data.len())?;
        self.heard.lock().bytes.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    fn poll_sendable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_sendable(self.takes)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.heard.lock().shutdowns.push(match how {
            Shutdown::Read => "read",
            Shutdown::Write => "write",
            Shutdown::Both => "both",
        });
        Ok(())
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.heard.lock().closed = true;
        Box::pin(async {})
    }
}

/// What a datagram came on.
struct Post {
    takes: Takes,
    heard: Arc<Heard>,
}

impl DatagramSocket for Post {
    fn try_send_to(&self, data: &[u8], destination: &SocketAddress, _: Option<&SocketAddress>) -> io::Result<()> {
        if self.heard.room(self.takes, data.len())? < data.len() {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::MSGSIZE.raw_os_error()));
        }
        self.heard.lock().datagrams.push((data.to_vec(), destination.to_string()));
        Ok(())
    }

    fn poll_sendable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_sendable(self.takes)
    }
}
