"""`_socket` for a plugin: the part of CPython's `socket` that is written in C, over the one socket that a session has.

CPython's own `socket.py` and `socketserver.py` stand on it unchanged, with their `makefile`, buffering and timeouts. At
set-up a socket remembers what is done to it: where it is bound, what its options are. In a session the server's socket
gives what has arrived, by `accept` or `recvfrom`.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import sys
from typing import Any, Iterable, Protocol

from . import constants, sandbox
from .constants import *  # noqa: F403
from .constants import AF_INET, AF_INET6, AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, MSG_WAITALL
from .constants import SHUT_RD, SHUT_RDWR, SHUT_WR, SO_ERROR, SO_TYPE, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET

Address = Any
"""(ip, port), (ip, port, flow, scope), or a path, as the socket's family has it."""

__all__ = [name for name in vars(constants) if name.isupper()] + (
    "error timeout has_ipv6 herror gaierror socket SocketType getdefaulttimeout setdefaulttimeout "
    "getaddrinfo getnameinfo gethostname gethostbyname gethostbyname_ex gethostbyaddr getservbyname getservbyport "
    "getprotobyname inet_aton "
    "inet_ntoa inet_pton inet_ntop htons htonl ntohs ntohl close dup socketpair sethostname if_nameindex"
).split()

error = OSError
timeout = TimeoutError
has_ipv6 = True


class herror(OSError):
    __module__ = "socket"


class gaierror(OSError):
    __module__ = "socket"


class Peer(Protocol):
    """The request of a session, which the contract carries out."""

    client: Address
    server: Address
    packet: bytes | None
    """None where the request is a connection."""
    has_spoken: bool
    """Whether the client has ever sent a byte."""
    has_left: bool
    """Whether the script was told that it has left."""

    def set_timeout(self, seconds: float | None) -> None: ...
    def receive(self, size: int) -> bytes: ...
    def send(self, data: bytes) -> None: ...
    def shut_down(self, how: int) -> None: ...
    def send_to(self, data: bytes, address: Address) -> None: ...


class Arrivals:
    """What has arrived for the server's socket and was not taken yet; then, by its descriptor, what was accepted."""

    waiting: Peer | None = None
    accepted: dict[int, Peer] = {}


# Beyond what WASI gives to folders, so that nothing that is open is taken for a socket.
descriptors = itertools.count(1000)

HARMLESS = {
    "SO_REUSEADDR SO_REUSEPORT SO_KEEPALIVE SO_BROADCAST SO_LINGER SO_SNDBUF SO_RCVBUF SO_PRIORITY SO_OOBINLINE",
    "TCP_NODELAY TCP_CORK TCP_QUICKACK TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_USER_TIMEOUT TCP_DEFER_ACCEPT",
    "TCP_FASTOPEN TCP_LINGER2 IPV6_V6ONLY IP_TOS IP_TTL",
}
"""Options that change nothing that a handler could see; they are the host's to set."""

LEVELS = {"SO": constants.SOL_SOCKET, "TCP": constants.IPPROTO_TCP, "IPV6": constants.IPPROTO_IPV6, "IP": 0}
harmless = {(LEVELS[name.partition("_")[0]], getattr(constants, name)) for names in HARMLESS for name in names.split()}


OPTION = "a plugin can't set this option, as its sockets are wharf's: see which settings the manifest has"


