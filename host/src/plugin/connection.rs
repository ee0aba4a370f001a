//! The client as its guest sees it: the `connection` interface of the contract, with its waits bounded.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::contract::{Address, Direction, ErrorCode, PACKAGE, VERSION};
use super::fault::BrokenPipe;
use super::instance::State;
use super::patience::{Over, Patience, Wait};

/// A client's connection, as much of it as a guest needs. Implemented where sockets are known; called here.
pub trait Connection: Send + Sync {
    /// Reads `max` bytes at most, behind what `buffer` has; 0 bytes is end-of-stream.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>>;
    /// Writes what can be written now; `WouldBlock` if that is nothing.
    fn try_send(&self, data: &[u8]) -> io::Result<usize>;
    /// Waits until something can be written again.
    fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// Closes such that the client gets all that was sent.
    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The most that one `recv` returns, in bytes, whatever was asked for.
const CHUNK: usize = 64 * 1024;

/// The most that is sent in one go, in bytes: then others on the thread have their turn.
const STRETCH: usize = 256 * 1024;

/// What was received, on loan from its thread until it has been copied into the guest's memory: once from the kernel and
/// once into the guest, and not in between.
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
    patience: Patience,
}

/// How an operation on the client went.
pub(super) struct Done<T> {
    pub(super) result: Result<T, ErrorCode>,
    /// Bytes went through, or the guest waited: what the CPU limit counts from.
    pub(super) dealt: bool,
    pub(super) waited: bool,
    /// There is no client any more, and that was heard of once too often.
    gone: bool,
}

impl<T> Done<T> {
    fn at_once(result: Result<T, ErrorCode>) -> Self {
        Self { result, dealt: false, waited: false, gone: false }
    }

    pub(super) fn new(result: Result<T, ErrorCode>, moved: bool, wait: &Wait) -> Self {
        Self { result, dealt: moved || wait.suspended, waited: wait.suspended, gone: false }
    }

    /// Counted, where nothing could come of it but this at once.
    fn counted(mut self, patience: &mut Patience) -> Self {
        self.gone = !self.dealt && patience.in_vain().is_err();
        self
    }
}

impl Client {
    pub(super) fn new(connection: Option<Box<dyn Connection>>, idle: Duration) -> Self {
        Self { connection, patience: Patience::new(idle) }
    }

    pub(super) fn take(&mut self) -> Option<Box<dyn Connection>> {
        self.connection.take()
    }

    fn connection(&self) -> Result<&dyn Connection, ErrorCode> {
        self.patience.left()?;
        self.connection.as_deref().ok_or_else(no_connection)
    }

    /// shutdown(2).
    pub(super) fn shutdown(&self, direction: Direction) -> Result<(), ErrorCode> {
        self.connection()?.shutdown(direction.into()).map_err(ErrorCode::from)
    }

    /// Sets the guest's own limit of each wait, in nanoseconds.
    pub(super) fn set_timeout(&mut self, timeout: Option<u64>) {
        self.patience.ask(timeout.map(Duration::from_nanos));
    }

    /// Receives `max` bytes at most. None where the guest may be laid to rest meanwhile; the same wait goes on then.
    pub(super) async fn recv_or_rest(&mut self, max: u32, wait: &mut Wait) -> Option<Done<Received>> {
        let Self { connection, patience } = self;
        let connection = match (patience.left(), connection) {
            (Err(error), _) => return Some(Done::at_once(Err(error)).counted(patience)),
            (Ok(()), None) => return Some(Done::at_once(Err(no_connection()))),
            (Ok(()), Some(connection)) => connection,
        };
        if max == 0 {
            return Some(Done::at_once(Ok(Received::default())));
        }
        let result = poll_fn(|cx| match poll_received(&mut **connection, cx, max as usize) {
            Poll::Ready(received) => Poll::Ready(Some(received.map_err(ErrorCode::from))),
            Poll::Pending => patience.poll_over(cx, wait).map(|over| match over {
                Over::TimedOut => Some(Err(ErrorCode::TimedOut)),
                Over::Rest => None,
            }),
        })
        .await?;
        let moved = result.as_ref().is_ok_and(|bytes| !bytes.is_empty());
        // A limit of the guest's own that has run out is not the client's end.
        let may_come = matches!(result, Err(ErrorCode::TimedOut));
        let done = Done::new(result, moved, wait);
        if moved {
            patience.renew();
        } else if !may_come {
            return Some(done.counted(patience));
        }
        Some(done)
    }

    async fn recv(&mut self, max: u32) -> Done<Received> {
        let mut wait = Wait::default();
        self.recv_or_rest(max, &mut wait).await.expect("there is no rest in a wait that was not made for it")
    }

