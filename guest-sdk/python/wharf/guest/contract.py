"""The contract's imports as a session's peer: the only module that knows their names."""

from __future__ import annotations

import errno
import os
from typing import Any, Callable

from componentize_py_types import Err
from wit_world.imports import types

from .constants import AF_INET6, SHUT_RD, SHUT_RDWR, SHUT_WR

try:
    from wit_world.imports import connection

    imported: Any = connection
    DIRECTIONS = {
        SHUT_RD: connection.Direction.READ,
        SHUT_WR: connection.Direction.WRITE,
        SHUT_RDWR: connection.Direction.BOTH,
    }
except ImportError:
    from wit_world.imports import datagram

    imported = datagram

ERRORS: dict[type, tuple[type[OSError], int]] = {
    types.ErrorCode_TimedOut: (TimeoutError, errno.ETIMEDOUT),
    types.ErrorCode_ConnectionReset: (ConnectionResetError, errno.ECONNRESET),
    types.ErrorCode_BrokenPipe: (BrokenPipeError, errno.EPIPE),
    types.ErrorCode_MessageTooLarge: (OSError, errno.EMSGSIZE),
    types.ErrorCode_NotPermitted: (PermissionError, errno.EPERM),
}


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """An import, whose error codes are Python's exceptions."""
    try:
        return function(*arguments)
    except Err as error:
        code = error.value
    if isinstance(code, types.ErrorCode_TimedOut):
        # As a socket's: with a text alone.
        raise TimeoutError("timed out")
    if type(code) in ERRORS:
        kind, number = ERRORS[type(code)]
        raise kind(number, os.strerror(number))
    raise OSError(errno.EIO, getattr(code, "value", str(code)))


def python_address(address: Any, family: int) -> Any:
    """As a socket of this family tells it."""
    if isinstance(address, types.Address_Unix):
        name = address.value
        return name if name is None or not name.startswith("@") else b"\0" + os.fsencode(name[1:])
    ip, port = address.value.ip, address.value.port
    if family != AF_INET6:
        return (ip, port)
    return (ip if ":" in ip else f"::ffff:{ip}", port, 0, 0)


def contract_address(address: Any) -> Any:
    if isinstance(address, tuple):
        host, port = address[:2]
        ip = "127.0.0.1" if host == "localhost" else host.removeprefix("::ffff:")
        return types.Address_Inet(types.InetAddress(ip, port))
    name = os.fsdecode(address)
    return types.Address_Unix("@" + name[1:] if name.startswith("\0") else name)


class Peer:
    """The request that the host has for this instance."""

    def __init__(self, family: int, packet: bytes | None = None) -> None:
        self.packet = packet
        self.client = python_address(imported.client_address(), family)
        self.server = python_address(imported.server_address(), family)
        if packet is None and self.client is None:
            # What accept(2) tells of a client without a name.
            self.client = ""
        self.timeout: float | None = None
        self.shut = False
        # A client that has left without a byte is a health check, and no fault of the script's.
        self.has_spoken = packet is not None
        self.has_left = False

    def set_timeout(self, seconds: float | None) -> None:
        if seconds != self.timeout:
            imported.set_timeout(None if seconds is None else int(seconds * 1e9))
            self.timeout = seconds

    def receive(self, size: int) -> bytes:
        try:
            data = call(imported.recv, size)
        except ConnectionError:
            self.has_left = True
            raise
        if data:
            self.has_spoken = True
        else:
            self.has_left = True
        return data

    def send(self, data: bytes) -> None:
        try:
            call(imported.send, data)
        except ConnectionError:
            self.has_left = True
            raise

    def shut_down(self, how: int) -> None:
        if how == SHUT_WR:
            if self.shut:
                return
            self.shut = True
        call(imported.shutdown, DIRECTIONS[how])

    def send_to(self, data: bytes, address: Any) -> None:
        call(imported.send_to, data, contract_address(address))
