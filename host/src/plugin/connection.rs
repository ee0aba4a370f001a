//! The client as its guest sees it: the `connection` interface of the contract, with its waits bounded.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::Origin;
use super::contract::{Address, Direction, ErrorCode, PACKAGE, VERSION};
use super::instance::State;

/// A client's connection, as much of it as a guest needs. Implemented where sockets are known; called here.
pub trait Connection: Send + Sync {
    /// Reads into `buffer`; 0 bytes is end-of-stream.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
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

thread_local! {
    /// What `recv` reads into: a buffer for each session would be touched memory that idle clients hold.
    static BUFFER: RefCell<Box<[u8; CHUNK]>> = RefCell::new(Box::new([0; CHUNK]));
}

/// One guest's client, and how long it may be waited for.
pub(super) struct Client {
    /// None in a call that serves no client.
    connection: Option<Box<dyn Connection>>,
    origin: Arc<Origin>,
    /// The operator's limit of one wait. Once it has run out the client counts as gone.
    idle: Duration,
    idled_out: bool,
    /// The guest's own limit.
    asked: Option<Duration>,
    /// One timer for all waits. Most end long before it, so it is set when it fires, and not at each wait.
    timer: Option<Pin<Box<Sleep>>>,
}

/// How an operation on the client went.
struct Done<T> {
    result: Result<T, ErrorCode>,
    /// Bytes went through, or the guest waited: what the CPU limit counts from.
    dealt: bool,
    waited: bool,
}

impl Client {
    pub(super) fn new(connection: Option<Box<dyn Connection>>, origin: Arc<Origin>, idle: Duration) -> Self {
        Self { connection, origin, idle, idled_out: false, asked: None, timer: None }
    }

    pub(super) fn take(&mut self) -> Option<Box<dyn Connection>> {
        self.connection.take()
    }

    fn connection(&self) -> Result<&dyn Connection, ErrorCode> {
        if self.idled_out {
            return Err(ErrorCode::TimedOut);
        }
        self.connection.as_deref().ok_or_else(|| ErrorCode::Other("this call serves no connection".to_owned()))
    }

    async fn recv(&mut self, max: u32) -> Done<Vec<u8>> {
        if let Err(error) = self.connection() {
            return Done { result: Err(error), dealt: false, waited: false };
        }
        let max = CHUNK.min(max as usize);
        if max == 0 {
            return Done { result: Ok(Vec::new()), dealt: false, waited: false };
        }
        let mut deadline = None;
        let result = poll_fn(|cx| {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Err(ErrorCode::NotPermitted)) };
            let read = BUFFER.with_borrow_mut(|buffer| {
                connection.poll_recv(cx, &mut buffer[..max]).map_ok(|read| buffer[..read].to_vec())
            });
            match read {
                Poll::Ready(read) => Poll::Ready(read.map_err(ErrorCode::from)),
                Poll::Pending => self.poll_timed_out(cx, &mut deadline).map(|()| Err(ErrorCode::TimedOut)),
            }
        })
        .await;
        let waited = deadline.is_some();
        Done { dealt: waited || result.as_ref().is_ok_and(|bytes| !bytes.is_empty()), result, waited }
    }

    /// Waits until `try_send` may take bytes again. True once it is to be tried, false if the time ran out.
    async fn sendable(&mut self) -> Result<(), ErrorCode> {
        let mut deadline = None;
        poll_fn(|cx| {
            if let Poll::Ready(ready) = self.connection()?.poll_sendable(cx) {
                return Poll::Ready(ready.map_err(ErrorCode::from));
            }
            self.poll_timed_out(cx, &mut deadline).map(|()| Err(ErrorCode::TimedOut))
        })
        .await
    }

    /// Ready once the wait that began at the first call with this `deadline` has lasted too long.
    fn poll_timed_out(&mut self, cx: &mut Context<'_>, deadline: &mut Option<Instant>) -> Poll<()> {
        let limit = self.asked.map_or(self.idle, |asked| asked.min(self.idle));
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                self.idled_out = limit == self.idle;
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// What a dealing with the client means to the CPU meter.
fn settle<T>(store: &mut StoreContextMut<'_, State>, done: Done<T>) -> Result<T, ErrorCode> {
    if done.dealt {
        store.data_mut().cpu.reset();
    }
    if done.waited {
        // Epochs went by meanwhile that the guest did not run in.
        store.set_epoch_deadline(1);
    }
    done.result
}

async fn send(store: &mut StoreContextMut<'_, State>, data: &WasmList<u8>) -> Done<()> {
    let (mut sent, mut waited) = (0, false);
    let result = loop {
        // Straight from the guest's memory, which stands still while it waits in this call.
        let data = data.as_le_slice(&*store);
        if sent == data.len() {
            break Ok(());
        }
        match store.data().client.connection().map(|connection| connection.try_send(&data[sent..])) {
            Err(error) => break Err(error),
            Ok(Ok(n)) => sent += n,
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                waited = true;
                if let Err(error) = store.data_mut().client.sendable().await {
                    break Err(error);
                }
            }
            Ok(Err(error)) => break Err(error.into()),
        }
    };
    Done { result, dealt: waited || sent > 0, waited }
}

/// Links the interface. One function each, in the contract's order.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&format!("{PACKAGE}/connection@{VERSION}"))?;
    interface.func_wrap_async("recv", |mut store, (max,): (u32,)| {
        Box::new(async move {
            let done = store.data_mut().client.recv(max).await;
            Ok((settle(&mut store, done),))
        })
    })?;
    interface.func_wrap_async("send", |mut store, (data,): (WasmList<u8>,)| {
        Box::new(async move {
            let done = send(&mut store, &data).await;
            Ok((settle(&mut store, done),))
        })
    })?;
    interface.func_wrap("shutdown", |store, (direction,): (Direction,)| {
        let result =
            store.data().client.connection().and_then(|c| c.shutdown(direction.into()).map_err(ErrorCode::from));
        Ok((result,))
    })?;
    interface.func_wrap("set-timeout", |mut store, (timeout,): (Option<u64>,)| {
        store.data_mut().client.asked = timeout.map(Duration::from_nanos);
        Ok(())
    })?;
    interface.func_wrap("client-address", |store, (): ()| Ok((Address::from(&store.data().client.origin.client),)))?;
    interface.func_wrap("server-address", |store, (): ()| Ok((Address::from(&store.data().client.origin.server),)))?;
    interface.func_wrap("start-tls", |_, (): ()| Ok((Err::<(), _>(ErrorCode::NotPermitted),)))?;
    Ok(())
}
