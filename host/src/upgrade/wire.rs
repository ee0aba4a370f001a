//! What two hosts tell each other, over a stream of Unix sockets. It is text, TOML with its length
//! in front, because the two may be of different versions: a key that one does not know is passed
//! over.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::config::ListenAddress;
use crate::listen::PassedSocket;

/// Descriptors in one message; unix(7) allows 253.
const TOGETHER: usize = 128;
/// The longest document that is read: more than all the listeners that descriptors allow.
const LONGEST: usize = 64 << 20;

/// The running host's sockets. The descriptors follow it, in the same order.
#[derive(Serialize, Deserialize)]
pub(super) struct Inventory {
    #[serde(default)]
    sockets: Vec<Item>,
}

#[derive(Serialize, Deserialize)]
struct Item {
    address: ListenAddress,
    plugin: Option<String>,
    asked: Option<ListenAddress>,
    #[serde(default)]
    activated: bool,
    /// Device and inode, as TOML has numbers.
    file: Option<(i64, i64)>,
}

impl Inventory {
    pub(super) fn of(sockets: &[PassedSocket]) -> Self {
        let item = |handed: &PassedSocket| Item {
            address: handed.address.clone(),
            plugin: handed.user.as_ref().map(|(plugin, _)| plugin.to_string()),
            asked: handed.user.as_ref().map(|(_, asked)| asked.clone()),
            activated: handed.activated,
            file: handed.file.map(|(device, inode)| (device.cast_signed(), inode.cast_signed())),
        };
        Self { sockets: sockets.iter().map(item).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    pub(super) fn with(self, descriptors: impl IntoIterator<Item = OwnedFd>) -> Vec<PassedSocket> {
        let handed = |(item, socket): (Item, OwnedFd)| PassedSocket {
            socket: socket.into(),
            address: item.address,
            user: item.plugin.map(Into::into).zip(item.asked),
            activated: item.activated,
            file: item.file.map(|(device, inode)| (device.cast_unsigned(), inode.cast_unsigned())),
        };
        self.sockets.into_iter().zip(descriptors).map(handed).collect()
    }
}

/// What the successor tells.
#[derive(Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "kebab-case")]
pub(super) enum News {
    Loaded {
        plugin: String,
    },
    Refused {
        plugin: String,
        reason: String,
    },
    /// All are loaded or refused; nothing is served.
    Ready,
    /// All are served; of the inventory's sockets these were taken.
    Serving {
        taken: Vec<usize>,
    },
}

/// What the running host answers when the successor is ready and it agrees.
pub(super) const GO: u8 = b'!';

pub(super) async fn write(stream: &UnixStream, document: &impl Serialize) -> io::Result<()> {
    let text = toml::to_string(document).map_err(io::Error::other)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    write_all(stream, &[&length.to_le_bytes(), text.as_bytes()].concat()).await
}

pub(super) async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = send(stream, bytes, &[]).await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Sends descriptors, with a byte for each message of them.
pub(super) async fn write_descriptors(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for together in descriptors.chunks(TOGETHER) {
        send(stream, &[0], together).await?;
    }
    Ok(())
}

async fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let send = || {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(TOGETHER))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
    };
    stream.async_io(Interest::WRITABLE, send).await
}

/// Reads one document. Not cancel-safe.
pub(super) async fn read<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    read_exact(stream, &mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a document that is too long"));
    }
    let mut text = vec![0; length];
    read_exact(stream, &mut text).await?;
    toml::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.message().to_owned()))
}

async fn read_exact(stream: &UnixStream, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        let read = receive(stream, into, &mut VecDeque::new()).await?;
        into = &mut into[read..];
    }
    Ok(())
}

/// Reads so many descriptors. Not cancel-safe.
pub(super) async fn read_descriptors(stream: &UnixStream, count: usize) -> io::Result<VecDeque<OwnedFd>> {
    let mut descriptors = VecDeque::with_capacity(count);
    while descriptors.len() < count {
        receive(stream, &mut [0], &mut descriptors).await?;
    }
    Ok(descriptors)
}

/// Reads what is there, at least a byte. Cancel-safe.
async fn receive(stream: &UnixStream, into: &mut [u8], descriptors: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let receive = || {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(TOGETHER))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let read = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(into)], &mut control, flags)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    };
    stream.async_io(Interest::READABLE, receive).await
}

/// Waits for the one byte that the running host may answer. Cancel-safe.
pub(super) async fn answer(stream: &UnixStream) -> io::Result<u8> {
    let mut byte = [0];
    receive(stream, &mut byte, &mut VecDeque::new()).await?;
    Ok(byte[0])
}
