//! What a guest prints, line by line into the log, as far as the log takes it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::cpu::{Account, TURN};
use super::request::Origin;
use super::words::LastWords;
use crate::report::LogCategory;

/// The name of the stream that crashes are told on.
const STDERR: &str = "stderr";

/// The longest line logged as one, in bytes; a longer one is logged in pieces.
const LINE: usize = 4096;

/// A guest's stdout or stderr. Clones write into the same line.
#[derive(Clone)]
pub(super) struct Output(Arc<Mutex<OutputLine>>);

struct OutputLine {
    origin: Arc<Origin>,
    stream: &'static str,
    begun: Vec<u8>,
    /// Of stderr alone.
    last_words: LastWords,
    account: Arc<Account>,
    /// For how long the host has worked on what was printed since others on the thread last had
    /// their turn.
    at_once: Duration,
}

/// The most that may be printed by one call that does not wait, in bytes.
const PRINT_ROOM: usize = 64 * 1024;

impl Output {
    pub(super) fn new(origin: Arc<Origin>, stream: &'static str, account: Arc<Account>) -> Self {
        Self(Arc::new(Mutex::new(OutputLine {
            origin,
            stream,
            begun: Vec::new(),
            last_words: LastWords::default(),
            account,
            at_once: Duration::ZERO,
        })))
    }

    fn line(&self) -> MutexGuard<'_, OutputLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on it is another client's: what was begun is logged as the one's before.
    pub(super) fn belongs_to(&self, origin: Arc<Origin>) {
        let mut line = self.line();
        line.end();
        line.last_words.clear();
        line.origin = origin;
    }

    /// What its guest wrote last, where it is stderr.
    pub(super) fn last_words(&self) -> Option<String> {
        self.line().last_words.say()
    }

    /// Takes what was printed.
    pub(super) fn push(&self, bytes: &[u8]) {
        self.line().push(bytes);
    }

    /// The same, with the time that it takes charged to the guest.
    ///
    /// # Errors
    /// The guest has had its time.
    fn charged(&self, bytes: &[u8]) -> wasmtime::Result<()> {
        let mut line = self.line();
        let begun = Instant::now();
        line.push(bytes);
        let took = begun.elapsed();
        line.at_once += took;
        line.account.charge(took)
    }
}

impl OutputLine {
    fn push(&mut self, bytes: &[u8]) {
        if self.stream == STDERR {
            self.last_words.push(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            let line;
            (line, rest) = rest.split_at(end);
            let mut admitted = true;
            for piece in line.chunks(LINE) {
                if self.begun.len() + piece.len() > LINE {
                    admitted = self.log();
                }
                self.begun.extend_from_slice(piece);
            }
            if self.begun.ends_with(b"\n") {
                admitted = self.log();
            }
            if !admitted {
                // Nor is what comes with it, up to the line that is not at its end yet: to ask for
                // each line takes longer than to print it.
                let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let lines = rest[..whole].iter().filter(|byte| **byte == b'\n').count();
                self.origin.stats.suppress(LogCategory::Printed, lines as u64);
                rest = &rest[whole..];
            }
        }
    }

    /// False where the log takes no more.
    fn log(&mut self) -> bool {
        // A control character takes six in the log.
        let controls = self.begun.iter().filter(|byte| byte.is_ascii_control()).count();
        let admitted = self.origin.stats.may_log(LogCategory::Printed, self.begun.len() + 5 * controls);
        if admitted {
            self.write();
        }
        self.begun.clear();
        admitted
    }

    /// What a guest says is the value of one field, in quotes, with whatever does not show itself
    /// escaped: it can pass neither for a line of ours, nor for another of its fields, nor move a
    /// terminal's cursor.
    fn write(&self) {
        let text = &*String::from_utf8_lossy(self.begun.trim_ascii_end());
        let Origin { plugin, generation, client, .. } = &*self.origin;
        tracing::info!(target: "guest", text, %plugin, %generation, %client, stream = %self.stream);
    }
}

impl OutputLine {
    /// Whether others on the thread are to have their turn.
    fn gives_way(&mut self) -> bool {
        let enough = self.at_once >= TURN;
        if enough {
            self.at_once = Duration::ZERO;
        }
        enough
    }

    /// Logs what was begun, if anything was.
    fn end(&mut self) {
        if !self.begun.is_empty() {
            self.log();
        }
    }
}

impl Drop for OutputLine {
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
    async fn ready(&mut self) {
        let gives_way = self.line().gives_way();
        if gives_way {
            tokio::task::yield_now().await;
        }
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > PRINT_ROOM {
            return Err(StreamError::trap("more was written than `check-write` permits"));
        }
        self.charged(&bytes).map_err(StreamError::Trap)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINT_ROOM)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(PRINT_ROOM)];
        Poll::Ready(self.charged(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
