//! What a module imports of the host: the contract's functions as the canonical ABI has them, their memory read and written here.
//!
//! Those that may have bytes for the guest return how many these are, or [`NOTHING`], and [`place`] is called next with where they are to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use wasmtime::{AsContextMut, Caller, Linker, Memory, StoreContextMut};
use wasmtime_wasi::p1;

use super::super::connection::{self, Received, settle};
use super::super::contract::{Address, Direction, ErrorCode, InetAddress};
use super::super::datagram;
use super::super::fault::Phase;
use super::super::instance::State;
use super::super::output::Output;
use super::rewrite::{HOST, LATER, SEND_LATER};

/// What passes between a module and the host beside the parameters of their functions.
#[derive(Default)]
pub struct Exchange {
    /// The guest's, once there is an instance.
    memory: Option<Memory>,
    /// Bytes on their way into it.
    parcel: Option<Parcel>,
    /// How much of what is being sent is out already.
    sent: u32,
    /// What each phase is given, where it is not a connection.
    packet: Option<Arc<[u8]>>,
    /// Which of them is under way, for who can't look in here meanwhile.
    progress: Arc<Progress>,
    /// The errors that they returned.
    complaints: Vec<(Phase, String)>,
    /// stdout and stderr, once something was printed.
    printed: [Option<Output>; 2],
}

/// Which phase a request is in.
#[derive(Default)]
pub struct Progress(AtomicU8);

const PHASES: [Phase; 3] = [Phase::Setup, Phase::Handle, Phase::Finish];

impl Progress {
    pub fn phase(&self) -> Phase {
        PHASES[usize::from(self.0.load(Relaxed))]
    }
}

struct Parcel {
    bytes: Bytes,
    told: Told,
}

/// What is written of bytes that were placed.
enum Told {
    /// Whoever they are for knows.
    Nothing,
    /// Their place and length, here.
    Span(u32),
    /// The same in the slot of a result that is no error.
    Result(u32),
}

enum Bytes {
    Received(Received),
    Text(String),
    Packet(Arc<[u8]>),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Received(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
            Self::Packet(packet) => packet,
        }
    }
}

impl Exchange {
    pub(super) fn use_memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    /// The request that is to be served next.
    pub(super) fn prepare(&mut self, packet: Option<Arc<[u8]>>) {
        self.packet = packet;
        self.progress.0.store(0, Relaxed);
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    pub(super) fn take_complaints(&mut self) -> Vec<(Phase, String)> {
        std::mem::take(&mut self.complaints)
    }

    /// Where what it prints goes.
    pub(in super::super) fn printed(&self) -> impl Iterator<Item = &Output> {
        self.printed.iter().flatten()
    }

    /// Forgets all that belonged to one request.
    pub(super) fn reset(&mut self) {
        let Self { memory: _, progress: _, parcel, sent, packet, complaints, printed } = self;
        (*parcel, *sent, *packet) = (None, 0, None);
        complaints.clear();
        printed.iter_mut().for_each(|output| drop(output.take()));
    }

    fn deliver(&mut self, bytes: Bytes, told: Told) -> i32 {
        // A guest's memory, and so a length in it, ends at 4 GiB; what is sent here is far smaller.
        let length = i32::try_from(bytes.as_ref().len()).expect("no more than a packet, an error or what was received");
        self.parcel = Some(Parcel { bytes, told });
        length
    }
}

/// Nothing is on its way into the guest's memory.
const NOTHING: i32 = -1;

fn out_of_bounds() -> wasmtime::Error {
    wasmtime::format_err!("pointer out of bounds of memory")
}

/// The guest's memory, and the state beside it.
fn memory<'a>(store: &'a mut StoreContextMut<'_, State>) -> wasmtime::Result<(&'a mut [u8], &'a mut State)> {
    let memory = store.data().exchange.memory;
    // It may call nothing of the host's before there is an instance.
    let memory = memory.ok_or_else(|| wasmtime::format_err!("no call in it was begun"))?;
    Ok(memory.data_and_store_mut(store))
}

