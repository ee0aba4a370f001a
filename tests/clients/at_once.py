"""at_once.py URL COUNT: so many clients of an upper-casing server, by Python's socket module. All of them are there
before the first one speaks. Says how many were answered."""

import os
import socket
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 45  # seconds that any wait may take


def server_of(url):
    scheme, _, rest = url.partition("://")
    family = socket.AF_UNIX if scheme.startswith("unix") else socket.AF_INET
    kind = socket.SOCK_STREAM if scheme in ("tcp", "unix") else socket.SOCK_DGRAM
    if family == socket.AF_UNIX:
        return family, kind, rest.replace("@", "\0", 1)
    host, _, port = rest.rpartition(":")
    return family, kind, (host, int(port))


def connection(client, server, question, everybody_is_here):
    client.connect(server)
    everybody_is_here.wait()
    client.sendall(question)
    client.shutdown(socket.SHUT_WR)
    answer = b""
    while more := client.recv(1024):
        answer += more
    return answer


def datagram(client, server, question, everybody_is_here):
    everybody_is_here.wait()
    client.sendto(question, server)
    answer, sender = client.recvfrom(8192)
    assert sender == server, f"{sender} answered, not {server}"
    return answer


def ask(number, family, kind, server, names, everybody_is_here):
    with socket.socket(family, kind) as client:
        client.settimeout(PATIENCE)
        question = f"  hello from {number}\n".encode()
        if kind == socket.SOCK_STREAM:
            answer = connection(client, server, question, everybody_is_here)
        else:
            # A datagram is answered to an address: UDP sockets get one with the first they send, Unix sockets don't.
            if family == socket.AF_UNIX:
                client.bind(os.path.join(names, str(number)))
            answer = datagram(client, server, question, everybody_is_here)
        assert answer == question.strip().upper(), f"{answer!r} for {question!r}"


def main(url, count):
    family, kind, server = server_of(url)
    everybody_is_here = threading.Barrier(count, timeout=PATIENCE)
    with tempfile.TemporaryDirectory() as names, ThreadPoolExecutor(count) as threads:
        clients = [threads.submit(ask, n, family, kind, server, names, everybody_is_here) for n in range(count)]
        for client in clients:
            client.result()
    print(f"{count} answered")


main(sys.argv[1], int(sys.argv[2]))
