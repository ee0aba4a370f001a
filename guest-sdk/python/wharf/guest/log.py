"""stdout and stderr of a plugin, which are the host's log."""

from __future__ import annotations

import io
import os
import sys


class Log(io.RawIOBase):
    """A descriptor that is written to once the plugin serves; what the script prints at set-up the build has shown."""

    open = False

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.fd

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return os.write(self.fd, data) if Log.open else len(data)


def install() -> None:
    for name, fd, errors in (("stdout", 1, "surrogateescape"), ("stderr", 2, "backslashreplace")):
        # Line by line: each line is one line of the log, and one call to the host.
        stream = io.TextIOWrapper(io.BufferedWriter(Log(fd)), encoding="utf-8", errors=errors, line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def flush() -> None:
    """What has no end of line yet."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # The script has closed or replaced it.
            pass
