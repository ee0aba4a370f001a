"""Answers each datagram in upper case."""

import socketserver


class Upper(socketserver.BaseRequestHandler):
    def handle(self):
        data = self.request[0].strip()
        socket = self.request[1]
        print(f"{self.client_address[0]} wrote:")
        print(data.decode())
        socket.sendto(data.upper(), self.client_address)


if __name__ == "__main__":
    with socketserver.UDPServer(("127.0.0.1", 9003), Upper) as server:
        server.serve_forever()