class socket:
    """As `_socket.socket`; what is not here CPython's socket hasn't got either where a system lacks it."""

    __slots__ = ("_family", "_type", "_proto", "_fd", "_timeout", "_peer", "_ahead", "_options", "_bound", "_backlog")

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if fileno is not None and fileno not in Arrivals.accepted:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._peer = None if fileno is None else Arrivals.accepted.pop(fileno)
        self._fd = next(descriptors) if fileno is None else fileno
        self._family = AF_INET if family == -1 else int(family)
        self._type = SOCK_STREAM if type == -1 else int(type) & ~(constants.SOCK_NONBLOCK | constants.SOCK_CLOEXEC)
        self._proto = 0 if proto == -1 else proto
        self._timeout = default_timeout[0]
        self._ahead = b""
        self._options: dict[tuple[int, int], Any] = {}
        self._bound: Address | None = None
        self._backlog: int | None = None

    family = property(lambda self: self._family)
    type = property(lambda self: self._type)
    proto = property(lambda self: self._proto)
    timeout = property(lambda self: self._timeout)

    # What a server does at set-up.

    def bind(self, address: Address) -> None:
        self._check_open()
        self._bound = bindable(self._family, self._type, address)

    def listen(self, backlog: int = 128) -> None:
        self._check_open()
        if self._bound is None:
            raise OSError(errno.EINVAL, "listen() before bind()")
        self._backlog = backlog

    def setsockopt(self, level: int, option: int, value: Any, length: int | None = None) -> None:
        self._check_open()
        if (level, option) not in harmless:
            raise OSError(errno.ENOPROTOOPT, OPTION)
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int, length: int = 0) -> Any:
        self._check_open()
        known = {(SOL_SOCKET, SO_TYPE): self._type, (SOL_SOCKET, SO_ERROR): 0}
        value = known.get((level, option), self._options.get((level, option), 0))
        return bytes(length) if length and isinstance(value, int) else value

    # What the server's socket has in a session.

    def _accept(self) -> tuple[int, Address]:
        peer = self._arrived()
        fd = next(descriptors)
        Arrivals.accepted[fd] = peer
        return fd, peer.client

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Address]:
        if self._peer is not None:
            return self.recv(size, flags), None
        peer = self._arrived()
        if peer.packet is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return peer.packet[:size], peer.client

    def recvfrom_into(self, buffer: Any, size: int = 0, flags: int = 0) -> tuple[int, Address]:
        with memoryview(buffer).cast("B") as view:
            data, address = self.recvfrom(size or len(view), flags)
            view[: len(data)] = data
            return len(data), address

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        self._check_open()
        if self._peer is not None:
            return self.send(data)
        if self._type != SOCK_DGRAM or Session.peer is None:
            raise OSError(errno.ENOTSUP, sandbox.CONNECT)
        data = bytes(data)
        Session.peer.send_to(data, flags_and_address[-1])
        return len(data)

    def _arrived(self) -> Peer:
        self._check_open()
        peer, Arrivals.waiting = Arrivals.waiting, None
        if peer is None or self is not Session.listener:
            raise OSError(errno.ENOTSUP, sandbox.ACCEPT)
        return peer

    # What the connection has.

    def recv(self, size: int, flags: int = 0) -> bytes:
        peer = self._connected(flags, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL)
        if size < 0:
            raise ValueError("negative buffersize in recv")
        if flags & MSG_PEEK:
            self._ahead = self._ahead or self._receive(peer, size, flags)
            return self._ahead[:size]
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            data = self._receive(peer, size, flags)
        while flags & MSG_WAITALL and len(data) < size:
            more = self._receive(peer, size - len(data), flags)
            if not more:
                break
            data += more
        return data

    def _receive(self, peer: Peer, size: int, flags: int) -> bytes:
        if size == 0:
            return b""
        at_once = self._timeout == 0 or flags & MSG_DONTWAIT
        peer.set_timeout(0 if at_once else self._timeout)
        try:
            return peer.receive(size)
        except TimeoutError:
            if at_once:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
            raise

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self.recv(size or len(view), flags)
            view[: len(data)] = data
            return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        peer = self._connected(flags, MSG_NOSIGNAL | MSG_DONTWAIT)
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        # The contract sends all or fails.
        peer.set_timeout(self._timeout or None)
        peer.send(data)
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.send(data, flags)

    def sendmsg(self, buffers: Iterable[Any], ancillary: Any = (), flags: int = 0, address: Address = None) -> int:
        data = b"".join(bytes(memoryview(buffer)) for buffer in buffers)
        return self.send(data, flags) if address is None else self.sendto(data, address)

    def shutdown(self, how: int) -> None:
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._connected().shut_down(how)

    def getpeername(self) -> Address:
        return self._connected().client

    def _connected(self, flags: int = 0, known: int = 0) -> Peer:
        self._check_open()
        if self._peer is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if flags & ~known:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return self._peer

    # What any socket has.

    def connect(self, address: Address) -> None:
        if sandbox.SetUp.running and sandbox.SetUp.serving_thread:
            # A script that talks to the server in its own thread, as the documentation's example does.
            raise sandbox.Serving
        raise OSError(errno.ENOTSUP, sandbox.CONNECT)

    connect_ex = connect

    def getsockname(self) -> Address:
        self._check_open()
        if self._peer is not None:
            return self._peer.server
        if self._bound is None:
            return ("0.0.0.0", 0) if self._family == AF_INET else ("::", 0, 0, 0) if self._family == AF_INET6 else ""
        return self._bound

    def settimeout(self, seconds: float | None) -> None:
        if seconds is not None and seconds < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = None if seconds is None else float(seconds)

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, blocking: bool) -> None:
        self._timeout = None if blocking else 0.0

    def getblocking(self) -> bool:
        return self._timeout != 0

    def fileno(self) -> int:
        return self._fd

    def detach(self) -> int:
        fd, self._fd = self._fd, -1
        if self._peer is not None:
            Arrivals.accepted[fd] = self._peer
        return fd

    def close(self) -> None:
        if self._fd != -1 and self._peer is not None:
            try:
                # The client is told now, though the host closes when the session ends. Its last bytes are the host's
                # to read away, so that they cause no reset.
                self._peer.shut_down(SHUT_WR)
            except OSError:
                pass
        self._fd = -1

    def _check_open(self) -> None:
        if self._fd == -1:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))


