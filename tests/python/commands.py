"""Does what its client says, a line at a time, so that one plugin shows all that a connection's handler can do.

It serves as the standard library's documentation shows it of asynchronous mix-ins: from a thread, with clients.
"""

import logging
import os
import random
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import beside

logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(name)s:%(message)s")
# What a script reads at set-up is in the plugin.
GREETING = (Path(__file__).parent / "greeting.txt").read_text().strip()
print("set up")


class Commands(socketserver.StreamRequestHandler):
    timeout = 20

    def setup(self):
        super().setup()
        self.steps = ["setup"]

    def handle(self):
        for line in self.rfile:
            word, _, rest = line.decode().strip().partition(" ")
            answer = getattr(self, word.replace("-", "_"))(*rest.split(" ") if rest else [])
            if answer is not None:
                self.wfile.write(f"{answer}\n".encode())

    def finish(self):
        self.steps.append("finish")
        print("steps:", *self.steps)
        super().finish()

    # What the handler has.

    def greeting(self):
        return GREETING

    def client(self):
        assert self.client_address == self.request.getpeername()
        return "{}:{}".format(*self.client_address)

    def address(self):
        assert self.server.server_address == self.request.getsockname()
        return "{}:{}".format(*self.server.server_address)

    def server_class(self):
        return f"{type(self.server).__name__} {self.server.RequestHandlerClass.__name__} {self.server.motto}"

    def count(self):
        self.server.requests += 1
        return self.server.requests

    def arguments(self):
        return " ".join(sys.argv[1:])

    def variable(self, name):
        return os.environ.get(name, "unset")

    def folder(self):
        return os.getcwd()

    def reads(self, name):
        try:
            return Path(name).read_text().splitlines()[0]
        except OSError as error:
            return type(error).__name__

    def dice(self):
        return random.random()

    def late_import(self):
        import beside_late
        import colorsys

        return f"{beside_late.NAME} {colorsys.rgb_to_hsv(0, 0, 0)}"

    def codec(self, name):
        # Codecs are modules, which are imported at their first use.
        return "é".encode(name).hex()

    def idna(self):
        return "bücher.example".encode("idna").decode()

    # What the log has.

    def says(self, *words):
        print(*words)

    def mutters(self, *words):
        print(*words, end="")

    def logs(self, *words):
        logging.getLogger("commands").warning(" ".join(words))

    # What the socket does.

    def bytes(self, count):
        total = 0
        while total < int(count):
            total += len(self.rfile.read(min(65536, int(count) - total)))
        return total

    def sends(self, count):
        assert self.request.send(b"x" * int(count)) == int(count)
        self.request.sendall(memoryview(bytearray(b"\n")))

    def takes(self):
        """Past rfile, which has read nothing ahead if the client waits."""
        buffer = bytearray(100)
        self.wfile.write(b"go\n")
        read = self.request.recv_into(buffer)
        self.wfile.write(b"go on\n")
        ahead = self.request.recv(3, socket.MSG_PEEK)
        more = self.request.recv(3)
        assert ahead == more
        return (bytes(buffer[:read]) + more).decode().replace("\n", "|")

    def files(self):
        with self.request.makefile("rw", encoding="utf-8", newline="\n") as both:
            both.write("say: ")
            both.flush()
            both.write(both.readline().upper())
            both.flush()

    def options(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
        nodelay = self.request.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        return f"{nodelay} {self.request.gettimeout()} {self.request.fileno() > 2} {self.request.family.name}"

    def waits(self, seconds):
        self.request.settimeout(float(seconds))
        try:
            self.request.recv(1)
        except socket.timeout as error:
            return f"{type(error).__name__}: {error}"

    def waits_not(self):
        self.request.setblocking(False)
        try:
            self.request.recv(1)
        except BlockingIOError as error:
            self.request.setblocking(True)
            return type(error).__name__

    def reads_to_reset(self):
        try:
            while self.request.recv(100):
                pass
        except ConnectionResetError as error:
            print("reset:", error)

    def shuts_down(self):
        self.wfile.write(b"bye\n")
        self.request.shutdown(socket.SHUT_WR)
        try:
            self.wfile.write(b"more\n")
        except BrokenPipeError as error:
            print("broken:", error)

    def closes(self):
        self.rfile.close()
        self.request.close()
        print("closed:", self.request.fileno())

    # What a plugin can't do.

    def cannot(self, what):
        return tell(getattr(self, f"try_{what}"))

    def try_connect(self):
        socket.create_connection(("127.0.0.1", 9), timeout=1)

    def try_resolve(self):
        socket.create_connection(("example.org", 80))

    def try_process(self):
        subprocess.run(["true"])

    def try_fork(self):
        os.fork()

    def try_thread(self):
        threading.Thread(target=print).start()

    def try_signal(self):
        import signal

        signal.signal(signal.SIGALRM, print)

    def try_select(self):
        import select

        select.select([self.request], [], [], 0)

    def try_ssl(self):
        import ssl  # noqa: F401

    def try_shutdown(self):
        self.server.shutdown()

    def try_option(self):
        self.request.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, bytes(8))

    # How it ends.

    def fails(self, *words):
        raise ValueError(" ".join(words))

    def exits(self, status):
        sys.exit(int(status))


def tell(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "it can"


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 77

    def __init__(self, *args):
        super().__init__(*args)
        self.motto = beside.MOTTO
        self.requests = 0

    def verify_request(self, request, client_address):
        if client_address[:1] == ("127.0.0.77",):
            raise RuntimeError("of no use to anybody")
        return client_address[:1] != ("127.0.0.66",)

    def handle_error(self, request, client_address):
        error = sys.exception()
        if isinstance(error, ValueError) and "quietly" in str(error):
            print("handled:", error)
        else:
            super().handle_error(request, client_address)


def client(ip, port, message):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((ip, port))
        sock.sendall(bytes(message, "ascii"))
        print("Received:", str(sock.recv(1024), "ascii"))


if __name__ == "__main__":
    HOST, PORT = "localhost", 0
    server = Server((HOST, PORT), Commands)
    with server:
        ip, port = server.server_address
        server_thread = threading.Thread(target=server.serve_forever)
        server_thread.daemon = True
        server_thread.start()
        print("Server loop running in thread:", server_thread.name)
        client(ip, port, "greeting\n")
        time.sleep(1)
        server.shutdown()
        raise SystemExit("it came further than it can")
