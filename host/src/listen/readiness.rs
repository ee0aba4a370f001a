//! Sockets that the runtime watches.

use std::io;

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a socket.
///
/// # Errors
/// Those of epoll_ctl(2).
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn watched(socket: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    #[expect(unsafe_code, reason = "tokio offers readiness of any descriptor in no other way")]
    // SAFETY: a `Socket` owns its descriptor, and stands for the same one for as long as it lives.
    let registered = unsafe { AsyncFd::register_with_interest(socket, interest) };
    Ok(registered?)
}
