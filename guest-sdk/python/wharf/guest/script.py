"""Runs a script up to where it serves."""

from __future__ import annotations

import ast
import builtins
import gc
import importlib
import io
import linecache
import os
import sys
import types
import weakref
from typing import Any, Callable

from . import sandbox
from .sandbox import Serving, SetUp


class Unservable(Exception):
    """Why a script makes no plugin: one sentence, and what to do."""


NEVER = (
    "it ended without serve_forever(): give a server class of socketserver its address and a handler class, "
    "and call serve_forever() on it, as `python {name}` would serve"
)
TWO = "it serves from two servers, and a plugin is one: make a script of each, and import what they share"
OPEN = (
    "it keeps {name} open when it begins to serve, and what is open is not in the plugin: "
    "read it before, or open it in the handler, in a folder that [[grants.dirs]] grants"
)
ONE = "handle_request() is taken for serve_forever(): `wharf run FILE --requests 1` serves one request"

POLL_INTERVAL = 0.5
"""serve_forever()'s default, in seconds."""


class Script:
    """A script, and the server that it serves from, once it is known."""

    def __init__(self, path: str, name: str, arguments: list[str]) -> None:
        self.path, self.name, self.arguments = path, name, arguments
        self.server: Any = None
        self.poll_interval = POLL_INTERVAL
        self.opened: list[weakref.ref[Any]] = []
        self.refused: Unservable | None = None

    def set_up(self) -> Any:
        """Runs it and returns its server.

        Raises Unservable, and whatever the script itself raises.
        """
        import socketserver

        def serve_forever(server: Any, poll_interval: float = POLL_INTERVAL) -> None:
            self.poll_interval = poll_interval
            self.serves(server)

        def handle_request(server: Any) -> None:
            if SetUp.running and self.server is None:
                SetUp.notes.append(ONE)
            self.serves(server)

        def shutdown(server: Any) -> None:
            if SetUp.running and self.server is not None:
                raise Serving
            raise RuntimeError(sandbox.SHUTDOWN)

        for function in (serve_forever, handle_request, shutdown):
            setattr(socketserver.BaseServer, function.__name__, function)

        builtins.open = io.open = self.remembers(io.open)
        with open(self.path, "rb") as file:
            source = file.read()
        main = types.ModuleType("__main__")
        main.__file__ = self.path
        main.__builtins__ = __builtins__  # type: ignore
        code = compile(source, self.name, "exec", dont_inherit=True)
        ours, sys.modules["__main__"] = sys.modules["__main__"], main
        sys.argv[:] = [self.path, *self.arguments]
        SetUp.running = True
        try:
            exec(code, main.__dict__)
        except Serving:
            pass
        except SystemExit:
            if self.server is None:
                raise
        except BaseException:
            # What follows the end of serving, in a `finally`, say, has no part in the plugin.
            if self.server is None:
                sys.modules["__main__"] = ours
                raise
        finally:
            SetUp.running = SetUp.serving_thread = False
        if self.refused:
            raise self.refused
        if self.server is None:
            raise Unservable(NEVER.format(name=self.name))
        # It was in the way of whatever closes servers when `with` ends.
        self.server.__dict__.pop("server_close", None)
        return self.server

    def serves(self, server: Any) -> None:
        """What serve_forever() is to the script: it does not return."""
        if not SetUp.running:
            raise RuntimeError("a plugin serves already: serve_forever() is for the script's set-up")
        if self.server not in (None, server):
            self.refused = Unservable(TWO)
            raise self.refused
        self.keeps_no_file_open()
        self.server = server
        # A `with` around serve_forever() closes the server, which has still to serve.
        server.server_close = lambda: None
        raise Serving

    def keeps_no_file_open(self) -> None:
        """Descriptors are not memory, and so not in the plugin."""
        gc.collect()
        for file in (reference() for reference in self.opened):
            if file is not None and not file.closed:
                self.refused = Unservable(OPEN.format(name=getattr(file, "name", "a file")))
                raise self.refused

    def remembers(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`open`, whose files are known."""

        def open(*args: Any, **kwargs: Any) -> Any:
            file = function(*args, **kwargs)
            if SetUp.running:
                self.opened.append(weakref.ref(file))
            return file

        return open


def remember_source(script: Script) -> None:
    """Keeps the lines of the user's modules for tracebacks, as their files are out of reach in the plugin."""
    for name, path in own_modules(script):
        lines = linecache.getlines(path)
        for key in {path, name}:
            # Without a time, so that nothing looks whether the file has changed.
            linecache.cache[key] = (sum(map(len, lines)), None, lines, key)


def own_modules(script: Script) -> list[tuple[str, str]]:
    """The script and what it imported from beside it: each as tracebacks call it, and its file."""
    folder = os.path.dirname(script.path) + os.sep
    own = [(script.name, script.path)]
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(folder) and path.endswith(".py") and path != script.path:
            own.append((path, path))
    return own


def import_what_handlers_will(script: Script) -> None:
    """Imports what the user's modules import within functions, as files of modules are out of reach in the plugin."""
    seen: set[str] = set()
    while fresh := [path for _, path in own_modules(script) if path not in seen]:
        for path in fresh:
            seen.add(path)
            try:
                with open(path, "rb") as file:
                    tree = ast.parse(file.read())
            except (OSError, SyntaxError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                else:
                    continue
                for name in names:
                    if name not in sys.modules:
                        try:
                            importlib.import_module(name)
                        except Exception:
                            # The handler gets the same exception where it imports it, and may expect it.
                            pass
