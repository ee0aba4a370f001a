//! The clients: one thread that waits for all its sockets at once, so that it costs less than the
//! server it loads.

pub mod bulk;
pub mod connect;
pub mod messages;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::server::Server;

/// How long no answer may come before the server counts as stuck.
const STUCK: Duration = Duration::from_secs(20);

/// What clients connect by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Unix,
    Udp,
}

/// Where clients connect.
#[derive(Clone)]
pub struct Target {
    transport: Transport,
    address: SockAddr,
}

impl Target {
    /// None if the server doesn't listen on that.
    pub fn of(server: &Server, transport: Transport) -> Option<Self> {
        let address = match transport {
            Transport::Tcp => server.tcp?.into(),
            Transport::Unix => SockAddr::unix(server.unix.as_ref()?).ok()?,
            Transport::Udp => server.udp?.into(),
        };
        Some(Self { transport, address })
    }

    pub fn tcp(address: std::net::SocketAddr) -> Self {
        Self { transport: Transport::Tcp, address: address.into() }
    }

    /// What every plugin here answers with itself: upper case, and where there is a stream, a line.
    pub fn message(&self, size: usize) -> Vec<u8> {
        let mut message = vec![b'M'; size];
        if let Some(last) = message.last_mut().filter(|_| self.transport != Transport::Udp) {
            *last = b'\n';
        }
        message
    }

    /// A connected socket. It blocks, so that what is sent is sent; reads say for themselves that
    /// they don't wait.
    pub fn connect(&self) -> Result<Socket> {
        let (domain, kind) = match self.transport {
            Transport::Tcp => (Domain::IPV4, Type::STREAM),
            Transport::Udp => (Domain::IPV4, Type::DGRAM),
            Transport::Unix => (Domain::UNIX, Type::STREAM),
        };
        let socket = Socket::new(domain, kind, None)?;
        socket.connect(&self.address).context("can't connect")?;
        if self.transport == Transport::Tcp {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(socket)
    }

    /// The whole answer to `message` on a connection of its own, whose end is said.
    pub fn ask(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut socket = self.connect()?;
        socket.set_read_timeout(Some(STUCK))?;
        socket.write_all(message)?;
        socket.shutdown(Shutdown::Write)?;
        let mut answer = Vec::with_capacity(message.len());
        socket.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// Connects so many, no more at once than a backlog holds, and brings each part with `begin` to
    /// where it is to be.
    pub fn gather(&self, count: usize, mut begin: impl FnMut(&[Socket]) -> Result<()>) -> Result<Vec<Socket>> {
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let part = self.connect_many(500.min(count - sockets.len()))?;
            begin(&part)?;
            sockets.extend(part);
        }
        Ok(sockets)
    }

    pub fn connect_many(&self, count: usize) -> Result<Vec<Socket>> {
        (0..count).map(|_| self.connect()).collect()
    }
}

/// What a load did.
pub struct Done {
    /// Messages, connections or bytes.
    pub operations: u64,
    pub elapsed: Duration,
    /// In microseconds, of each message or connection.
    pub latencies: Histogram<u64>,
}

/// From 1 µs to a minute, to three digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}

/// Sockets that are waited for together.
struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// Level-triggered, under a number of the caller's.
    fn add(&self, socket: impl AsFd, number: usize, flags: epoll::EventFlags) -> Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(number as u64), flags)?)
    }

    /// What is ready, some at least. It asks again and again, and never sleeps: whoever sleeps has
    /// to be woken, which is an interrupt to another core, and would be the server's to pay for,
    /// the slower ones' most.
    fn wait(&mut self) -> Result<impl Iterator<Item = (usize, epoll::EventFlags)> + use<>> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut since = None;
        self.events.clear();
        while epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&at_once))? == 0 {
            ensure!(since.get_or_insert_with(Instant::now).elapsed() < STUCK, "no answer for {STUCK:?}");
        }
        let ready: Vec<_> = self
            .events
            .iter()
            .map(|event| {
                let (data, flags) = (event.data, event.flags);
                (data.u64() as usize, flags)
            })
            .collect();
        Ok(ready.into_iter())
    }
}

/// How long a load goes on.
#[derive(Clone, Copy)]
struct Until(Instant);

impl Until {
    fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    fn over(self, now: Instant) -> bool {
        now >= self.0
    }
}
