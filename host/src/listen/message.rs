//! Datagrams with what the kernel tells of them, and what it is told: recvmsg(2) and sendmsg(2).

use std::io::{self, IoSlice};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use socket2::{MsgHdr, SockAddr, Socket};

/// Room for what the kernel tells, aligned as it writes it: how many datagrams were dropped (24
/// bytes), and where this one was sent to (32 or 40).
const CONTROL_ROOM: usize = 8;

/// What the kernel tells of a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ancillary {
    /// The address that it was sent to, without a port, where the socket is bound to them all.
    pub(super) at: Option<(IpAddr, u32)>,
    /// How many the kernel had to drop since the socket was opened, modulo 2^32; none if it says
    /// nothing, for want of any.
    pub(super) dropped: Option<u32>,
}

/// Receives one datagram: its length, and its sender.
pub(super) fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, SockAddr, Ancillary)> {
    let mut control = [0_u64; CONTROL_ROOM];
    #[expect(unsafe_code, reason = "socket2's and rustix's tell either the sender or what else the kernel says")]
    // SAFETY: the header's pointers are to `storage`, `part`, `buffer` and `control`, which all
    // outlive the call, each with its own size. The kernel writes an address of `namelen` bytes
    // into `storage`, or none, and says how many.
    let received = unsafe {
        SockAddr::try_init(|storage, length| {
            let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let mut header: libc::msghdr = mem::zeroed();
            header.msg_name = storage.cast();
            header.msg_namelen = *length;
            header.msg_iov = &raw mut part;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = mem::size_of_val(&control);
            let read = usize::try_from(libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0))
                .map_err(|_| io::Error::last_os_error())?;
            *length = header.msg_namelen;
            Ok((read, header.msg_controllen))
        })
    };
    let ((read, told), client) = received?;
    let told = match told {
        0 => Ancillary::default(),
        told => parse(&control.map(u64::to_ne_bytes).as_flattened()[..told.min(mem::size_of_val(&control))]),
    };
    Ok((read, client, told))
}

/// A control message's head: its length with the head, its level and its type (cmsg(3)).
const HEAD: usize = 16;

fn parse(mut control: &[u8]) -> Ancillary {
    let mut told = Ancillary::default();
    while let Some((head, _)) = control.split_first_chunk::<HEAD>() {
        let [length, kind] = [0, 8].map(|at| u64::from_ne_bytes(head[at..at + 8].try_into().expect("8 bytes")));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(data) = control.get(HEAD..length) else { break };
        let number = |at: usize| Some(u32::from_ne_bytes(*data.get(at..)?.first_chunk()?));
        if kind == self::kind(libc::SOL_SOCKET, libc::SO_RXQ_OVFL) {
            told.dropped = number(0);
        } else if kind == self::kind(libc::IPPROTO_IP, libc::IP_PKTINFO) {
            // ip(7): the interface, the address to answer from, and the one in the packet, which
            // may be a broadcast's.
            told.at = data.get(4..8).and_then(<[u8]>::first_chunk).map(|ip: &[u8; 4]| (Ipv4Addr::from(*ip).into(), 0));
        } else if kind == self::kind(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) {
            let ip = data.first_chunk().map(|ip: &[u8; 16]| Ipv6Addr::from(*ip).into());
            told.at = ip.zip(number(16));
        }
        control = control.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    told
}

/// Level and type, as they stand beside each other.
fn kind(level: libc::c_int, kind: libc::c_int) -> u64 {
    let [a, b] = [level, kind].map(i32::to_ne_bytes);
    u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
}

/// An address with what the kernel told of it.
pub(super) fn socket_addr((ip, interface): (IpAddr, u32), port: u16) -> SocketAddr {
    match ip {
        // Only there does the interface belong to the address.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, interface).into(),
        ip => SocketAddr::new(ip, port),
    }
}

/// Sends one datagram from an address of this machine's.
pub(super) fn send_from(socket: &Socket, data: &[u8], to: SocketAddr, from: SocketAddr) -> io::Result<()> {
    let mut control = [0; HEAD + 24];
    let used = match from {
        SocketAddr::V4(from) => {
            // The interface is the routing table's to choose.
            control[HEAD + 4..HEAD + 8].copy_from_slice(&from.ip().octets());
            head(&mut control, 12, libc::IPPROTO_IP, libc::IP_PKTINFO)
        }
        SocketAddr::V6(from) => {
            control[HEAD..HEAD + 16].copy_from_slice(&from.ip().octets());
            control[HEAD + 16..HEAD + 20].copy_from_slice(&from.scope_id().to_ne_bytes());
            head(&mut control, 20, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)
        }
    };
    let (to, parts) = (SockAddr::from(to), [IoSlice::new(data)]);
    let message = MsgHdr::new().with_addr(&to).with_buffers(&parts).with_control(&control[..used]);
    socket.sendmsg(&message, libc::MSG_NOSIGNAL).map(drop)
}

/// Writes the head of a control message with so many bytes of data; the space that it takes with
/// these.
fn head(control: &mut [u8], data: usize, level: libc::c_int, kind: libc::c_int) -> usize {
    control[..8].copy_from_slice(&(HEAD + data).to_ne_bytes());
    control[8..HEAD].copy_from_slice(&self::kind(level, kind).to_ne_bytes());
    HEAD + data.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read_and_what_is_cut_off_is_not() {
        let mut control = [0; 64];
        control[HEAD..HEAD + 4].copy_from_slice(&7_u32.to_ne_bytes());
        let first = head(&mut control, 4, libc::SOL_SOCKET, libc::SO_RXQ_OVFL);
        control[first + HEAD + 4..first + HEAD + 8].copy_from_slice(&[192, 0, 2, 1]);
        let second = head(&mut control[first..], 12, libc::IPPROTO_IP, libc::IP_PKTINFO);
        let at = Some((Ipv4Addr::new(192, 0, 2, 1).into(), 0));
        assert_eq!(parse(&control[..first + second]), Ancillary { at, dropped: Some(7) });
        assert_eq!(parse(&control[..first + second - 8]), Ancillary { at: None, dropped: Some(7) });
        assert_eq!(parse(&control[..first - 8]), Ancillary::default());
        assert_eq!(parse(&[]), Ancillary::default());
        // A length that is none, or beyond all, ends it.
        assert_eq!(parse(&[0; 64]), Ancillary::default());
        assert_eq!(parse(&[0xff; 64]), Ancillary::default());
    }
}
