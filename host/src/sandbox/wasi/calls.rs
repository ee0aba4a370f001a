//! What guests call of WASI, where the library's own functions would work for as long as a guest
//! likes within one call: the same, in pieces that are charged to the guest and give way to others,
//! or with a bound.

use wasmtime::component::{self, Resource, WasmList};
use wasmtime::{Caller, Extern, StoreContextMut};
use wasmtime_wasi::ResourceTableError;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_io::bindings::wasi::io::poll::Host as _;

use super::super::cpu::ChargedWork;
use super::super::limits::{RANDOM, WAITS};
use super::super::state::State;

/// How much randomness is made in one go, in bytes.
const PIECE: usize = 16 * 1024;

/// The version that the library links its interfaces as.
const VERSION: &str = "0.2.12";

/// WASI 0.1's error codes, as many as are returned here.
mod errno {
    pub(super) const SUCCESS: i32 = 0;
    pub(super) const FAULT: i32 = 21;
    pub(super) const IO: i32 = 29;
}

/// Links WASI 0.1.
pub(super) fn link_0_1(linker: &mut wasmtime::Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p1::add_to_linker_async(linker, State::wasi_0_1)?;
    linker.allow_shadowing(true);
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "random_get",
        |mut caller: Caller<'_, State>, (at, length): (u32, u32)| {
            Box::new(async move {
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    return Err(wasmtime::format_err!("missing required memory export"));
                };
                let (at, length) = (at as usize, length as usize);
                if memory.data(&caller).get(at..).is_none_or(|rest| rest.len() < length) {
                    return Ok(errno::FAULT);
                }
                let mut work = None;
                let mut done = 0;
                while done < length {
                    let piece = PIECE.min(length - done);
                    if getrandom::fill(&mut memory.data_mut(&mut caller)[at + done..][..piece]).is_err() {
                        return Ok(errno::IO);
                    }
                    done += piece;
                    if length > PIECE {
                        work.get_or_insert_with(|| ChargedWork::new(caller.data_mut().cpu.account())).pause().await?;
                    }
                }
                Ok(errno::SUCCESS)
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Links WASI 0.2.
pub(super) fn link_0_2(linker: &mut component::Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    for (interface, name) in [("random", "get-random-bytes"), ("insecure", "get-insecure-random-bytes")] {
        linker
            .instance(&format!("wasi:random/{interface}@{VERSION}"))?
            .func_wrap_async(name, |mut store, (length,): (u64,)| {
                Box::new(async move { Ok((random(&mut store, length).await?,)) })
            })?;
    }
    linker.instance(&format!("wasi:io/poll@{VERSION}"))?.func_wrap_async(
        "poll",
        |mut store, (waits,): (WasmList<Resource<DynPollable>>,)| {
            Box::new(async move {
                // No guest holds more than some, and a list of the same ones without end would be
                // looked through.
                if waits.len() > WAITS {
                    return Err(ResourceTableError::Full.into());
                }
                let waits = waits.iter(&mut store)?.collect::<wasmtime::Result<Vec<_>>>()?;
                Ok((store.data_mut().resources().poll(waits).await?,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn random(store: &mut StoreContextMut<'_, State>, length: u64) -> wasmtime::Result<Vec<u8>> {
    let length = usize::try_from(length).ok().filter(|length| *length <= RANDOM);
    let length =
        length.ok_or_else(|| wasmtime::format_err!("more than {RANDOM} bytes of randomness asked for at once"))?;
    let mut bytes = vec![0; length];
    let mut work = ChargedWork::new(store.data_mut().cpu.account());
    for piece in bytes.chunks_mut(PIECE) {
        getrandom::fill(piece).map_err(|error| wasmtime::format_err!("the machine gives no randomness: {error}"))?;
        if length > PIECE {
            work.pause().await?;
        }
    }
    Ok(bytes)
}
