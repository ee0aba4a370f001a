"""What componentize-py makes a component of. Importing it runs the script; its memory afterwards is the plugin's."""

from __future__ import annotations

import gc
import json
import sys
import traceback
from typing import Any

# Nothing of the build is to be left beside the script.
sys.dont_write_bytecode = True

from . import log, sandbox, sockets  # noqa: E402

log.install()
sockets.install()
sandbox.install()

from . import contract, files, library, script, session  # noqa: E402
from .description import describe  # noqa: E402


def prepare(plan: dict[str, Any]) -> Any:
    """Runs the script; returns its server."""
    sys.path[:] = [plan["folder"], *(path for path in sys.path if path.startswith("/python")), *plan["packages"]]
    files.install(plan["current"])
    subject = script.Script(plan["script"], plan["name"], plan["arguments"])
    server = subject.set_up()
    described = describe(server, subject.poll_interval)
    if described != plan["expected"]:
        raise script.Unservable(
            f"it sets up another server within the plugin, {described}, than in plain Python, {plan['expected']}: "
            "let it not depend on the machine that it is built on"
        )
    session.prepare()
    script.import_what_handlers_will(subject)
    script.remember_source(subject)
    library.keep()
    # At run time there is nothing below these.
    sys.path[:] = []
    # componentize-py, which gives the arguments of the run, can't do with more than one here.
    sys.argv[1:] = []
    return server


try:
    with open("/0/plan.json") as file:
        server = prepare(json.load(file))
finally:
    # From here on, be it to say what went wrong.
    log.Log.open = True
# What is here stays for the plugin's life, and so is nothing that a collection has to look through.
gc.collect()
gc.freeze()


def handle(packet: bytes | None) -> None:
    try:
        failure = session.serve(server, contract.Peer(server.socket.family, packet))
    except Exception as error:
        # In CPython it would have ended the server: a verify_request() that raises, say.
        traceback.print_exc()
        failure = error
    finally:
        log.flush()
    if failure is not None:
        raise contract.Err(f"{type(failure).__name__}: {failure}")


class StreamHandler:
    """A connection. All of it happens in `handle`: there socketserver makes the handler, which runs its three steps."""

    def setup(self) -> None:
        pass

    def handle(self) -> None:
        handle(None)

    def finish(self) -> None:
        pass


class DatagramHandler:
    """A datagram, likewise."""

    def setup(self, packet: bytes) -> None:
        pass

    def handle(self, packet: bytes) -> None:
        handle(packet)

    def finish(self) -> None:
        pass


class ServerHooks:
    """For a script with a service_actions() of its own. Its other hooks are called within `handle`."""

    def verify_request(self, client: object) -> bool:
        return True

    def handle_error(self, client: object, error: str) -> None:
        pass

    def service_actions(self) -> None:
        try:
            server.service_actions()
        finally:
            log.flush()
