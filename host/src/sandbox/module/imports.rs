//! What a module imports of the host: the contract's functions as the canonical ABI has them, their
//! memory read and written here.
//!
//! Those that may have bytes for the guest return how many these are, or [`NOTHING`], and [`place`]
//! is called next with where they are to be.

use wasmtime::{AsContextMut, Caller, Linker, StoreContextMut};

use super::super::client::{Done, Received};
use super::super::contract::{Address, Direction, ErrorCode, inet};
use super::super::host_calls::{self, settle};
use super::super::idle::Wait;
use super::super::limits::COPIED;
use super::super::output::Output;
use super::super::state::State;
use super::super::transfer::{Bytes, NOTHING, ReturnArea, Slot, out_of_bounds, span};
use super::super::wasi;
use super::abi::{HOST, LATER, later};
use super::hibernated::Hibernated;
use super::reset::MAX_RESET_BYTES;
use crate::config::{SocketAddress, UnixName};

/// Bytes of the guest's that are on their way out.
struct GuestBytes {
    at: u32,
    length: u32,
}

impl host_calls::Outgoing for GuestBytes {
    fn bytes<'a>(&self, store: &'a StoreContextMut<'_, State>) -> &'a [u8] {
        // Memory does not shrink, and `checked` has looked.
        let memory = store.data().exchange.memory.expect("`checked` has found it");
        &memory.data(store)[self.at as usize..][..self.length as usize]
    }
}

impl GuestBytes {
    fn checked(store: &mut StoreContextMut<'_, State>, at: u32, length: u32) -> wasmtime::Result<Self> {
        span(memory(store)?.0, at, length)?;
        Ok(Self { at, length })
    }
}

/// The guest's memory, and the state beside it.
pub(super) fn memory<'a>(store: &'a mut StoreContextMut<'_, State>) -> wasmtime::Result<(&'a mut [u8], &'a mut State)> {
    let memory = store.data().exchange.memory;
    // It may call nothing of the host's before there is an instance.
    let memory = memory.ok_or_else(|| wasmtime::format_err!("no call in it was begun"))?;
    Ok(memory.data_and_store_mut(store))
}

/// Puts the bytes that a call has for the guest where it has made room for them.
pub(super) fn place(store: &mut StoreContextMut<'_, State>, at: u32) -> wasmtime::Result<()> {
    let (memory, state) = memory(store)?;
    let parcel = state.exchange.parcel.take().ok_or_else(|| wasmtime::format_err!("nothing is to be placed"))?;
    let bytes = parcel.bytes.as_ref();
    let room = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    room.ok_or_else(|| wasmtime::format_err!("realloc return: beyond end of memory"))?.copy_from_slice(bytes);
    let length = bytes.len() as u32;
    let told = match parcel.told {
        ReturnArea::Nothing => return Ok(()),
        ReturnArea::Span(told) => memory.get_mut(told as usize..).and_then(|rest| rest.first_chunk_mut::<8>()),
        ReturnArea::Result(slot) => {
            let slot = Slot::of(memory, slot)?.bytes;
            slot[0] = 0;
            slot[4..].first_chunk_mut()
        }
    };
    let told = told.ok_or_else(out_of_bounds)?;
    told[..4].copy_from_slice(&at.to_le_bytes());
    told[4..].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Writes a result that has nothing in it but an error.
fn done(store: &mut StoreContextMut<'_, State>, result: Result<(), ErrorCode>, at: u32) -> wasmtime::Result<i32> {
    let (memory, state) = memory(store)?;
    let mut slot = Slot::of(memory, at)?;
    match result {
        Ok(()) => {
            slot.tag(0, 0);
            Ok(NOTHING)
        }
        Err(error) => Ok(slot.fail(error, &mut state.exchange)),
    }
}

/// Writes one of the two addresses.
fn tell(store: &mut StoreContextMut<'_, State>, address: Address, at: u32) -> wasmtime::Result<i32> {
    let (memory, state) = memory(store)?;
    Ok(Slot::of(memory, at)?.address(address, &mut state.exchange))
}

/// Links all that a module may import, one function each.
///
/// # Errors
/// A name is defined twice, which every start of the program would show.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasi::link_0_1(linker)?;
    link_connection(linker)?;
    type SendTo = (u32, u32, u32, u32, u32, u32, u32);
    linker.func_wrap(
        HOST,
        "send-to",
        |mut caller: Caller<'_, State>, at: u32, length: u32, kind: u32, a: u32, b: u32, c: u32, slot: u32| {
            let mut store = caller.as_context_mut();
            let (memory, state) = memory(&mut store)?;
            let data = span(memory, at, length)?;
            let destination = destination(memory, kind, [a, b, c])?;
            match destination.and_then(|destination| host_calls::try_send_to(state, data, &destination)) {
                Ok(true) => {
                    state.cpu.reset();
                    done(&mut store, Ok(()), slot)
                }
                Ok(false) => Ok(LATER),
                Err(error) => done(&mut store, Err(error), slot),
            }
        },
    )?;
    linker.func_wrap_async(
        HOST,
        &later("send-to"),
        |mut caller: Caller<'_, State>, (at, length, kind, a, b, c, slot): SendTo| {
            Box::new(async move {
                let mut store = caller.as_context_mut();
                let data = GuestBytes::checked(&mut store, at, length)?;
                let destination = destination(memory(&mut store)?.0, kind, [a, b, c])?;
                let sent = host_calls::send_to(&mut store, &data, destination).await;
                let sent = settle(&mut store, sent)?;
                done(&mut store, sent, slot)
            })
        },
    )?;
    for name in ["client-address", "server-address"] {
        let is_client = name == "client-address";
        linker.func_wrap(HOST, name, move |mut caller: Caller<'_, State>, slot: u32| {
            let origin = &caller.data().origin;
            let address = Address::from(if is_client { &origin.client } else { &origin.server });
            tell(&mut caller.as_context_mut(), address, slot)
        })?;
    }
    linker
        .func_wrap(HOST, "place", |mut caller: Caller<'_, State>, at: u32| place(&mut caller.as_context_mut(), at))?;
    linker.func_wrap(HOST, "begin", |mut caller: Caller<'_, State>, phase: u32| {
        caller.as_context_mut().set_epoch_deadline(1);
        caller.data_mut().exchange.begin(phase)
    })?;
    linker.func_wrap(HOST, "complain", |mut caller: Caller<'_, State>, at: u32| {
        let mut store = caller.as_context_mut();
        let (memory, state) = memory(&mut store)?;
        if !at.is_multiple_of(4) {
            return Err(wasmtime::format_err!("return pointer not aligned"));
        }
        let result = memory.get(at as usize..).and_then(|rest| rest.first_chunk::<12>()).ok_or_else(out_of_bounds)?;
        let word = |offset: usize| u32::from_le_bytes(*result[offset..].first_chunk().expect("three words"));
        if result[0] != 1 {
            return Err(wasmtime::format_err!("invalid value for a result: {}", result[0]));
        }
        let text = copied(memory, word(4), word(8))?.to_owned();
        state.exchange.complain(String::from_utf8(text)?);
        wasmtime::Result::Ok(())
    })?;
    link_print(linker)
}

