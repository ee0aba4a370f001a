//! What a guest's request comes by, as much of it as a guest needs. Sockets implement it, and
//! nothing here knows them.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::config::SocketAddress;

/// A client's connection, as much of it as a guest needs.
pub trait Connection: Send + Sync {
    /// Reads `max` bytes at most, behind what `buffer` has; 0 bytes is end-of-stream.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>>;
    /// Writes what can be written now; `WouldBlock` if that is nothing.
    fn try_send(&self, data: &[u8]) -> io::Result<usize>;
    /// Waits until something can be written again.
    fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// Closes such that the client gets all that was sent.
    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A datagram socket, as much of it as a guest needs.
pub trait DatagramSocket: Send + Sync {
    /// Sends one datagram, from the address `from` where that is one of several; `WouldBlock` if
    /// there is no room for it now.
    fn try_send_to(&self, data: &[u8], destination: &SocketAddress, from: Option<&SocketAddress>) -> io::Result<()>;
    /// Waits until there may be room again.
    fn poll_sendable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
