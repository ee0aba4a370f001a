//! As many bytes as go, both ways at once.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::{Done, Poll, Until, latencies};

const CHUNK: usize = 64 << 10;

/// Writes 64 KiB at a time to each socket and reads them back for `duration`, then until all has
/// come back. Operations are bytes.
pub fn stream(sockets: Vec<Socket>, duration: Duration) -> Result<Done> {
    let chunk = vec![b'M'; CHUNK];
    let mut buffer = vec![0; CHUNK];
    let mut poll = Poll::new()?;
    for (number, socket) in sockets.iter().enumerate() {
        poll.add(socket, number, EventFlags::IN | EventFlags::OUT)?;
    }
    let until = Until::after(duration);
    let begun = Instant::now();
    let (mut sent, mut received) = (vec![0u64; sockets.len()], vec![0u64; sockets.len()]);
    let mut writing = vec![true; sockets.len()];
    let mut open = sockets.len();
    while open > 0 {
        let over = until.over(Instant::now());
        for (number, flags) in poll.wait()? {
            let socket = &sockets[number];
            if flags.contains(EventFlags::IN) {
                match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                    Ok((0, _)) => {
                        let (out, back) = (sent[number], received[number]);
                        ensure!(out == back, "{out} bytes sent, {back} came back");
                        epoll::delete(&poll.epoll, socket)?;
                        open -= 1;
                        continue;
                    }
                    Ok((length, _)) => received[number] += length as u64,
                    Err(Errno::AGAIN) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if !writing[number] {
                continue;
            }
            if over {
                socket.shutdown(Shutdown::Write)?;
                writing[number] = false;
                epoll::modify(&poll.epoll, socket, EventData::new_u64(number as u64), EventFlags::IN)?;
            } else if flags.contains(EventFlags::OUT) {
                match send(socket, &chunk, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                    Ok(length) => sent[number] += length as u64,
                    Err(Errno::AGAIN) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(Done { operations: received.iter().sum(), elapsed: begun.elapsed(), latencies: latencies() })
}