SocketType = socket


class Session:
    """The session that this instance has now."""

    peer: Peer | None = None
    listener: socket | None = None


def bindable(family: int, type: int, address: Address) -> Address:
    """The address as `getsockname` tells it afterwards."""
    if family == AF_UNIX:
        path = os.fspath(address)
        return path
    if family not in (AF_INET, AF_INET6):
        raise OSError(errno.EAFNOSUPPORT, "wharf has TCP, UDP and Unix sockets alone")
    host, port = address[:2]
    if not isinstance(port, int):
        raise TypeError(f"'{type_name(port)}' object cannot be interpreted as an integer")
    if not 0 <= port <= 65535:
        raise OverflowError("bind(): port must be 0-65535.")
    ip = resolved(host, family)
    return (ip, port) if family == AF_INET else (ip, port, *(*address[2:], 0, 0)[:2])


def type_name(value: Any) -> str:
    return value.__class__.__name__


def resolved(host: Any, family: int) -> str:
    """The IP address that `host` means, of this family."""
    name = host.decode() if isinstance(host, (bytes, bytearray)) else host
    six = family == AF_INET6
    if name in (None, ""):
        return "::" if six else "0.0.0.0"
    if name in ("localhost", HOST_NAME):
        return "::1" if six else "127.0.0.1"
    if name == "<broadcast>" and not six:
        return "255.255.255.255"
    try:
        ip = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        raise gaierror(constants.EAI_NONAME, f"{name!r}: {sandbox.RESOLVE}") from None
    if (ip.version == 6) != six:
        raise gaierror(constants.EAI_ADDRFAMILY, "Address family for hostname not supported")
    return str(ip)


HOST_NAME = "localhost"
"""The name of the machine that a plugin believes to be on."""

default_timeout: list[float | None] = [None]


def getdefaulttimeout() -> float | None:
    return default_timeout[0]


