"""A build: the rehearsal in plain Python, the manifest from it, the component, and what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import component, manifest

REQUIRED = "'componentize-py>=0.25.1,<0.26'"
"""As pyproject.toml has it."""
GRACE = 5.0
"""Seconds beyond its own deadline after which a rehearsal is killed."""


class Refused(Exception):
    """Why there is no plugin: one sentence."""


def check(script: Path, arguments: list[str], deadline: float) -> None:
    """Prints the manifest. Raises Refused."""
    with tempfile.TemporaryDirectory(prefix="wharf-check-") as folder:
        listen, settings = manifest.of(rehearse(plan_of(script, arguments, deadline), Path(folder)))
    print(manifest.text({"listen": listen, **settings}), end="")


def build(script: Path, output: Path, arguments: list[str], deadline: float) -> None:
    """Writes the plugin, and beside it what only the operator's own file may ask for.

    Raises Refused; then nothing was written.
    """
    plan = plan_of(script, arguments, deadline)
    if not output.parent.is_dir():
        raise Refused(f"{output.parent} is no folder to write the plugin into: make it")
    if find_spec("componentize_py") is None:
        raise Refused(f"componentize-py is not installed: {sys.executable} -m pip install {REQUIRED}")
    with tempfile.TemporaryDirectory(prefix="wharf-build-") as folder:
        described = rehearse(plan, Path(folder))
        listen, settings = manifest.of(described)
        say(f"{script} serves {', '.join(listen)} with concurrency = {manifest.value(settings['concurrency'])}")
        plan["expected"] = described
        try:
            wasm = component.make(plan, described["kind"], described["hooks"], Path(folder), deadline)
        except component.Failed as reason:
            raise Refused(str(reason)) from None
    embedded, beside = manifest.parted(listen, settings)
    wasm += component.custom_section("wharf:manifest", embedded.encode())
    for key in manifest.OPERATORS:
        if key in settings:
            line = f"{key} = {manifest.value(settings[key])}"
            say(f"{key} is left out: add {line} to {output.with_suffix('.toml')}, whose it is to give")
    if beside is not None:
        # First, as a server that watches takes a plugin without an address for unfinished.
        for line in manifest.put_beside(output, beside):
            say(line)
    # At once and whole, for a server that watches.
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(wasm)
        unfinished.replace(output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise Refused(f"{output} can't be written: {error.strerror}") from None
    say(f"wrote {output}, {len(wasm) / 1e6:.1f} MB")


def plan_of(script: Path, arguments: list[str], deadline: float) -> dict[str, Any]:
    if not script.is_file():
        raise Refused("there is no such file" if not script.exists() else "it is no file")
    return {"script": str(script.resolve()), "name": str(script), "arguments": arguments, "deadline": deadline}


def rehearse(plan: dict[str, Any], folder: Path) -> dict[str, Any]:
    plan_path, report = folder / "plan.json", folder / "report.json"
    plan_path.write_text(json.dumps(plan))
    command = [sys.executable, "-m", "wharf.rehearse", str(plan_path), str(report)]
    environment = dict(os.environ)
    # Also where this package is not installed, but run from its folder.
    here = str(Path(__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environment.get("PYTHONPATH")]))
    late = f"it has not come to serve_forever() within {plan['deadline']:g} s: it was where the lines above say"
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment, timeout=plan["deadline"] + GRACE
        )
    except subprocess.TimeoutExpired:
        raise Refused(late) from None
    if not report.exists():
        raise Refused(late if ended.returncode == 1 else f"it ended Python before serve_forever(), {ended.returncode}")
    described = json.loads(report.read_text())
    for note in described.pop("notes"):
        say(f"note: {note}")
    if "refused" in described:
        raise Refused(described["refused"])
    return described


def say(line: str) -> None:
    print(f"wharf: {line}", file=sys.stderr, flush=True)
