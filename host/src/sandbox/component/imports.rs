//! What a component imports of the host: the contract's interfaces, one function each, in the
//! contract's order.

use wasmtime::component::{Linker, WasmList};

use super::super::contract::{Address, Direction, ErrorCode, PACKAGE, VERSION};
use super::super::host_calls::{send, send_to, settle};
use super::super::state::State;

/// Links `connection`.
pub(super) fn link_connection(linker: &mut Linker<State>) -> wasmtime::Result<()> {
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

/// Links `datagram`.
pub(super) fn link_datagram(linker: &mut Linker<State>) -> wasmtime::Result<()> {
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
