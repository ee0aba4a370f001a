"""Shows its client a session's steps, errors, timeouts and addresses: one message is one command."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import connection, types


class StreamHandler(exports.StreamHandler):
    def setup(self) -> None:
        say("setup")

    def handle(self) -> None:
        while heard := hear():
            command, _, rest = heard.partition(" ")
            if command == "addresses":
                say(f"{name(connection.client_address())} {name(connection.server_address())}")
            elif command == "timeout":
                connection.set_timeout(int(rest) * 1_000_000)
                try:
                    hear()
                except Err as error:
                    say(error.value)
                connection.set_timeout(None)
            elif command == "fail":
                raise Err(rest)
            elif command == "trap":
                raise RuntimeError("told to")
            elif command == "shutdown":
                connection.shutdown(connection.Direction.WRITE)
                say("too late")
            elif command == "print":
                print(rest)
                say("printed")
            else:
                say(heard)

    def finish(self) -> None:
        say("finish")


# What the contract's functions raise holds an error code. What a handler raises has to hold a text.


def hear() -> str:
    try:
        return connection.recv(1024).decode().rstrip("\n")
    except Err as error:
        raise Err(type(error.value).__name__)


def say(text: str) -> None:
    try:
        connection.send(f"{text}\n".encode())
    except Err as error:
        raise Err(type(error.value).__name__)


def name(address: types.Address) -> str:
    match address.value:
        case types.InetAddress(ip, port):
            return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        case path:
            return path or "unnamed"
