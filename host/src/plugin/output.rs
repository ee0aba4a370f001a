//! What a guest prints, line by line into the log, as far as the log takes it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::Origin;
use crate::throttle::Topic;

/// The longest line logged as one, in bytes; a longer one is logged in pieces.
const LINE: usize = 4096;

/// A guest's stdout or stderr. Clones write into the same line.
#[derive(Clone)]
pub(super) struct Output(Arc<Mutex<Line>>);

struct Line {
    origin: Arc<Origin>,
    stream: &'static str,
    begun: Vec<u8>,
}

impl Output {
    pub(super) fn new(origin: Arc<Origin>, stream: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Line { origin, stream, begun: Vec::new() })))
    }

    /// From here on it is another client's: what was begun is logged as the one's before.
    pub(super) fn belongs_to(&self, origin: Arc<Origin>) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.end();
        line.origin = origin;
    }

    /// Takes what was printed.
    pub(super) fn push(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in piece.chunks(LINE) {
                if self.begun.len() + piece.len() > LINE {
                    self.log();
                }
                self.begun.extend_from_slice(piece);
            }
            if self.begun.ends_with(b"\n") {
                self.log();
            }
        }
    }

    fn log(&mut self) {
        // A control character takes six in the log.
        let controls = self.begun.iter().filter(|byte| byte.is_ascii_control()).count();
        if self.origin.tally.may_log(Topic::Printed, self.begun.len() + 5 * controls) {
            self.write();
        }
        self.begun.clear();
    }

    /// What a guest says is the value of one field, in quotes, with whatever does not show itself escaped: it can pass neither for a
    /// line of ours, nor for another of its fields, nor move a terminal's cursor.
    fn write(&self) {
        let text = &*String::from_utf8_lossy(self.begun.trim_ascii_end());
        let Origin { plugin, generation, client, .. } = &*self.origin;
        tracing::info!(target: "guest", text, %plugin, %generation, %client, stream = %self.stream);
    }
}

impl Line {
    /// Logs what was begun, if anything was.
    fn end(&mut self) {
        if !self.begun.is_empty() {
            self.log();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
