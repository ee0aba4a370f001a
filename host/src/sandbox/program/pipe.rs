//! A connection as a program's stdin and stdout.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::super::client::poll_received;
use super::super::cpu::Account;
use super::super::idle::{IdleTimeout, Wait};
use super::super::transport::Connection;

/// The most that is read ahead of the program, and that it may write ahead of the client, in bytes.
const PIPE_ROOM: usize = 64 * 1024;

/// One connection, read as stdin and written as stdout. Clones are ends of the same.
#[derive(Clone)]
pub(super) struct Pipe(Arc<Mutex<Ends>>);

struct Ends {
    /// None once it was taken back.
    connection: Option<Box<dyn Connection>>,
    idle: IdleTimeout,
    /// Read, and not yet asked for.
    incoming: Bytes,
    at_end: bool,
    /// Written, and not yet taken by the kernel.
    outgoing: BytesMut,
    /// What ended it before its time.
    failed: Option<io::ErrorKind>,
    /// Told whenever bytes go through or the program waits: what the CPU limit counts from.
    account: Arc<Account>,
    /// Bytes that were sent since others on the thread last had their turn.
    at_once: usize,
}

/// The reading end.
pub(super) struct Stdin(Pipe);

/// The writing end. Nothing is held back in it: a prompt without a newline goes out at once.
pub(super) struct Stdout(Pipe);

impl Pipe {
    pub(super) fn new(connection: Box<dyn Connection>, idle: Duration, account: Arc<Account>) -> Self {
        Self(Arc::new(Mutex::new(Ends {
            connection: Some(connection),
            idle: IdleTimeout::new(idle),
            incoming: Bytes::new(),
            at_end: false,
            outgoing: BytesMut::new(),
            failed: None,
            account,
            at_once: 0,
        })))
    }

    pub(super) fn stdin(&self) -> Stdin {
        Stdin(self.clone())
    }

    pub(super) fn stdout(&self) -> Stdout {
        Stdout(self.clone())
    }

    /// Waits until the kernel has all that was written, or never will.
    pub(super) async fn drained(&self) {
        let mut wait = Wait::default();
        poll_fn(|cx| self.ends().poll_drained(cx, &mut wait)).await;
    }

