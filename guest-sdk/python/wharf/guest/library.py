"""The standard library's source in the plugin's memory, for what is first imported while it serves.

What the script imports is there already, compiled; this is for what the library itself imports late, such as a codec.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import zlib
from importlib.machinery import ModuleSpec
from types import CodeType
from typing import Any

FOLDER = "/python"
LEFT_OUT = set(
    "__pycache__ ensurepip idlelib lib-dynload pydoc_data site-packages test tkinter turtledemo venv".split()
)
"""What no server wants, by the name of the folder."""


class Library(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads modules whose compressed source it has."""

    def __init__(self, folder: str) -> None:
        self.sources: dict[str, tuple[bytes, bool]] = {}
        for path, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if name not in LEFT_OUT and "-" not in name]
            for file in files:
                if file.endswith(".py"):
                    parts = [*os.path.relpath(path, folder).split(os.sep), file[:-3]]
                    is_package = parts[-1] == "__init__"
                    name = ".".join(part for part in parts[: -1 if is_package else None] if part != ".")
                    if name and name not in sys.modules:
                        with open(os.path.join(path, file), "rb") as source:
                            self.sources[name] = zlib.compress(source.read()), is_package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.sources:
            return None
        return importlib.util.spec_from_loader(name, self, origin=f"{FOLDER}/{name}", is_package=self.is_package(name))

    def is_package(self, name: str) -> bool:
        return self.sources[name][1]

    def get_source(self, name: str) -> str:
        return importlib.util.decode_source(zlib.decompress(self.sources[name][0]))

    def get_code(self, name: str) -> CodeType | None:
        return compile(self.get_source(name), f"{FOLDER}/{name}", "exec", dont_inherit=True)


def keep() -> None:
    sys.meta_path.append(Library(FOLDER))
