//! What the host does for a guest that calls it, whatever way values pass: `send`, `send-to`, and
//! what a call means to the meters.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use wasmtime::StoreContextMut;
use wasmtime::component::WasmList;

use super::client::{Done, STRETCH};
use super::contract::ErrorCode;
use super::idle::{IdleTimeout, Wait};
use super::limits::BrokenPipe;
use super::request::Origin;
use super::state::State;
use super::transport::DatagramSocket;
use crate::config::{Settings, SocketAddress};

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

/// Bytes in a guest's memory that it sends. They are written straight from there: it stands still
/// while it waits in this call.
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
                store.data_mut().client.renew();
                wait.again();
                if at_once >= STRETCH {
                    // A client that takes all at once is not to have the thread for as long as
                    // there is something to send.
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
    if failed { store.data_mut().client.counted(done) } else { done }
}

/// Whether a datagram may go elsewhere than to its client: as the operator grants.
fn is_granted(destination: &SocketAddress, settings: &Settings) -> bool {
    let SocketAddress::Inet(to) = destination else { return false };
    settings.grants.send_to.iter().any(|network| network.contains(&to.ip()))
}

/// Sends at once, or not at all: false where there is no room for it now.
pub(super) fn try_send_to(state: &State, data: &[u8], destination: &SocketAddress) -> Result<bool, ErrorCode> {
    let Some(socket) = &state.datagram_socket else {
        return Err(ErrorCode::Other("this call serves no datagram".to_owned()));
    };
    let Origin { client, server, .. } = &*state.origin;
    // The client is answered from where it asked, and by its own address: the guest has that in
    // text.
    let sent = if destination.means(client) {
        socket.try_send_to(data, client, Some(server))
    } else if is_granted(destination, &state.settings) {
        socket.try_send_to(data, destination, None)
    } else {
        return Err(ErrorCode::NotPermitted);
    };
    match sent {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sends, and waits for as long as there is no room.
pub(super) async fn send_to(
    store: &mut StoreContextMut<'_, State>,
    data: &impl Outgoing,
    destination: Result<SocketAddress, ErrorCode>,
) -> Done<()> {
    let mut wait = Wait::default();
    let mut idle = IdleTimeout::new(store.data().settings.timeouts.idle);
    let result = match destination {
        Ok(destination) => send_when_room(store, data, &destination, &mut wait, &mut idle).await,
        Err(error) => Err(error),
    };
    let moved = result.is_ok();
    Done::new(result, moved, &wait)
}

async fn send_when_room(
    store: &mut StoreContextMut<'_, State>,
    data: &impl Outgoing,
    destination: &SocketAddress,
    wait: &mut Wait,
    idle: &mut IdleTimeout,
) -> Result<(), ErrorCode> {
    while !try_send_to(store.data(), data.bytes(store), destination)? {
        if let Some(socket) = store.data().datagram_socket.clone() {
            room(&*socket, wait, idle).await?;
        }
    }
    Ok(())
}

async fn room(socket: &dyn DatagramSocket, wait: &mut Wait, idle: &mut IdleTimeout) -> Result<(), ErrorCode> {
    poll_fn(|cx| match socket.poll_sendable(cx) {
        Poll::Ready(ready) => Poll::Ready(ready.map_err(ErrorCode::from)),
        Poll::Pending => idle.poll_timed_out(cx, wait).map(Err),
    })
    .await
}
