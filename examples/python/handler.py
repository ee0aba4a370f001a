"""Gives back each line in upper case, until the client ends."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import connection


class StreamHandler(exports.StreamHandler):
    def setup(self) -> None:
        """Runs first. An error here ends the session."""

    def handle(self) -> None:
        """The conversation."""
        try:
            while heard := connection.recv(65536):
                # Of bytes, upper() turns ASCII alone.
                connection.send(heard.upper().replace(b"\r", b""))
        except Err as error:
            # recv and send raise one of the contract's error codes; a handler's own error is a text.
            raise Err(str(error.value))

    def finish(self) -> None:
        """Runs last, after an error of handle too."""
