"""Has the fixture `unbuffered` write single bytes, and prints in how many TCP segments they came: segments.py URL NUMBER"""

import socket
import struct
import sys

# Of linux/tcp.h's struct tcp_info: tcpi_data_segs_in.
SEGMENTS_IN = 152

url, number = sys.argv[1:]
host, port = url.removeprefix("tcp://").rsplit(":", 1)
with socket.create_connection((host, int(port)), timeout=45) as client:

    def receive():
        # Acknowledgements are put off, as they are for most clients; else each write of the server's finds the one before acknowledged.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        return client.recv(4096)

    assert receive() == b"write data\n"
    client.sendall(f"pieces {number}\n".encode())
    received = 0
    while data := receive():
        received += len(data)
    assert received == int(number), received
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    print(struct.unpack_from("I", info, SEGMENTS_IN)[0])