    /// Takes the connection back; the ends are closed from then on.
    pub(super) fn take(&self) -> Option<Box<dyn Connection>> {
        self.ends().connection.take()
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    /// Ready once there is something to read, or there never will be.
    fn poll_filled(&mut self, cx: &mut Context<'_>, wait: &mut Wait) -> Poll<()> {
        if !self.incoming.is_empty() || self.at_end || self.failed.is_some() {
            return Poll::Ready(());
        }
        let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
        match poll_received(&mut **connection, cx, PIPE_ROOM) {
            Poll::Ready(Ok(received)) if received.is_empty() => self.at_end = true,
            Poll::Ready(Ok(received)) => {
                // A copy of what came: the buffer is wanted back long before the program is done
                // with it.
                self.incoming = Bytes::copy_from_slice(&received);
                self.dealt();
            }
            // Its session is to end soon. A program knows what to do at the end of its stdin.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => self.at_end = true,
            Poll::Ready(Err(error)) => self.failed = Some(error.kind()),
            Poll::Pending => ready!(self.poll_timed_out(cx, wait)),
        }
        Poll::Ready(())
    }

    /// Ready once nothing waits to be written, or there is no use in waiting.
    fn poll_drained(&mut self, cx: &mut Context<'_>, wait: &mut Wait) -> Poll<()> {
        loop {
            self.send();
            if self.outgoing.is_empty() || self.failed.is_some() {
                return Poll::Ready(());
            }
            let Some(connection) = &self.connection else { return Poll::Ready(()) };
            match connection.poll_sendable(cx) {
                Poll::Ready(Ok(())) => wait.again(),
                Poll::Ready(Err(error)) => self.failed = Some(error.kind()),
                Poll::Pending => return self.poll_timed_out(cx, wait),
            }
        }
    }

    fn poll_timed_out(&mut self, cx: &mut Context<'_>, wait: &mut Wait) -> Poll<()> {
        let timed_out = self.idle.poll_timed_out(cx, wait);
        self.account.dealt(wait.suspended);
        self.at_once = 0;
        ready!(timed_out);
        self.failed = Some(io::ErrorKind::TimedOut);
        Poll::Ready(())
    }

    /// Sends what the kernel takes now.
    fn send(&mut self) {
        while let (false, None, Some(connection)) = (self.outgoing.is_empty(), self.failed, &self.connection) {
            match connection.try_send(&self.outgoing) {
                Ok(sent) => {
                    self.outgoing.advance(sent);
                    self.at_once += sent;
                    self.dealt();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.failed = Some(error.kind()),
            }
        }
    }

    fn dealt(&mut self) {
        self.idle.renew();
        self.account.dealt(true);
    }

    /// None at the end.
    fn read(&mut self, size: usize) -> Result<Option<Bytes>, StreamError> {
        if !self.incoming.is_empty() {
            let size = size.min(self.incoming.len());
            return Ok(Some(self.incoming.split_to(size)));
        }
        match self.failed {
            Some(kind) => Err(self.in_vain(kind.into())),
            None if self.at_end || self.connection.is_none() => {
                self.idle.in_vain().map_err(|gone| StreamError::Trap(gone.into()))?;
                Ok(None)
            }
            None => Ok(Some(Bytes::new())),
        }
    }

    /// The error for a program that reads or writes where there is no client any more.
    fn in_vain(&mut self, error: io::Error) -> StreamError {
        match self.idle.in_vain() {
            Ok(()) => stream_error(error),
            Err(gone) => StreamError::Trap(gone.into()),
        }
    }

    /// Whether so much was sent without a wait that others are to have their turn.
    fn gives_way(&mut self) -> bool {
        let enough = self.at_once >= PIPE_ROOM;
        if enough {
            self.at_once = 0;
        }
        enough
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        self.checked().map_err(|error| self.in_vain(error))?;
        self.outgoing.extend_from_slice(bytes);
        self.send();
        Ok(())
    }

    /// # Errors
    /// Why nothing can be written.
    fn checked(&self) -> io::Result<()> {
        match self.failed {
            // Writing to a peer that is gone is a broken pipe, whatever reading from it was.
            Some(io::ErrorKind::ConnectionReset) => Err(io::ErrorKind::BrokenPipe.into()),
            Some(kind) => Err(kind.into()),
            None if self.connection.is_none() => Err(io::ErrorKind::BrokenPipe.into()),
            None => Ok(()),
        }
    }
}

fn stream_error(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(error.into()),
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        let mut wait = Wait::default();
        poll_fn(|cx| self.0.ends().poll_filled(cx, &mut wait)).await;
    }
}

#[async_trait]
impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.0.ends().read(size)?.ok_or(StreamError::Closed)
    }
}

#[async_trait]
impl Pollable for Stdout {
    async fn ready(&mut self) {
        let gives_way = self.0.ends().gives_way();
        if gives_way {
            tokio::task::yield_now().await;
        }
        self.0.drained().await;
    }
}

#[async_trait]
impl OutputStream for Stdout {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.ends().write(&bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let mut ends = self.0.ends();
        ends.send();
        match (ends.outgoing.is_empty(), ends.failed) {
            (_, Some(_)) => {
                let error = ends.checked().err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                Err(ends.in_vain(error))
            }
            (true, None) => Ok(PIPE_ROOM),
            (false, None) => Ok(0),
        }
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl IsTerminal for Stdout {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(Self(self.0.clone()))
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(Self(self.0.clone()))
    }
}

impl StdoutStream for Stdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Self(self.0.clone()))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(self.0.clone()))
    }
}

impl AsyncRead for Stdin {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.0.ends();
        ready!(ends.poll_filled(cx, &mut Wait::default()));
        if let Some(bytes) = ends.read(buffer.remaining()).map_err(io::Error::other)? {
            buffer.put_slice(&bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stdout {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.ends();
        ready!(ends.poll_drained(cx, &mut Wait::default()));
        let bytes = &bytes[..bytes.len().min(PIPE_ROOM)];
        Poll::Ready(ends.write(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.ends().poll_drained(cx, &mut Wait::default()).map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