fn span(memory: &[u8], at: u32, length: u32) -> wasmtime::Result<&[u8]> {
    memory.get(at as usize..).and_then(|rest| rest.get(..length as usize)).ok_or_else(out_of_bounds)
}

/// Bytes of the guest's that are on their way out.
struct Outgoing {
    at: u32,
    length: u32,
}

impl connection::Outgoing for Outgoing {
    fn bytes<'a>(&self, store: &'a StoreContextMut<'_, State>) -> &'a [u8] {
        // Memory does not shrink, and `checked` has looked.
        let memory = store.data().exchange.memory.expect("`checked` has found it");
        &memory.data(store)[self.at as usize..][..self.length as usize]
    }
}

impl Outgoing {
    fn checked(store: &mut StoreContextMut<'_, State>, at: u32, length: u32) -> wasmtime::Result<Self> {
        span(memory(store)?.0, at, length)?;
        Ok(Self { at, length })
    }
}

/// A result in the guest's memory, all of which are of 16 bytes: a byte that says which, and what it is at 4.
struct Slot<'a> {
    bytes: &'a mut [u8; 16],
    at: u32,
}

impl<'a> Slot<'a> {
    fn of(memory: &'a mut [u8], at: u32) -> wasmtime::Result<Self> {
        if !at.is_multiple_of(4) {
            return Err(wasmtime::format_err!("pointer not aligned"));
        }
        let bytes = memory.get_mut(at as usize..).and_then(|rest| rest.first_chunk_mut()).ok_or_else(out_of_bounds)?;
        Ok(Self { bytes, at })
    }

    fn tag(&mut self, offset: usize, tag: u8) {
        self.bytes[offset] = tag;
    }

    fn fail(mut self, error: ErrorCode, exchange: &mut Exchange) -> i32 {
        self.tag(0, 1);
        let (tag, text) = match error {
            ErrorCode::TimedOut => (0, None),
            ErrorCode::ConnectionReset => (1, None),
            ErrorCode::BrokenPipe => (2, None),
            ErrorCode::MessageTooLarge => (3, None),
            ErrorCode::NotPermitted => (4, None),
            ErrorCode::Other(text) => (5, Some(text)),
        };
        self.tag(4, tag);
        text.map_or(NOTHING, |text| exchange.deliver(Bytes::Text(text), Told::Span(self.at + 8)))
    }

    fn address(mut self, address: Address, exchange: &mut Exchange) -> i32 {
        match address {
            Address::Inet(InetAddress { ip, port }) => {
                self.tag(0, 0);
                self.bytes[12..14].copy_from_slice(&port.to_le_bytes());
                exchange.deliver(Bytes::Text(ip), Told::Span(self.at + 4))
            }
            Address::Unix(path) => {
                self.tag(0, 1);
                self.tag(4, path.is_some().into());
                path.map_or(NOTHING, |path| exchange.deliver(Bytes::Text(path), Told::Span(self.at + 8)))
            }
        }
    }
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
    p1::add_to_linker_async(linker, State::wasi_0_1)?;
    link_connection(linker)?;
    linker.func_wrap_async(
        HOST,
        "send-to",
        |mut caller: Caller<'_, State>, (at, length, kind, a, b, c, slot): (u32, u32, u32, u32, u32, u32, u32)| {
            Box::new(async move {
                let mut store = caller.as_context_mut();
                let data = Outgoing::checked(&mut store, at, length)?;
                let destination = lifted(memory(&mut store)?.0, kind, [a, b, c])?;
                let sent = datagram::send_to(&mut store, &data, destination).await;
                let sent = settle(&mut store, sent);
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
        let exchange = &mut caller.data_mut().exchange;
        exchange.progress.0.store(phase as u8, Relaxed);
        match &exchange.packet {
            Some(packet) if PHASES.get(phase as usize) != Some(&Phase::Finish) => {
                let packet = Bytes::Packet(packet.clone());
                exchange.deliver(packet, Told::Nothing)
            }
            _ => 0,
        }
    })?;
    linker.func_wrap(HOST, "complain", |mut caller: Caller<'_, State>, at: u32| {
        let mut store = caller.as_context_mut();
        let (memory, state) = memory(&mut store)?;
        let [text, length] = [4, 8].map(|offset| word(memory, at.saturating_add(offset)));
        let text = span(memory, text?, length?)?.to_owned();
        let phase = state.exchange.progress.phase();
        state.exchange.complaints.push((phase, String::from_utf8(text)?));
        wasmtime::Result::Ok(())
    })?;
    link_print(linker)
}

