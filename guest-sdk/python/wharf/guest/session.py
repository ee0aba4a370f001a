"""One session: what serve_forever() does in CPython when a client is there, with CPython's own code."""

from __future__ import annotations

import socketserver
import sys
from typing import Any

from . import sockets


class Failure:
    """The exception that socketserver's own handle_error has reported in this session."""

    cause: BaseException | None = None


def prepare() -> None:
    """Leaves the concurrency to the host: a thread or process for the session is its business."""
    handle_error = socketserver.BaseServer.handle_error

    def reports(server: Any, request: Any, client_address: Any) -> None:
        Failure.cause = sys.exc_info()[1]
        peer = sockets.Session.peer
        if peer is not None and peer.has_left and not peer.has_spoken:
            # A health check: the host counts it, and has the reason at its level of debugging.
            return
        handle_error(server, request, client_address)

    socketserver.BaseServer.handle_error = reports  # type: ignore[method-assign]
    in_thread = socketserver.ThreadingMixIn.process_request_thread
    socketserver.ThreadingMixIn.process_request = in_thread  # type: ignore[method-assign]
    # The body of a forked child is the same.
    socketserver.ForkingMixIn.process_request = in_thread  # type: ignore[attr-defined]


def serve(server: Any, peer: sockets.Peer) -> BaseException | None:
    """Verifies, sets up, handles and finishes; returns what failed, unless a handle_error of the script's took it."""
    Failure.cause = None
    sockets.Session.listener, sockets.Session.peer = server.socket, peer
    sockets.Arrivals.waiting = peer
    tell_address(server, peer)
    try:
        server._handle_request_noblock()
    finally:
        sockets.Session.peer = sockets.Arrivals.waiting = None
        sockets.Arrivals.accepted.clear()
    return Failure.cause


def tell_address(server: Any, peer: sockets.Peer) -> None:
    """`server_address` with the port that the server has, which the kernel or the operator may have chosen."""
    address = peer.server
    if isinstance(address, tuple):
        asked = server.server_address
        if asked[0] in ("0.0.0.0", "::"):
            address = (asked[0], *address[1:])
        if hasattr(server, "server_port"):
            server.server_port = address[1]
    server.server_address = address