    /// Sends what the kernel takes now, and [`STRETCH`] at most; 0 bytes if it takes none.
    ///
    /// # Errors
    /// There is no client any more, and that was heard of once too often. The guest's own are within.
    pub(super) fn try_send(&mut self, data: &[u8]) -> Result<Result<usize, ErrorCode>, BrokenPipe> {
        let data = &data[..data.len().min(STRETCH)];
        let error = match self.connection().map(|connection| connection.try_send(data)) {
            Ok(Ok(sent)) => {
                self.patience.renew();
                return Ok(Ok(sent));
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Ok(0)),
            Ok(Err(error)) => error.into(),
            Err(error) => error,
        };
        if self.connection.is_some() {
            self.patience.in_vain()?;
        }
        Ok(Err(error))
    }

    /// Waits until `try_send` may take bytes again.
    async fn sendable(&mut self, wait: &mut Wait) -> Result<(), ErrorCode> {
        let Self { connection, patience } = self;
        let connection = connection.as_deref().ok_or_else(no_connection)?;
        poll_fn(|cx| match connection.poll_sendable(cx) {
            Poll::Ready(ready) => Poll::Ready(ready.map_err(ErrorCode::from)),
            Poll::Pending => patience.poll_timed_out(cx, wait).map(Err),
        })
        .await
    }
}

fn no_connection() -> ErrorCode {
    ErrorCode::Other("this call serves no connection".to_owned())
}

/// What a dealing with the client means to the CPU meter.
///
/// # Errors
/// What ends the guest. Its own are within.
pub(super) fn settle<T>(
    store: &mut StoreContextMut<'_, State>,
    done: Done<T>,
) -> wasmtime::Result<Result<T, ErrorCode>> {
    if done.gone {
        return Err(BrokenPipe.into());
    }
    if done.dealt {
        store.data_mut().cpu.reset();
    }
    if done.waited {
        // Epochs went by meanwhile that the guest did not run in.
        store.set_epoch_deadline(1);
    }
    Ok(done.result)
}

/// Bytes in a guest's memory that it sends. They are written straight from there: it stands still while it waits in this call.
pub(super) trait Outgoing {
    fn bytes<'a>(&self, store: &'a StoreContextMut<'_, State>) -> &'a [u8];
}

impl Outgoing for WasmList<u8> {
    fn bytes<'a>(&self, store: &'a StoreContextMut<'_, State>) -> &'a [u8] {
        self.as_le_slice(store)
    }
}

pub(super) async fn send(store: &mut StoreContextMut<'_, State>, data: &impl Outgoing) -> Done<()> {
    let (mut sent, mut at_once, mut wait) = (0, 0, Wait::default());
    let result = loop {
        let data = data.bytes(store);
        if sent == data.len() {
            break Ok(());
        }
        match store
            .data()
            .client
            .connection()
            .map(|connection| connection.try_send(&data[sent..][..STRETCH.min(data.len() - sent)]))
        {
            Err(error) => break Err(error),
            Ok(Ok(n)) => {
                sent += n;
                at_once += n;
                store.data_mut().client.patience.renew();
                wait.again();
                if at_once >= STRETCH {
                    // A client that takes all at once is not to have the thread for as long as there is something to send.
                    tokio::task::yield_now().await;
                    at_once = 0;
                }
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                at_once = 0;
                if let Err(error) = store.data_mut().client.sendable(&mut wait).await {
                    break Err(error);
                }
            }
            Ok(Err(error)) => break Err(error.into()),
        }
    };
    let failed = result.is_err();
    let done = Done::new(result, sent > 0, &wait);
    let client = &mut store.data_mut().client;
    if failed && client.connection.is_some() { done.counted(&mut client.patience) } else { done }
}

/// Links the interface. One function each, in the contract's order.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&format!("{PACKAGE}/connection@{VERSION}"))?;
    interface.func_wrap_async("recv", |mut store, (max,): (u32,)| {
        Box::new(async move {
            let done = store.data_mut().client.recv(max).await;
            Ok((settle(&mut store, done)?,))
        })
    })?;
    interface.func_wrap_async("send", |mut store, (data,): (WasmList<u8>,)| {
        Box::new(async move {
            let done = send(&mut store, &data).await;
            Ok((settle(&mut store, done)?,))
        })
    })?;
    interface
        .func_wrap("shutdown", |store, (direction,): (Direction,)| Ok((store.data().client.shutdown(direction),)))?;
    interface.func_wrap("set-timeout", |mut store, (timeout,): (Option<u64>,)| {
        store.data_mut().client.set_timeout(timeout);
        Ok(())
    })?;
    interface.func_wrap("client-address", |store, (): ()| Ok((Address::from(&store.data().origin.client),)))?;
    interface.func_wrap("server-address", |store, (): ()| Ok((Address::from(&store.data().origin.server),)))?;
    interface.func_wrap("start-tls", |_, (): ()| Ok((Err::<(), _>(ErrorCode::NotPermitted),)))?;
    Ok(())
}
