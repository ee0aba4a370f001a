//! A message out, the same message back, on connections that stay.

use std::collections::VecDeque;
use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::{Done, Poll, STUCK, Until, latencies};

/// Ping-pong on `sockets` for `duration`, `at_once` of them at a time, each in its turn. The server
/// must answer `message` with itself.
pub fn ping_pong(sockets: &[Socket], at_once: usize, message: &[u8], duration: Duration) -> Result<Done> {
    ping_pong_beside(sockets, at_once, message, duration, || Ok(()))
}

/// The same, and `other` is done each time before answers are waited for: on the load's one core,
/// whatever is done beside it has to be done in between.
pub fn ping_pong_beside(
    sockets: &[Socket],
    at_once: usize,
    message: &[u8],
    duration: Duration,
    mut other: impl FnMut() -> Result<()>,
) -> Result<Done> {
    let size = message.len();
    let mut buffer = vec![0; size.max(1)];
    let mut poll = Poll::new()?;
    for (number, socket) in sockets.iter().enumerate() {
        poll.add(socket, number, EventFlags::IN)?;
    }
    let mut waiting: VecDeque<usize> = (0..sockets.len()).collect();
    let mut missing = vec![0; sockets.len()];
    let begun = Instant::now();
    let mut sent = vec![begun; sockets.len()];
    let mut latencies = latencies();
    let (mut operations, mut open) = (0, 0);
    let until = Until::after(duration);

    let say = |number: usize, missing: &mut Vec<usize>, sent: &mut Vec<Instant>, now: Instant| -> Result<()> {
        missing[number] = size;
        sent[number] = now;
        let taken = send(&sockets[number], message, SendFlags::NOSIGNAL)?;
        ensure!(taken == size, "a message of {size} bytes was cut to {taken}");
        Ok(())
    };
    for number in waiting.drain(..at_once) {
        say(number, &mut missing, &mut sent, begun)?;
        open += 1;
    }
    while open > 0 {
        other()?;
        for (number, _) in poll.wait()? {
            match recv(&sockets[number], &mut buffer[..missing[number]], RecvFlags::DONTWAIT) {
                Ok((0, _)) => anyhow::bail!("the server closed a connection"),
                Ok((length, _)) => missing[number] -= length,
                Err(Errno::AGAIN) => continue,
                Err(error) => return Err(error.into()),
            }
            if missing[number] > 0 {
                continue;
            }
            let now = Instant::now();
            latencies.saturating_record((now - sent[number]).as_micros() as u64);
            operations += 1;
            waiting.push_back(number);
            if until.over(now) {
                open -= 1;
            } else if let Some(next) = waiting.pop_front() {
                say(next, &mut missing, &mut sent, now)?;
            }
        }
    }
    Ok(Done { operations, elapsed: begun.elapsed(), latencies })
}

/// One message on each of `sockets`, all out before the first is read, which holds for fewer than a
/// socket buffer's worth.
pub fn once_each(sockets: &[Socket], message: &[u8]) -> Result<()> {
    let mut buffer = vec![0; message.len()];
    for socket in sockets {
        let taken = send(socket, message, SendFlags::NOSIGNAL)?;
        ensure!(taken == message.len(), "a message was cut to {taken} bytes");
    }
    for socket in sockets {
        socket.set_read_timeout(Some(STUCK))?;
        (&*socket).read_exact(&mut buffer)?;
    }
    Ok(())
}
