//! What guests read and write by WASI 0.1 with large buffers. The library copies a whole buffer, of
//! whatever size, while its worker waits. So it gets a large buffer in pieces: each is charged to
//! the guest, and others have their turn in between.
//!
//! A call still moves all that it would have moved at once: programs are written for files whose
//! reads and writes are complete.

use std::ops::Range;

use wasmtime::{AsContextMut, Caller, Extern, Linker, Memory};
use wasmtime_wasi::p1::types::Filetype;
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as library, WasiSnapshotPreview1};
use wiggle::GuestMemory;

use super::super::cpu::ChargedWork;
use super::super::state::State;

/// How much of a buffer the library has in one go, in bytes.
const PIECE: usize = 256 * 1024;

/// What is lent of the guest's memory for each piece, in bytes: a buffer's description, which is
/// WASI 0.1's `iovec` of an address and a length, and how much of it was moved.
const LENT: usize = 12;

const SUCCESS: i32 = 0;

/// What such a call does.
#[derive(Clone, Copy)]
enum BufferCall {
    Read,
    Write,
    /// From this place in the file on.
    WriteAt(u64),
}

/// Links `fd_read`, `fd_write` and `fd_pwrite` over those of the library, which are linked already.
/// Its `fd_pread` moves 64 KiB at most.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Call = (i32, i32, i32, i32);
    linker.allow_shadowing(true);
    for (name, transfer) in [("fd_read", BufferCall::Read), ("fd_write", BufferCall::Write)] {
        linker.func_wrap_async(
            "wasi_snapshot_preview1",
            name,
            move |caller: Caller<'_, State>, (file, buffers, count, moved): Call| {
                Box::new(transfer.call(caller, file, [buffers, count, moved]))
            },
        )?;
    }
    type CallAt = (i32, i32, i32, i64, i32);
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "fd_pwrite",
        |caller: Caller<'_, State>, (file, buffers, count, at, moved): CallAt| {
            Box::new(BufferCall::WriteAt(at.cast_unsigned()).call(caller, file, [buffers, count, moved]))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

impl BufferCall {
    /// The whole call, whose outcome is an error code of WASI 0.1.
    async fn call(self, mut caller: Caller<'_, State>, file: i32, buffers: [i32; 3]) -> wasmtime::Result<i32> {
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            return Err(wasmtime::format_err!("missing required memory export"));
        };
        let Some(mut buffer) = large(memory.data(&caller), buffers[0], buffers[1]) else {
            return self.of_the_library(&mut caller, memory, file, buffers).await;
        };
        let told_at = buffers[2].cast_unsigned() as usize;
        if number(memory.data(&caller), told_at).is_none() {
            return self.of_the_library(&mut caller, memory, file, buffers).await;
        }
        // Only a file has as much as it is asked for: to ask anything else for another piece would
        // be to wait for it. And what is written elsewhere is charged where it arrives.
        let is_file = is_file(&mut caller, memory, file).await;
        let mut work = ChargedWork::new(caller.data_mut().cpu.account());
        let mut total = 0_usize;
        loop {
            let piece = buffer.start..buffer.end.min(buffer.start + PIECE);
            let here = match self {
                Self::WriteAt(at) => Self::WriteAt(at.saturating_add(total as u64)),
                other => other,
            };
            let moving = here.piece(&mut caller, memory, file, &piece);
            let moved = if is_file { work.during(moving).await? } else { moving.await };
            let moved = match moved? {
                Ok(moved) => moved,
                // As read(2) and write(2), which tell of an error at the next call where something
                // was moved before it.
                Err(_) if total > 0 => break,
                Err(error) => return Ok(error),
            };
            total += moved;
            buffer.start += moved;
            if moved < piece.len() || buffer.is_empty() || (matches!(self, Self::Read) && !is_file) {
                break;
            }
        }
        put(memory.data_mut(&mut caller), told_at, total);
        Ok(SUCCESS)
    }

    /// How much of a buffer the library moves, or its error code.
    async fn piece(
        self,
        caller: &mut Caller<'_, State>,
        memory: Memory,
        file: i32,
        buffer: &Range<usize>,
    ) -> wasmtime::Result<Result<usize, i32>> {
        // Apart from the buffer. There is room behind it: the memory is of whole pages, and holds
        // more than a piece.
        let place = if buffer.start >= LENT { 0 } else { buffer.end.next_multiple_of(4) };
        let lent = place..place + LENT;
        let bytes = memory.data_mut(&mut *caller);
        let before = bytes[lent.clone()].to_owned();
        put(bytes, place, buffer.start);
        put(bytes, place + 4, buffer.len());
        let described = [i32::try_from(place)?, 1, i32::try_from(place + 8)?];
        let outcome = self.of_the_library(caller, memory, file, described).await;
        let bytes = memory.data_mut(caller);
        let moved = number(bytes, place + 8).unwrap_or_default();
        bytes[lent].copy_from_slice(&before);
        Ok(match outcome? {
            SUCCESS => Ok(moved),
            error => Err(error),
        })
    }

    async fn of_the_library(
        self,
        caller: &mut Caller<'_, State>,
        memory: Memory,
        file: i32,
        [buffers, count, moved]: [i32; 3],
    ) -> wasmtime::Result<i32> {
        let fuel = caller.as_context_mut().hostcall_fuel();
        let (memory, state) = memory.data_and_store_mut(caller);
        let (mut memory, wasi) = (GuestMemory::Unshared(memory), state.wasi_0_1());
        wasi.set_hostcall_fuel(fuel);
        match self {
            Self::Read => library::fd_read(wasi, &mut memory, file, buffers, count, moved).await,
            Self::Write => library::fd_write(wasi, &mut memory, file, buffers, count, moved).await,
            Self::WriteAt(at) => {
                library::fd_pwrite(wasi, &mut memory, file, buffers, count, at.cast_signed(), moved).await
            }
        }
    }
}

/// Where the first buffer lies that is not empty, which is the one that the library takes; if it is
/// larger than a piece, and what is wrong with it, if anything, not the library's to say.
fn large(memory: &[u8], buffers: i32, count: i32) -> Option<Range<usize>> {
    let (mut at, mut left) = (buffers.cast_unsigned() as usize, count.cast_unsigned());
    while left > 0 {
        let (start, length) = (number(memory, at)?, number(memory, at + 4)?);
        if length > 0 {
            return (length > PIECE && start + length <= memory.len()).then(|| start..start + length);
        }
        (at, left) = (at + 8, left - 1);
    }
    None
}

fn number(memory: &[u8], at: usize) -> Option<usize> {
    let bytes = memory.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

/// Writes a number that is known to be one of 32 bits, as all are that say where something is in a
/// memory of that size.
fn put(memory: &mut [u8], at: usize, number: usize) {
    memory[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
}

async fn is_file(caller: &mut Caller<'_, State>, memory: Memory, file: i32) -> bool {
    let (memory, state) = memory.data_and_store_mut(caller);
    let kind = state.wasi_0_1().fd_fdstat_get(&mut GuestMemory::Unshared(memory), file.cast_unsigned().into()).await;
    kind.is_ok_and(|kind| kind.fs_filetype == Filetype::RegularFile)
}
