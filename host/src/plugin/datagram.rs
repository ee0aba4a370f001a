//! The socket as a datagram's guest sees it: the `datagram` interface of the contract.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::Origin;
use super::connection::{Done, Outgoing, settle};
use super::contract::{Address, ErrorCode, PACKAGE, VERSION};
use super::instance::State;
use super::patience::{Patience, Wait};
use crate::config::Settings;
use crate::endpoint::Endpoint;

/// A datagram socket, as much of it as a guest needs. Implemented where sockets are known; called here.
pub trait DatagramSocket: Send + Sync {
    /// Sends one datagram, from the address `from` where that is one of several; `WouldBlock` if there is no room for it now.
    fn try_send_to(&self, data: &[u8], destination: &Endpoint, from: Option<&Endpoint>) -> io::Result<()>;
    /// Waits until there may be room again.
    fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Whether a datagram may go elsewhere than to its client: as the operator grants.
fn is_granted(destination: &Endpoint, settings: &Settings) -> bool {
    let Endpoint::Inet(to) = destination else { return false };
    settings.grants.send_to.iter().any(|network| network.contains(&to.ip()))
}

/// Sends at once, or not at all: false where there is no room for it now.
pub(super) fn try_send_to(state: &State, data: &[u8], destination: &Endpoint) -> Result<bool, ErrorCode> {
    let Some(socket) = &state.datagram_socket else {
        return Err(ErrorCode::Other("this call serves no datagram".to_owned()));
    };
    let Origin { client, server, .. } = &*state.origin;
    // The client is answered from where it asked, and by its own address: the guest has that in text.
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
    destination: Result<Endpoint, ErrorCode>,
) -> Done<()> {
    let mut wait = Wait::default();
    let mut patience = Patience::new(store.data().settings.timeouts.idle);
    let result = match destination {
        Ok(destination) => send_when_room(store, data, &destination, &mut wait, &mut patience).await,
        Err(error) => Err(error),
    };
    let moved = result.is_ok();
    Done::new(result, moved, &wait)
}

async fn send_when_room(
    store: &mut StoreContextMut<'_, State>,
    data: &impl Outgoing,
    destination: &Endpoint,
    wait: &mut Wait,
    patience: &mut Patience,
) -> Result<(), ErrorCode> {
    while !try_send_to(store.data(), data.bytes(store), destination)? {
        if let Some(socket) = store.data().datagram_socket.clone() {
            room(&*socket, wait, patience).await?;
        }
    }
    Ok(())
}

async fn room(socket: &dyn DatagramSocket, wait: &mut Wait, patience: &mut Patience) -> Result<(), ErrorCode> {
    poll_fn(|cx| match socket.poll_sendable(cx) {
        Poll::Ready(ready) => Poll::Ready(ready.map_err(ErrorCode::from)),
        Poll::Pending => patience.poll_timed_out(cx, wait).map(Err),
    })
    .await
}

/// Links the interface.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&format!("{PACKAGE}/datagram@{VERSION}"))?;
    interface.func_wrap_async("send-to", |mut store, (data, destination): (WasmList<u8>, Address)| {
        Box::new(async move {
            let done = send_to(&mut store, &data, destination.try_into()).await;
            Ok((settle(&mut store, done)?,))
        })
    })?;
    interface.func_wrap("client-address", |store, (): ()| Ok((Address::from(&store.data().origin.client),)))?;
    interface.func_wrap("server-address", |store, (): ()| Ok((Address::from(&store.data().origin.server),)))?;
    Ok(())
}
