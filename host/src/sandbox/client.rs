//! One guest's client, and how long it may be waited for.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::contract::{Direction, ErrorCode};
use super::idle::{Expired, IdleTimeout, Wait};
use super::limits::BrokenPipe;
use super::transport::Connection;

/// The most that one `recv` returns, in bytes, whatever was asked for.
const CHUNK: usize = 64 * 1024;

/// The most that is sent in one go, in bytes: then others on the thread have their turn.
pub(super) const STRETCH: usize = 256 * 1024;

/// What was received, on loan from its thread until it has been copied into the guest's memory:
/// once from the kernel and once into the guest, and not in between.
pub(super) type Received = Arc<Vec<u8>>;

thread_local! {
    /// What is read into: a buffer for each session would be touched memory that idle clients hold.
    static BUFFER: RefCell<Received> = RefCell::default();
}

/// Reads `max` bytes at most, and 64 KiB; none is end-of-stream.
pub(super) fn poll_received(
    connection: &mut dyn Connection,
    cx: &mut Context<'_>,
    max: usize,
) -> Poll<io::Result<Received>> {
    BUFFER.with_borrow_mut(|loan| {
        // A guest may give way to others while it makes room for what it received.
        if Arc::get_mut(loan).is_none_or(|buffer| buffer.capacity() == 0) {
            *loan = Arc::new(Vec::with_capacity(CHUNK));
        }
        let buffer = Arc::get_mut(loan).expect("a new one is nobody else's");
        buffer.clear();
        connection.poll_recv(cx, buffer, max.min(CHUNK)).map_ok(|_| loan.clone())
    })
}

/// One guest's client, and how long it may be waited for.
pub(super) struct Client {
    /// None in a call that serves no client, or serves a datagram.
    connection: Option<Box<dyn Connection>>,
    idle: IdleTimeout,
}

/// How an operation on the client went.
pub(super) struct Done<T> {
    pub(super) result: Result<T, ErrorCode>,
    /// Bytes went through, or the guest waited: what the CPU limit counts from.
    pub(super) dealt: bool,
    pub(super) waited: bool,
    /// There is no client any more, and that was heard of once too often.
    pub(super) gone: bool,
}

impl<T> Done<T> {
    fn at_once(result: Result<T, ErrorCode>) -> Self {
        Self { result, dealt: false, waited: false, gone: false }
    }

    pub(super) fn new(result: Result<T, ErrorCode>, moved: bool, wait: &Wait) -> Self {
        Self { result, dealt: moved || wait.suspended, waited: wait.suspended, gone: false }
    }

    /// Counted, where nothing could come of it but this at once.
    fn counted(mut self, idle: &mut IdleTimeout) -> Self {
        self.gone = !self.dealt && idle.in_vain().is_err();
        self
    }
}

impl Client {
    pub(super) fn new(connection: Option<Box<dyn Connection>>, idle: Duration) -> Self {
        Self { connection, idle: IdleTimeout::new(idle) }
    }

    pub(super) fn take(&mut self) -> Option<Box<dyn Connection>> {
        self.connection.take()
    }

    /// # Errors
    /// It has had its time, or there is none.
    pub(super) fn connection(&self) -> Result<&dyn Connection, ErrorCode> {
        self.idle.left()?;
        self.connection.as_deref().ok_or_else(no_connection)
    }

    /// Bytes went through.
    pub(super) fn renew(&mut self) {
        self.idle.renew();
    }

    /// Counts what failed, where there is a client.
    pub(super) fn counted<T>(&mut self, done: Done<T>) -> Done<T> {
        if self.connection.is_some() { done.counted(&mut self.idle) } else { done }
    }

    /// shutdown(2).
    pub(super) fn shutdown(&self, direction: Direction) -> Result<(), ErrorCode> {
        self.connection()?.shutdown(direction.into()).map_err(ErrorCode::from)
    }

    /// Sets the guest's own limit of each wait, in nanoseconds.
    pub(super) fn set_timeout(&mut self, timeout: Option<u64>) {
        self.idle.ask(timeout.map(Duration::from_nanos));
    }

    /// Receives `max` bytes at most. None if the guest may be hibernated meanwhile; the same wait
    /// goes on then.
    pub(super) async fn recv_or_rest(&mut self, max: u32, wait: &mut Wait) -> Option<Done<Received>> {
        let Self { connection, idle } = self;
        let connection = match (idle.left(), connection) {
            (Err(error), _) => return Some(Done::at_once(Err(error)).counted(idle)),
            (Ok(()), None) => return Some(Done::at_once(Err(no_connection()))),
            (Ok(()), Some(connection)) => connection,
        };
        if max == 0 {
            return Some(Done::at_once(Ok(Received::default())));
        }
        let result = poll_fn(|cx| match poll_received(&mut **connection, cx, max as usize) {
            Poll::Ready(received) => Poll::Ready(Some(received.map_err(ErrorCode::from))),
            Poll::Pending => idle.poll_over(cx, wait).map(|over| match over {
                Expired::TimedOut => Some(Err(ErrorCode::TimedOut)),
                Expired::Rest => None,
            }),
        })
        .await?;
        let moved = result.as_ref().is_ok_and(|bytes| !bytes.is_empty());
        // A limit of the guest's own that has run out is not the client's end.
        let may_come = matches!(result, Err(ErrorCode::TimedOut));
        let done = Done::new(result, moved, wait);
        if moved {
            idle.renew();
        } else if !may_come {
            return Some(done.counted(idle));
        }
        Some(done)
    }

    pub(super) async fn recv(&mut self, max: u32) -> Done<Received> {
        let mut wait = Wait::default();
        self.recv_or_rest(max, &mut wait).await.expect("there is no rest in a wait that was not made for it")
    }

    /// Sends what the kernel takes now, and [`STRETCH`] at most; 0 bytes if it takes none.
    ///
    /// # Errors
    /// There is no client any more, and that was heard of once too often. The guest's own are
    /// within.
    pub(super) fn try_send(&mut self, data: &[u8]) -> Result<Result<usize, ErrorCode>, BrokenPipe> {
        let data = &data[..data.len().min(STRETCH)];
        let error = match self.connection().map(|connection| connection.try_send(data)) {
            Ok(Ok(sent)) => {
                self.idle.renew();
                return Ok(Ok(sent));
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Ok(0)),
            Ok(Err(error)) => error.into(),
            Err(error) => error,
        };
        if self.connection.is_some() {
            self.idle.in_vain()?;
        }
        Ok(Err(error))
    }

    /// Waits until `try_send` may take bytes again.
    pub(super) async fn sendable(&mut self, wait: &mut Wait) -> Result<(), ErrorCode> {
        let Self { connection, idle } = self;
        let connection = connection.as_deref().ok_or_else(no_connection)?;
        poll_fn(|cx| match connection.poll_sendable(cx) {
            Poll::Ready(ready) => Poll::Ready(ready.map_err(ErrorCode::from)),
            Poll::Pending => idle.poll_timed_out(cx, wait).map(Err),
        })
        .await
    }
}

fn no_connection() -> ErrorCode {
    ErrorCode::Other("this call serves no connection".to_owned())
}
