//! Connect, a message out, the same back, close.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::{Done, Poll, Target, Until, latencies};

/// As long as the small messages.
const SIZE: usize = 64;

struct Client {
    socket: Socket,
    begun: Instant,
    missing: usize,
}

impl Client {
    fn begin(target: &Target, poll: &Poll, number: usize, message: &[u8]) -> Result<Self> {
        let begun = Instant::now();
        let socket = target.connect()?;
        let taken = send(&socket, message, SendFlags::NOSIGNAL)?;
        ensure!(taken == message.len(), "a message was cut to {taken} bytes");
        poll.add(&socket, number, EventFlags::IN)?;
        Ok(Self { socket, begun, missing: message.len() })
    }
}

/// One connection after the other for `duration`, in `at_once` places. The client closes, as soon
/// as it has its answer.
pub fn one_message_each(target: &Target, at_once: usize, duration: Duration) -> Result<Done> {
    let message = target.message(SIZE);
    let mut poll = Poll::new()?;
    let until = Until::after(duration);
    let begun = Instant::now();
    let mut clients = (0..at_once)
        .map(|number| Client::begin(target, &poll, number, &message).map(Some))
        .collect::<Result<Vec<Option<Client>>>>()?;
    let mut latencies = latencies();
    let (mut operations, mut open) = (0, at_once);
    let mut buffer = [0; SIZE];
    while open > 0 {
        for (number, _) in poll.wait()? {
            let Some(client) = &mut clients[number] else { continue };
            match recv(&client.socket, &mut buffer[..client.missing], RecvFlags::DONTWAIT) {
                Ok((0, _)) => anyhow::bail!("the server closed before it answered"),
                Ok((length, _)) => client.missing -= length,
                Err(Errno::AGAIN) => continue,
                Err(error) => return Err(error.into()),
            }
            if client.missing > 0 {
                continue;
            }
            let now = Instant::now();
            latencies.saturating_record((now - client.begun).as_micros() as u64);
            operations += 1;
            // Closed before the next one opens.
            clients[number] = None;
            if until.over(now) {
                open -= 1;
            } else {
                clients[number] = Some(Client::begin(target, &poll, number, &message)?);
            }
        }
    }
    Ok(Done { operations, elapsed: begun.elapsed(), latencies })
}
