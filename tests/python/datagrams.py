"""Answers datagrams by DatagramRequestHandler, one for each client's datagram, from a process of its own each."""

import socketserver
import time


class Datagrams(socketserver.DatagramRequestHandler):
    def handle(self):
        word, _, rest = self.rfile.read().decode().partition(" ")
        if word == "length":
            self.wfile.write(str(len(self.packet)).encode())
        elif word == "upper":
            self.wfile.write(rest.upper().encode())
        elif word == "twice":
            self.socket.sendto(b"first", self.client_address)
            self.wfile.write(b"second")
        elif word == "elsewhere":
            try:
                self.socket.sendto(b"x", ("127.0.0.1", int(rest)))
            except PermissionError as error:
                self.wfile.write(type(error).__name__.encode())
        elif word == "fail":
            self.wfile.write(b"nevertheless")
            raise RuntimeError(rest)
        elif word == "time":
            self.wfile.write(str(time.time()).encode())


class Server(socketserver.ForkingUDPServer):
    max_packet_size = 1000
    max_children = 7

    def service_actions(self):
        super().service_actions()
        print("service actions")


if __name__ == "__main__":
    with Server(("127.0.0.1", 9022), Datagrams) as server:
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            print("stopped")
        finally:
            server.server_close()