def setdefaulttimeout(seconds: float | None) -> None:
    default_timeout[0] = None if seconds is None else float(seconds)


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> list[tuple[int, int, int, str, Address]]:
    kinds = [(SOCK_STREAM, constants.IPPROTO_TCP), (SOCK_DGRAM, constants.IPPROTO_UDP)]
    number = 0 if port is None else getservbyname(port) if isinstance(port, str) and not port.isdigit() else int(port)
    local = "" if flags & constants.AI_PASSIVE else "localhost"
    name = local if host in (None, "", b"") else host
    found, failed = [], None
    for family_ in [family] if family else [AF_INET, AF_INET6]:
        try:
            ip = resolved(name, family_)
        except gaierror as unknown:
            failed = unknown
            continue
        address = (ip, number) if family_ == AF_INET else (ip, number, 0, 0)
        found += [(family_, kind, number_, "", address) for kind, number_ in kinds if type in (0, kind)]
    if not found and failed is not None:
        raise failed
    return found


def getnameinfo(address: Address, flags: int) -> tuple[str, str]:
    return str(address[0]), str(address[1])


def gethostname() -> str:
    return HOST_NAME


def gethostbyname(name: str) -> str:
    return resolved(name, AF_INET)


def gethostbyname_ex(name: str) -> tuple[str, list[str], list[str]]:
    return name, [], [resolved(name, AF_INET)]


def gethostbyaddr(ip: str) -> tuple[str, list[str], list[str]]:
    if ip in ("localhost", "127.0.0.1", "::1"):
        return "localhost", [], [ip]
    raise herror(1, "Unknown host")


SERVICES = {"echo": 7, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "http": 80, "https": 443}


def getservbyname(name: str, protocol: str = "") -> int:
    if name not in SERVICES:
        raise OSError("service/proto not found")
    return SERVICES[name]


def getservbyport(port: int, protocol: str = "") -> str:
    for name, number in SERVICES.items():
        if number == port:
            return name
    raise OSError("port/proto not found")


def getprotobyname(name: str) -> int:
    numbers = {"ip": 0, "icmp": 1, "tcp": constants.IPPROTO_TCP, "udp": constants.IPPROTO_UDP}
    if name not in numbers:
        raise OSError("protocol not found")
    return numbers[name]


def inet_aton(text: str) -> bytes:
    return inet_pton(AF_INET, text)


def inet_ntoa(packed: bytes) -> str:
    return inet_ntop(AF_INET, packed)


def inet_pton(family: int, text: str) -> bytes:
    try:
        return (ipaddress.IPv4Address if family == AF_INET else ipaddress.IPv6Address)(text).packed
    except ValueError:
        raise OSError("illegal IP address string passed to inet_pton") from None


def inet_ntop(family: int, packed: bytes) -> str:
    if len(packed) != (4 if family == AF_INET else 16):
        raise ValueError("invalid length of packed IP address string")
    return str((ipaddress.IPv4Address if family == AF_INET else ipaddress.IPv6Address)(bytes(packed)))


def htons(number: int) -> int:
    return int.from_bytes(number.to_bytes(2, "big"), sys.byteorder)


def htonl(number: int) -> int:
    return int.from_bytes(number.to_bytes(4, "big"), sys.byteorder)


ntohs, ntohl = htons, htonl


def close(fd: int) -> None:
    Arrivals.accepted.pop(fd, None)


def dup(fd: int) -> int:
    raise OSError(errno.ENOTSUP, "a plugin has one socket, which can't be duplicated: use self.request itself")


def socketpair(*_: Any) -> Any:
    raise OSError(errno.ENOTSUP, "a plugin has no socket pairs: there is no other thread or process to talk to")


def sethostname(name: str) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def if_nameindex() -> list[tuple[int, str]]:
    return []


def install() -> None:
    """Puts this module where `socket` looks for `_socket`."""
    for name in ("socket", "socketserver", "http.server"):
        assert name not in sys.modules, f"{name} was imported too early"
    sys.modules["_socket"] = sys.modules[__name__]
