//! Options of sockets beyond those that std and socket2 have names for.

use std::io;
use std::mem::size_of_val;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::sockopt::{
    set_socket_keepalive, set_socket_recv_buffer_size, set_socket_send_buffer_size, set_tcp_keepcnt, set_tcp_keepidle,
    set_tcp_keepintvl, socket_recv_buffer_size, socket_send_buffer_size,
};
use socket2::Socket;

use crate::config::{ListenAddress, SocketSettings};

/// Has the kernel tell, with each datagram, how many it has dropped before; and to which address it
/// was sent, where the socket is bound to them all.
///
/// # Errors
/// Those of setsockopt(2).
pub(super) fn tell_of_datagrams(socket: &Socket, local: SocketAddr) -> io::Result<()> {
    switch_on(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)?;
    match local {
        _ if !local.ip().is_unspecified() => Ok(()),
        SocketAddr::V4(_) => switch_on(socket, libc::IPPROTO_IP, libc::IP_PKTINFO),
        // Of IPv4's datagrams, too, on a socket of both families.
        SocketAddr::V6(_) => switch_on(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    }
}

fn switch_on(socket: &Socket, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    #[expect(unsafe_code, reason = "rustix and socket2 have no names for these options")]
    // SAFETY: the value is an int, as all of these options are, and its size is what it is.
    let outcome = unsafe {
        let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), size)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets what may be set at any time. A listener's connections inherit it.
///
/// # Errors
/// Those of setsockopt(2).
pub(super) fn set(socket: impl AsFd, address: &ListenAddress, settings: &SocketSettings) -> io::Result<()> {
    let socket = socket.as_fd();
    if let ListenAddress::Tcp(_) = address {
        set_socket_keepalive(socket, settings.keepalive.is_some())?;
        if let Some(keepalive) = settings.keepalive {
            set_tcp_keepidle(socket, keepalive.idle)?;
            set_tcp_keepintvl(socket, keepalive.interval)?;
            set_tcp_keepcnt(socket, keepalive.count)?;
        }
    }
    // Of Unix sockets the kernel heeds neither: what a sender may have on its way is the sender's
    // own to say.
    if let ListenAddress::Tcp(_) | ListenAddress::Udp(_) = address {
        let asked = |bytes: Option<u32>| bytes.map(|bytes| bytes as usize);
        if let Some(bytes) = asked(settings.receive_buffer) {
            set_socket_recv_buffer_size(socket, bytes)?;
            tell_if_less(address, "receive-buffer", "net.core.rmem_max", bytes, socket_recv_buffer_size(socket)?);
        }
        if let Some(bytes) = asked(settings.send_buffer) {
            set_socket_send_buffer_size(socket, bytes)?;
            tell_if_less(address, "send-buffer", "net.core.wmem_max", bytes, socket_send_buffer_size(socket)?);
        }
    }
    Ok(())
}

/// socket(7): the kernel doubles what is asked for, to have room for its own bookkeeping, and
/// answers with that.
fn tell_if_less(address: &ListenAddress, key: &str, limit: &str, asked: usize, doubled: usize) {
    let given = doubled / 2;
    if given < asked {
        tracing::warn!(%address, asked, given, "{key}: the kernel gave less; {limit} is its limit");
    }
}
