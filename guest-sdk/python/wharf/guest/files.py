"""Files at set-up within the plugin, where the folder that the build was started in is mounted, but can't be current.

Once it serves, a plugin's current folder is `/`, and below it is what the operator grants.
"""

from __future__ import annotations

import builtins
import io
import os
from typing import Any, Callable

from .sandbox import SetUp


class Current:
    """Where relative paths begin at set-up."""

    folder = "/"


def install(folder: str) -> None:
    Current.folder = folder
    builtins.open = io.open = from_current(io.open)
    for name in ("stat", "lstat", "listdir", "scandir", "open"):
        setattr(os, name, from_current(getattr(os, name)))
    os.chdir = change(os.chdir)
    os.unlink = os.remove = remove(os.unlink)


def from_current(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        if SetUp.running and not isinstance(path, int):
            name = os.fspath(path)
            path = os.path.join(Current.folder if isinstance(name, str) else os.fsencode(Current.folder), name)
        return function(path, *args, **kwargs)

    wrapped.__name__ = wrapped.__qualname__ = function.__name__
    return wrapped


def change(chdir: Callable[[Any], None]) -> Callable[[Any], None]:
    def wrapped(path: Any) -> None:
        if SetUp.running:
            Current.folder = os.path.join(Current.folder, os.fspath(path))
        else:
            chdir(path)

    return wrapped


def remove(unlink: Callable[..., None]) -> Callable[..., None]:
    """What the script removes at set-up the rehearsal has removed."""

    def wrapped(path: Any, *args: Any, **kwargs: Any) -> None:
        if not SetUp.running:
            unlink(path, *args, **kwargs)

    return wrapped