fn link_connection(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap_async(HOST, "recv", |mut caller: Caller<'_, State>, (max, slot): (u32, u32)| {
        Box::new(async move {
            let mut wait = Wait::with_rest();
            let received = match caller.data_mut().client.recv_or_rest(max, &mut wait).await {
                Some(received) => received,
                None => at_rest(&mut caller.as_context_mut(), max, wait).await?,
            };
            let mut store = caller.as_context_mut();
            match settle(&mut store, received)? {
                // All that there is to be written is written when it is placed.
                Ok(bytes) => Ok(store.data_mut().exchange.deliver(Bytes::Received(bytes), ReturnArea::Result(slot))),
                Err(error) => done(&mut store, Err(error), slot),
            }
        })
    })?;
    linker.func_wrap(HOST, "send", |mut caller: Caller<'_, State>, at: u32, length: u32, slot: u32| {
        let mut store = caller.as_context_mut();
        let (memory, state) = memory(&mut store)?;
        let data = span(memory, at, length)?;
        let sent = if data.is_empty() { Ok(0) } else { state.client.try_send(data)? };
        match sent {
            Ok(sent) => {
                if sent > 0 {
                    state.cpu.reset();
                }
                if sent < data.len() {
                    state.exchange.sent = sent as u32;
                    return Ok(LATER);
                }
                done(&mut store, Ok(()), slot)
            }
            Err(error) => done(&mut store, Err(error), slot),
        }
    })?;
    linker.func_wrap_async(
        HOST,
        &later("send"),
        |mut caller: Caller<'_, State>, (at, length, slot): (u32, u32, u32)| {
            Box::new(async move {
                let mut store = caller.as_context_mut();
                let sent = std::mem::take(&mut store.data_mut().exchange.sent);
                let (Some(at), Some(length)) = (at.checked_add(sent), length.checked_sub(sent)) else {
                    return Err(out_of_bounds());
                };
                let data = GuestBytes::checked(&mut store, at, length)?;
                let sent = host_calls::send(&mut store, &data).await;
                let sent = settle(&mut store, sent)?;
                done(&mut store, sent, slot)
            })
        },
    )?;
    linker.func_wrap(HOST, "shutdown", |mut caller: Caller<'_, State>, direction: u32, slot: u32| {
        let direction = match direction {
            0 => Direction::Read,
            1 => Direction::Write,
            2 => Direction::Both,
            _ => return Err(wasmtime::format_err!("invalid value for an enum: {direction}")),
        };
        let result = caller.data().client.shutdown(direction);
        done(&mut caller.as_context_mut(), result, slot)
    })?;
    linker.func_wrap(HOST, "set-timeout", |mut caller: Caller<'_, State>, is_some: u32, timeout: u64| {
        let timeout = match is_some {
            0 => None,
            1 => Some(timeout),
            _ => return Err(wasmtime::format_err!("invalid value for an option: {is_some}")),
        };
        caller.data_mut().client.set_timeout(timeout);
        Ok(())
    })?;
    linker.func_wrap(HOST, "start-tls", |mut caller: Caller<'_, State>, slot: u32| {
        done(&mut caller.as_context_mut(), Err(ErrorCode::NotPermitted), slot)
    })?;
    Ok(())
}

