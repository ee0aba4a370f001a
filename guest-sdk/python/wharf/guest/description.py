"""What a server object says about itself, as a manifest has it."""

from __future__ import annotations

import os
from typing import Any

from .constants import AF_INET6, AF_UNIX, IPPROTO_IPV6, IPV6_V6ONLY, SO_REUSEPORT, SOCK_DGRAM, SOL_SOCKET
from .script import POLL_INTERVAL, Unservable

STANDARD = {"socketserver", "http.server", "xmlrpc.server", "wsgiref.simple_server", "logging.config"}
"""Modules whose own server classes say nothing that is the script's wish."""

ADDRESS = (
    "its server's address can't be told: call server_bind() of socketserver in yours, "
    "so that the socket is bound to what the plugin is to listen on"
)


def describe(server: Any, poll_interval: float) -> dict[str, Any]:
    """The manifest's keys, in `settings`; `kind` of handler; whether the hook for service_actions is wanted."""
    import socketserver

    if not isinstance(server, socketserver.BaseServer) or not callable(server.RequestHandlerClass):
        raise Unservable("serve_forever() was called on what is no server with a handler class")
    try:
        listener = server.socket
        bound, options = listener._bound, listener._options
        family, datagram = listener.family, listener.type == SOCK_DGRAM
    except AttributeError:
        raise Unservable(ADDRESS) from None
    if bound is None:
        raise Unservable(
            "its server is not bound to an address: leave bind_and_activate as it is, or call server_bind()"
        )
    settings: dict[str, Any] = {"listen": urls(family, datagram, bound, options)}
    threading = isinstance(server, socketserver.ThreadingMixIn)
    forking = isinstance(server, socketserver.ForkingMixIn)
    settings["concurrency"] = "thread" if threading else "process" if forking else "serial"

    backlog = listener._backlog
    if backlog and (own(server, "request_queue_size") or backlog != server.request_queue_size):
        settings["backlog"] = backlog
    if own(server, "allow_reuse_address") and not server.allow_reuse_address:
        settings["allow-reuse-address"] = False
    # By the class, or by hand; what the library's own classes choose is different from version to version.
    by_class = getattr(server, "allow_reuse_port", False)
    if (by_class and own(server, "allow_reuse_port")) or (not by_class and options.get((SOL_SOCKET, SO_REUSEPORT))):
        settings["allow-reuse-port"] = True
    if datagram and server.max_packet_size != socketserver.UDPServer.max_packet_size:
        settings["max-packet-size"] = server.max_packet_size
    if forking and server.max_children != socketserver.ForkingMixIn.max_children:
        settings["max-children"] = server.max_children
    if threading and server.daemon_threads:
        settings["daemon-threads"] = True
    if (threading or forking) and not server.block_on_close:
        settings["block-on-close"] = False
    handler = server.RequestHandlerClass
    if own(handler, "disable_nagle_algorithm") and not handler.disable_nagle_algorithm:
        settings["disable-nagle-algorithm"] = False
    hooks = own(server, "service_actions")
    if hooks and poll_interval != POLL_INTERVAL:
        settings["service-interval"] = f"{max(round(poll_interval * 1000), 1)}ms"
    return {
        "kind": "datagram" if datagram else "stream",
        "settings": settings,
        "hooks": hooks,
    }


def own(thing: Any, name: str) -> bool:
    """Whether the script itself has set this, and not the standard library."""
    if name in getattr(thing, "__dict__", {}) and not isinstance(thing, type):
        return True
    classes = thing.__mro__ if isinstance(thing, type) else type(thing).__mro__
    for class_ in classes:
        if name in class_.__dict__:
            return class_.__module__ not in STANDARD
    return False


def urls(family: int, datagram: bool, bound: Any, options: dict[Any, Any]) -> list[str]:
    if family == AF_UNIX:
        path = os.fsdecode(bound)
        if path.startswith("\0"):
            path = "@" + path[1:]
        return [f"{'unixgram' if datagram else 'unix'}://{path}"]
    scheme = "udp" if datagram else "tcp"
    ip, port = bound[:2]
    if family != AF_INET6:
        return [f"{scheme}://{ip}:{port}"]
    # On Linux a socket on all IPv6 addresses has IPv4's too, unless it says otherwise; wharf's has not. With port 0
    # each would get a port of its own.
    both = ip == "::" and port != 0 and not options.get((IPPROTO_IPV6, IPV6_V6ONLY))
    return [f"{scheme}://[{ip}]:{port}"] + ([f"{scheme}://0.0.0.0:{port}"] if both else [])
