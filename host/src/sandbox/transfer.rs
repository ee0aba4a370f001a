//! What passes between a module and the host beside the parameters of their functions: bytes for
//! its memory, and results in it.

use std::sync::{Arc, OnceLock};

use wasmtime::Memory;

use super::client::Received;
use super::contract::{Address, ErrorCode, InetAddress};
use super::output::Output;
use super::progress::Progress;
use super::snapshot::First;
use crate::report::Phase;

/// What passes between a module and the host beside the parameters of their functions.
pub(crate) struct Transfer {
    /// The guest's, once there is an instance.
    pub(super) memory: Option<Memory>,
    /// What the guest began with, once that is known.
    first: Option<Arc<OnceLock<First>>>,
    /// Bytes on their way into it.
    pub(super) parcel: Option<Pending>,
    /// How much of what is being sent is out already.
    pub(super) sent: u32,
    /// What each phase is given, where it is not a connection.
    packet: Option<Arc<[u8]>>,
    /// Which of them is under way. It can be read while the guest runs.
    progress: Arc<Progress>,
    /// The errors that they returned.
    complaints: Vec<(Phase, String)>,
    /// stdout and stderr, once something was printed.
    pub(super) printed: [Option<Output>; 2],
}

const PHASES: [Phase; 3] = [Phase::Setup, Phase::Handle, Phase::Finish];

impl Default for Transfer {
    fn default() -> Self {
        Self {
            memory: None,
            first: None,
            parcel: None,
            sent: 0,
            packet: None,
            progress: Arc::new(Progress::new(Phase::Setup)),
            complaints: Vec::new(),
            printed: [None, None],
        }
    }
}

pub(super) struct Pending {
    pub(super) bytes: Bytes,
    pub(super) told: ReturnArea,
}

/// What is written of bytes that were placed.
pub(super) enum ReturnArea {
    /// The function that they are for knows.
    Nothing,
    /// Their place and length, here.
    Span(u32),
    /// The same in the slot of a result that is no error.
    Result(u32),
}

pub(super) enum Bytes {
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

impl Transfer {
    pub(super) fn serve(&mut self, memory: Memory, first: Option<Arc<OnceLock<First>>>) {
        (self.memory, self.first) = (Some(memory), first);
    }

    /// What its guest began with, once that is known.
    pub(super) fn first(&self) -> Option<Arc<OnceLock<First>>> {
        self.first.clone()
    }

    /// The request that is to be served next.
    pub(super) fn prepare(&mut self, packet: Option<Arc<[u8]>>) {
        self.packet = packet;
        self.progress.set(Phase::Setup);
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    pub(super) fn has_complaints(&self) -> bool {
        !self.complaints.is_empty()
    }

    pub(super) fn take_complaints(&mut self) -> Vec<(Phase, String)> {
        std::mem::take(&mut self.complaints)
    }

    /// A phase begins: the length of the packet that it is given.
    pub(super) fn begin(&mut self, phase: u32) -> i32 {
        let phase = PHASES.get(phase as usize).copied().unwrap_or(Phase::Finish);
        self.progress.set(phase);
        match &self.packet {
            Some(packet) if phase != Phase::Finish => {
                let packet = Bytes::Packet(packet.clone());
                self.deliver(packet, ReturnArea::Nothing)
            }
            _ => 0,
        }
    }

    /// The phase that it is in returned an error.
    pub(super) fn complain(&mut self, error: String) {
        self.complaints.push((self.progress.phase(), error));
    }

    /// Where what it prints goes.
    pub(in super::super) fn printed(&self) -> impl Iterator<Item = &Output> {
        self.printed.iter().flatten()
    }

    /// Forgets all that belonged to one request.
    pub(super) fn reset(&mut self) {
        let Self { memory: _, first: _, progress: _, parcel, sent, packet, complaints, printed } = self;
        (*parcel, *sent, *packet) = (None, 0, None);
        complaints.clear();
        printed.iter_mut().for_each(|output| drop(output.take()));
    }

    pub(super) fn deliver(&mut self, bytes: Bytes, told: ReturnArea) -> i32 {
        // A guest's memory, and so a length in it, ends at 4 GiB; what is sent here is far smaller.
        let length = i32::try_from(bytes.as_ref().len()).expect("no more than a packet, an error or what was received");
        self.parcel = Some(Pending { bytes, told });
        length
    }
}

/// Nothing is on its way into the guest's memory.
pub(super) const NOTHING: i32 = -1;

pub(super) fn out_of_bounds() -> wasmtime::Error {
    wasmtime::format_err!("pointer out of bounds of memory")
}

pub(super) fn span(memory: &[u8], at: u32, length: u32) -> wasmtime::Result<&[u8]> {
    memory.get(at as usize..).and_then(|rest| rest.get(..length as usize)).ok_or_else(out_of_bounds)
}

/// A result in the guest's memory, all of which are of 16 bytes: a byte that says which, and what
/// it is at 4.
pub(super) struct Slot<'a> {
    pub(super) bytes: &'a mut [u8; 16],
    at: u32,
}

impl<'a> Slot<'a> {
    pub(super) fn of(memory: &'a mut [u8], at: u32) -> wasmtime::Result<Self> {
        if !at.is_multiple_of(4) {
            return Err(wasmtime::format_err!("pointer not aligned"));
        }
        let bytes = memory.get_mut(at as usize..).and_then(|rest| rest.first_chunk_mut()).ok_or_else(out_of_bounds)?;
        Ok(Self { bytes, at })
    }

    pub(super) fn tag(&mut self, offset: usize, tag: u8) {
        self.bytes[offset] = tag;
    }

    pub(super) fn fail(mut self, error: ErrorCode, exchange: &mut Transfer) -> i32 {
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
        text.map_or(NOTHING, |text| exchange.deliver(Bytes::Text(text), ReturnArea::Span(self.at + 8)))
    }

    pub(super) fn address(mut self, address: Address, exchange: &mut Transfer) -> i32 {
        match address {
            Address::Inet(InetAddress { ip, port }) => {
                self.tag(0, 0);
                self.bytes[12..14].copy_from_slice(&port.to_le_bytes());
                exchange.deliver(Bytes::Text(ip), ReturnArea::Span(self.at + 4))
            }
            Address::Unix(path) => {
                self.tag(0, 1);
                self.tag(4, path.is_some().into());
                path.map_or(NOTHING, |path| exchange.deliver(Bytes::Text(path), ReturnArea::Span(self.at + 8)))
            }
        }
    }
}
