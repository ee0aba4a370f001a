"""What a plugin can't do, each with one sentence about what to do instead, and the functions that say so.

`install` puts them in place, in plain Python and inside the plugin alike, so that a script that can't work fails at the
build already if what it does can be seen there.
"""

from __future__ import annotations

import builtins
import errno
import importlib.abc
import os
import re
import select
import selectors
import signal
import subprocess
import sys
import threading
import time
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from typing import Any, Callable, NoReturn

CONNECT = (
    "a plugin can't open connections of its own, as wharf gives guests no outbound network: "
    "put what the handler needs into a folder that [[grants.dirs]] of the manifest grants"
)
ACCEPT = (
    "a plugin has no sockets to accept on but its server's: "
    "let a server class of socketserver accept, by serve_forever()"
)
RESOLVE = "a plugin can't look up host names: write an IP address, 'localhost', or '' for all addresses"
PROCESS = (
    "a plugin can't start processes: do the work in Python within the handler, "
    "or choose ForkingMixIn for a process for each client"
)
THREAD = (
    "a plugin can't start threads: do the work within the handler, "
    "and choose ThreadingMixIn for clients that are served at once"
)
SIGNAL = (
    "a plugin gets no signals: bound a wait with settimeout(), do periodic work in service_actions(), "
    "and leave SIGINT, SIGTERM and SIGHUP to wharf"
)
SELECT = "a plugin can't wait for several descriptors: read from self.request, and bound the wait with settimeout()"
SHUTDOWN = (
    "a plugin can't stop its server: send SIGTERM to `wharf serve`, or let `wharf run --requests N` end by itself"
)
ABSENT = {
    "ssl": "a plugin has no ssl module: let a proxy in front of wharf end TLS",
    "ctypes": "a plugin can't load native libraries, and so has no ctypes: use a package in pure Python",
    "tkinter": "a plugin has no display, and so no tkinter: remove the import",
    "readline": "a plugin has no terminal, and so no readline: remove the import",
    "curses": "a plugin has no terminal, and so no curses: remove the import",
    "termios": "a plugin has no terminal, and so no termios: remove the import",
    "pty": "a plugin has no terminal, and so no pty: remove the import",
    "tty": "a plugin has no terminal, and so no tty: remove the import",
    **{
        name: f"a plugin's Python has no module {name}, which needs what WASI lacks: do without it"
        for name in ("fcntl", "resource", "mmap", "pwd", "grp", "syslog", "bz2", "lzma")
    },
    **{
        name: f"a plugin's Python has no module {name}, which needs what WASI lacks: do without it"
        for name in ("_ssl", "_ctypes", "_tkinter", "_curses", "_bz2", "_lzma", "_posixshmem", "_multiprocessing")
    },
}
"""Modules of the standard library that CPython for WASI is without."""

HEEDED_BY_WHARF = {
    getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGCHLD", "SIGQUIT")
}


EXTENSION = "is a C extension, which can't be loaded in a plugin: use a package in pure Python"

SENTENCES = (CONNECT, ACCEPT, RESOLVE, PROCESS, THREAD, SIGNAL, SELECT, SHUTDOWN, EXTENSION, *ABSENT.values())


def sentence_in(error: BaseException | None) -> str | None:
    """What a plugin can't do, if that is what became this exception."""
    while error is not None:
        for sentence in SENTENCES:
            # With the name that stands before some.
            before = r"[\w.]+ " if sentence is EXTENSION else r"('[^']*': )?"
            found = re.search(before + re.escape(sentence), str(error))
            if found:
                return found[0]
        error = error.__cause__ or error.__context__
    return None


class Refusals(importlib.abc.MetaPathFinder):
    """Refuses the modules that a plugin can't have, as an import error with their sentence."""

    library = os.path.dirname(os.__file__) + os.sep
    packages = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in ABSENT:
            raise ModuleNotFoundError(ABSENT[name], name=name)
        spec = PathFinder.find_spec(name, path)
        origin = (spec.origin if spec else None) or ""
        if origin.endswith(tuple(EXTENSION_SUFFIXES)) and not self.is_pythons(origin):
            raise ImportError(f"{name} {EXTENSION}", name=name)
        return None

    def is_pythons(self, origin: str) -> bool:
        return origin.startswith(self.library) and not any(package in origin for package in self.packages)


def refuses(sentence: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.ENOTSUP, sentence)

    return refuse


class SetUp:
    """How far the script is, for functions that mean something else while it sets up its server."""

    running = False
    in_thread = False
    """Whether the body of a thread runs now."""
    serving_thread = False
    """Whether a thread of the script has begun to serve."""
    notes: list[str] = []
    """What the user is to know of, though it doesn't keep the script from being a plugin."""


class Serving(BaseException):
    """Ends the script at the place where it has begun to serve, and where CPython would stay."""


def waits(function: Callable[..., Any]) -> Callable[..., Any]:
    """A wait at set-up, with a server in a thread, is where the script has nothing left to set up."""

    def wait(*args: Any, **kwargs: Any) -> Any:
        if SetUp.in_thread:
            raise RuntimeError(THREAD)
        if SetUp.running and SetUp.serving_thread:
            raise Serving
        return function(*args, **kwargs)

    wait.__name__ = wait.__qualname__ = getattr(function, "__name__", "wait")
    return wait


def start_thread(thread: threading.Thread) -> None:
    """Threads there are none, but a thread that only serves needs none."""
    target = getattr(thread, "_target", None)
    if not SetUp.running or getattr(target, "__module__", None) == "concurrent.futures.thread":
        raise RuntimeError(THREAD)
    SetUp.in_thread = True
    try:
        thread.run()
    except Serving:
        SetUp.serving_thread = True
        thread._started.set()  # type: ignore[attr-defined]
        return
    finally:
        SetUp.in_thread = False
    raise RuntimeError(THREAD)


def handle_signal(number: int, handler: Any) -> Any:
    if number not in HEEDED_BY_WHARF:
        raise OSError(errno.ENOTSUP, SIGNAL)
    if callable(handler):
        SetUp.notes.append(f"{signal.Signals(number).name} is wharf's to heed: the script's handler is never called")
    return signal.SIG_DFL


def install() -> None:
    """Everything but sockets, which `sockets.install` does."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ABSENT:
            del sys.modules[name]
    sys.meta_path.insert(0, Refusals())

    process = refuses(PROCESS)
    # socketserver has its forking classes where there is a fork.
    for name in ("fork", "forkpty", "system", "popen", "posix_spawn", "posix_spawnp", "execv", "execve"):
        setattr(os, name, process)
    if not hasattr(os, "register_at_fork"):
        # Which a module may call that has found a fork.
        os.register_at_fork = lambda **_: None  # type: ignore[assignment]
    subprocess.Popen.__init__ = process  # type: ignore[assignment]

    threading.Thread.start = start_thread  # type: ignore[method-assign]
    threading.Thread.join = waits(threading.Thread.join)  # type: ignore[method-assign]
    threading.Event.wait = waits(threading.Event.wait)  # type: ignore[method-assign]
    time.sleep = waits(time.sleep)
    builtins.input = waits(builtins.input)

    signal.signal = handle_signal  # type: ignore[assignment]
    for name in ("alarm", "setitimer", "pause", "sigwait", "siginterrupt"):
        setattr(signal, name, waits(refuses(SIGNAL)))

    for name in ("select", "poll", "epoll"):
        setattr(select, name, refuses(SELECT))
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "DefaultSelector"):
        setattr(selectors, name, refuses(SELECT))
