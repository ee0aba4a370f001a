"""Runs a script up to where it serves, in plain Python, and writes down what it would serve: rehearse PLAN REPORT

What can't work in a plugin fails here, within a second, and the manifest comes from here.
"""

from __future__ import annotations

import faulthandler
import json
import os
import stat
import sys
import traceback
from typing import Any, Callable

CHANGED = (
    "os.chdir() ends with the set-up: a plugin's current folder is /, "
    'so grant the folder with guest = "/" in [[grants.dirs]], or name it whole'
)


def main(plan_path: str, report_path: str) -> None:
    with open(plan_path) as file:
        plan = json.load(file)
    faulthandler.dump_traceback_later(plan["deadline"], exit=True)

    from .guest import sandbox, sockets

    sockets.install()
    sandbox.install()
    os.unlink = os.remove = remover(os.unlink, sandbox.SetUp)

    from .guest.description import describe
    from .guest.script import Script, Unservable

    # In place of the current folder, which `python -m` has put there, as `python SCRIPT` has it.
    sys.path[: 0 if getattr(sys.flags, "safe_path", False) else 1] = [os.path.dirname(plan["script"])]
    current = os.getcwd()
    script = Script(plan["script"], plan["name"], plan["arguments"])
    report: dict[str, object]
    try:
        report = describe(script.set_up(), script.poll_interval)
    except Unservable as reason:
        report = {"refused": str(reason)}
    except SystemExit as end:
        report = {"refused": f"it ended by sys.exit({end.code!r}) before serve_forever()"}
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        show(error, plan["name"])
        report = {"refused": refusal(error, sandbox.sentence_in(error))}
    if os.getcwd() != current:
        sandbox.SetUp.notes.append(CHANGED)
    report["notes"] = sandbox.SetUp.notes
    faulthandler.cancel_dump_traceback_later()
    with open(report_path, "w") as file:
        json.dump(report, file)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by way of what the script has left for its end: it does not end here, it serves.
    os._exit(0)


def remover(unlink: Callable[..., None], set_up: type) -> Callable[..., None]:
    """Scripts remove the socket's file of their last run; at the build it may be that of a server that runs."""

    def wrapped(path: Any, *args: Any, **kwargs: Any) -> None:
        if not (set_up.running and is_socket(path)):
            unlink(path, *args, **kwargs)

    return wrapped


def is_socket(path: Any) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except (OSError, TypeError, ValueError):
        return False


def refusal(error: BaseException, sentence: str | None) -> str:
    if sentence:
        return sentence
    if isinstance(error, SyntaxError):
        return f"it has a syntax error: {error}"
    return f"it raised {type(error).__name__} before serve_forever(), as shown above"


def show(error: BaseException, name: str) -> None:
    """The script's own traceback, without what led to it here."""
    shown = traceback.TracebackException.from_exception(error)
    frames = shown.stack
    first = next((index for index, frame in enumerate(frames) if frame.filename == name), len(frames))
    del frames[:first]
    print("".join(shown.format()), end="", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
