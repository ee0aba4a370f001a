"""Echo by Python's threading servers: TCP, Unix and UDP. Prints where it listens."""

import socket
import socketserver
import sys
import threading


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := self.request.recv(65536):
            self.request.sendall(data)


class UnixEcho(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class UdpEcho(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(data, self.client_address)


class Tcp(socketserver.ThreadingTCPServer):
    request_queue_size = 1024
    daemon_threads = True


class Unix(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 1024
    daemon_threads = True


class Udp(socketserver.UDPServer):
    pass


tcp = Tcp(("127.0.0.1", 0), Echo)
udp = Udp(("127.0.0.1", 0), UdpEcho)
unix = Unix(sys.argv[1], UnixEcho)
print("listening tcp://127.0.0.1:%d" % tcp.server_address[1], flush=True)
print("listening unix://%s" % sys.argv[1], flush=True)
print("listening udp://127.0.0.1:%d" % udp.server_address[1], flush=True)
for server in (unix, udp):
    threading.Thread(target=server.serve_forever, daemon=True).start()
tcp.serve_forever()
