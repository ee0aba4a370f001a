"""A component made by componentize-py, as a child process, so that it can be stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONTRACT = HERE / "wit" / "handler.wit"
HOOKED = """
package wharf:script;

world hooked {
  include wharf:handler/KIND-plugin@0.1.0;
  export wharf:handler/server-hooks@0.1.0;
}
"""
TIME = 120.0
"""Seconds for componentize-py itself, which as a rule takes 5 to 15."""


class Failed(Exception):
    """Why there is no component: one sentence. What led to it was printed."""


def make(plan: dict[str, Any], kind: str, hooks: bool, folder: Path, deadline: float) -> bytes:
    app, wit, output = folder / "app", folder / "wit", folder / "plugin.wasm"
    shutil.copytree(HERE / "guest", app / "guest", ignore=shutil.ignore_patterns("__pycache__"))
    (wit / "deps").mkdir(parents=True)
    if hooks:
        (wit / "world.wit").write_text(HOOKED.replace("KIND", kind))
        shutil.copy(CONTRACT, wit / "deps" / "handler.wit")
        world = "hooked"
    else:
        shutil.copy(CONTRACT, wit / "handler.wit")
        world = f"{kind}-plugin"

    # componentize-py mounts each folder of its path by number.
    script = Path(plan["script"])
    current = Path.cwd()
    packages = third_party()
    mounted = [app, script.parent, current, *packages]
    inside = {
        **plan,
        "script": f"/1/{script.name}",
        "folder": "/1",
        "current": "/2",
        "packages": [f"/{number}" for number in range(3, 3 + len(packages))],
    }
    (app / "plan.json").write_text(json.dumps(inside))
    environment = {**os.environ, "VIRTUAL_ENV": str(empty_environment(folder)), "RUST_BACKTRACE": "0"}
    command = [sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())", "-q"]
    command += ["-d", str(wit), "-w", world, "componentize", "guest.plugin", "-o", str(output)]
    for path in mounted:
        command += ["-p", str(path)]
    try:
        made = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=TIME + deadline
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"within the plugin it has not come to serve_forever() within {TIME + deadline:g} s") from None
    if made.returncode != 0 or not output.exists():
        raise Failed(failure(made.stdout + made.stderr, plan["name"]))
    return output.read_bytes()


def third_party() -> list[Path]:
    """Where this Python has packages from, beside its own library's."""
    left_out = {Path(path) for path in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))}
    # `python -m` has put the current folder first, which is none of the script's.
    left_out.add(Path.cwd())
    if not HERE.parent.name.endswith("-packages"):
        left_out.add(HERE.parent)
    paths = dict.fromkeys(Path(entry) for entry in sys.path if entry)
    return [path for path in paths if path.is_dir() and path not in left_out and path.name != "lib-dynload"]


def empty_environment(folder: Path) -> Path:
    """A virtual environment without packages: componentize-py would add those that it finds to what the script has."""
    environment = folder / "environment"
    (environment / "lib" / "site-packages").mkdir(parents=True)
    return environment


def failure(printed: str, name: str) -> str:
    """Shows the traceback of the script within the plugin, and says what it comes to."""
    text = re.split(r"\n\s*(?:Caused by:|Stack backtrace:)", printed)[0]
    text = text[text.rfind("AssertionError: ") + len("AssertionError: ") :] if "AssertionError: " in text else text
    last = text.strip().splitlines()[-1] if text.strip() else "without a word"
    unservable = re.match(r"(?:\w+\.)*Unservable: (.*)", last)
    if unservable:
        return unservable[1]
    print(text.strip(), file=sys.stderr)
    return (
        f"within the plugin, where it has no files but those beside it and no machine around it, it fails: {last}: "
        "do what needs those within the handler, in a folder that [[grants.dirs]] grants"
    )


def custom_section(name: str, content: bytes) -> bytes:
    """A section to append, of a module or component alike."""
    encoded = name.encode()
    body = leb128(len(encoded)) + encoded + content
    return b"\0" + leb128(len(body)) + body


def leb128(number: int) -> bytes:
    out = bytearray()
    while True:
        byte, number = number & 0x7F, number >> 7
        out.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(out)