/// Goes on with a wait that has lasted long, with the guest's memory hibernated. Dropping the wait
/// ends the guest, so it never finds its memory in that state.
async fn at_rest(store: &mut StoreContextMut<'_, State>, max: u32, mut wait: Wait) -> wasmtime::Result<Done<Received>> {
    let first = store.data().exchange.first();
    let packed = match first.as_ref().and_then(|first| first.get()) {
        Some(first) if memory(store)?.0.len() <= MAX_RESET_BYTES => {
            Some((Hibernated::pack(memory(store)?.0, &first.memory), &first.memory))
        }
        // To look through that much takes too long.
        _ => None,
    };
    let received = store.data_mut().client.recv_or_rest(max, &mut wait).await;
    if let Some((packed, first)) = packed {
        packed.unpack(memory(store)?.0, first);
    }
    received.ok_or_else(|| wasmtime::format_err!("a guest is laid to rest but once"))
}

/// The most that a guest prints at once, which is what WASI says of the function that it calls for
/// that.
const PRINTED: usize = 4096;

/// Handles of the two streams, as guests hold them.
const STREAMS: [(&str, u32); 2] = [("stdout", 1), ("stderr", 2)];

/// What a guest prints by that has no other WASI than that.
fn link_print(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for (name, handle) in STREAMS {
        linker.func_wrap(HOST, name, move || handle)?;
    }
    // Handles stand for streams that end with the session.
    linker.func_wrap(HOST, "drop", |_: u32| {})?;
    linker.func_wrap(
        HOST,
        "print",
        |mut caller: Caller<'_, State>, handle: u32, at: u32, length: u32, slot: u32| {
            let mut store = caller.as_context_mut();
            let (memory, state) = memory(&mut store)?;
            let number = STREAMS.iter().position(|(_, known)| *known == handle);
            let number = number.ok_or_else(|| wasmtime::format_err!("unknown handle index {handle}"))?;
            let output = state.exchange.printed[number]
                .get_or_insert_with(|| Output::new(state.origin.clone(), STREAMS[number].0, state.cpu.account()));
            let bytes = span(memory, at, length)?;
            if bytes.len() > PRINTED {
                return Err(wasmtime::format_err!(
                    "Buffer too large for blocking-write-and-flush (expected at most {PRINTED})"
                ));
            }
            output.push(bytes);
            let tag = memory.get_mut(slot as usize).ok_or_else(out_of_bounds)?;
            *tag = 0;
            Ok(())
        },
    )?;
    Ok(())
}

/// Bytes of the guest's that are looked through and copied here, of which a component could not
/// hand over more either.
fn copied(memory: &[u8], at: u32, length: u32) -> wasmtime::Result<&[u8]> {
    if length as usize > COPIED {
        return Err(wasmtime::format_err!("too much data is being copied between the host and the guest"));
    }
    span(memory, at, length)
}

/// An address among a function's parameters: which kind, and what of it. What is no address is the
/// guest's to hear of.
fn destination(memory: &[u8], kind: u32, [a, b, c]: [u32; 3]) -> wasmtime::Result<Result<SocketAddress, ErrorCode>> {
    let text = |at, length| -> wasmtime::Result<&str> { Ok(str::from_utf8(copied(memory, at, length)?)?) };
    Ok(match (kind, a) {
        (0, _) => inet(text(a, b)?, c as u16),
        (1, 0) => Ok(SocketAddress::Unix(None)),
        (1, 1) => Ok(SocketAddress::Unix(Some(UnixName::of_text(text(b, c)?.as_bytes())))),
        _ => return Err(wasmtime::format_err!("invalid value for a variant: {kind}, {a}")),
    })
}
