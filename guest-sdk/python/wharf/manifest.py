"""The plugin's manifest: what goes into it, and what only the operator's file beside it may ask for."""

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path
from typing import Any


OPERATORS = ("allow-reuse-port",)
"""Keys that only the operator's file may have: who shares a port gets some of another's clients."""


def of(described: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The addresses and the other settings of what a rehearsal has told."""
    settings = dict(described["settings"])
    listen = settings.pop("listen")
    return [absolute(url) for url in listen], settings


def absolute(url: str) -> str:
    """With a whole path, where the address is a path."""
    scheme, _, rest = url.partition("://")
    if scheme in ("unix", "unixgram") and not rest.startswith("@"):
        rest = os.path.abspath(rest)
    return f"{scheme}://{rest}"


def parted(listen: list[str], settings: dict[str, Any]) -> tuple[str, str | None]:
    """The text for the plugin, and the line for the file beside it, if the plugin may not ask for its addresses."""
    settings = {key: setting for key, setting in settings.items() if key not in OPERATORS}
    if all(is_loopback(url) for url in listen):
        return text({"listen": listen, **settings}), None
    return text(settings), text({"listen": listen}).rstrip()


def text(settings: dict[str, Any]) -> str:
    return "".join(f"{key} = {value(setting)}\n" for key, setting in settings.items())


def is_loopback(url: str) -> bool:
    """Whether a manifest inside a plugin may ask for it."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("tcp", "udp"):
        return False
    return ipaddress.ip_address(rest.rpartition(":")[0].strip("[]")).is_loopback


def value(setting: Any) -> str:
    """As TOML writes it."""
    if isinstance(setting, bool):
        return "true" if setting else "false"
    if isinstance(setting, int):
        return str(setting)
    if isinstance(setting, list):
        return value(setting[0]) if len(setting) == 1 else f"[{', '.join(map(value, setting))}]"
    # What TOML must have escaped, JSON would escape alike.
    return json.dumps(setting, ensure_ascii=False)


def put_beside(plugin: Path, line: str) -> list[str]:
    """Writes the operator's file unless there is one; returns what to tell."""
    path = plugin.with_suffix(".toml")
    wide = f"a plugin itself may ask for loopback TCP and UDP alone, so that its address is {path}'s to give"
    try:
        existing = path.read_text()
    except FileNotFoundError:
        path.write_text(f"# What the script asks for; to grant it is for whoever runs wharf.\n{line}\n")
        return [f"wrote {path} with {line}", wide]
    if any(text.split("=")[0].strip() == "listen" for text in existing.splitlines()):
        return [f"{path} is there and has its own listen, which holds; the script's is {line}"]
    return [wide, f"{path} is there and is left as it is: add this line at its top, or the plugin is refused", line]