fn link_connection(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap_async(HOST, "recv", |mut caller: Caller<'_, State>, (max, slot): (u32, u32)| {
        Box::new(async move {
            let received = caller.data_mut().client.recv(max).await;
            let mut store = caller.as_context_mut();
            match settle(&mut store, received) {
                // All that there is to be written is written when it is placed.
                Ok(bytes) => Ok(store.data_mut().exchange.deliver(Bytes::Received(bytes), Told::Result(slot))),
                Err(error) => done(&mut store, Err(error), slot),
            }
        })
    })?;
    linker.func_wrap(HOST, "send", |mut caller: Caller<'_, State>, at: u32, length: u32, slot: u32| {
        let mut store = caller.as_context_mut();
        let (memory, state) = memory(&mut store)?;
        let data = span(memory, at, length)?;
        let sent = if data.is_empty() { Ok(0) } else { state.client.try_send(data) };
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
        SEND_LATER,
        |mut caller: Caller<'_, State>, (at, length, slot): (u32, u32, u32)| {
            Box::new(async move {
                let mut store = caller.as_context_mut();
                let sent = std::mem::take(&mut store.data_mut().exchange.sent);
                let (Some(at), Some(length)) = (at.checked_add(sent), length.checked_sub(sent)) else {
                    return Err(out_of_bounds());
                };
                let data = Outgoing::checked(&mut store, at, length)?;
                let sent = connection::send(&mut store, &data).await;
                let sent = settle(&mut store, sent);
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
                .get_or_insert_with(|| Output::new(state.origin.clone(), STREAMS[number].0));
            output.push(span(memory, at, length)?);
            let tag = memory.get_mut(slot as usize).ok_or_else(out_of_bounds)?;
            *tag = 0;
            Ok(())
        },
    )?;
    Ok(())
}

/// Puts the bytes that a call has for the guest where it has made room for them.
fn place(store: &mut StoreContextMut<'_, State>, at: u32) -> wasmtime::Result<()> {
    let (memory, state) = memory(store)?;
    let parcel = state.exchange.parcel.take().ok_or_else(|| wasmtime::format_err!("nothing is to be placed"))?;
    let bytes = parcel.bytes.as_ref();
    let room = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    room.ok_or_else(|| wasmtime::format_err!("realloc return: beyond end of memory"))?.copy_from_slice(bytes);
    let length = bytes.len() as u32;
    let told = match parcel.told {
        Told::Nothing => return Ok(()),
        Told::Span(told) => memory.get_mut(told as usize..).and_then(|rest| rest.first_chunk_mut::<8>()),
        Told::Result(slot) => {
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

fn word(memory: &[u8], at: u32) -> wasmtime::Result<u32> {
    let bytes = memory.get(at as usize..).and_then(|rest| rest.first_chunk());
    bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(out_of_bounds)
}

/// An address among a function's parameters: which kind, and what of it.
fn lifted(memory: &[u8], kind: u32, [a, b, c]: [u32; 3]) -> wasmtime::Result<Address> {
    let text = |at, length| -> wasmtime::Result<String> { Ok(str::from_utf8(span(memory, at, length)?)?.to_owned()) };
    Ok(match (kind, a) {
        (0, _) => Address::Inet(InetAddress { ip: text(a, b)?, port: c as u16 }),
        (1, 0) => Address::Unix(None),
        (1, 1) => Address::Unix(Some(text(b, c)?)),
        _ => return Err(wasmtime::format_err!("invalid value for a variant: {kind}, {a}")),
    })
}
