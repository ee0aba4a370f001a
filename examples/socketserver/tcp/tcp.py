"""Answers one message of each client in upper case."""

import socketserver


class Upper(socketserver.BaseRequestHandler):
    def handle(self):
        data = self.request.recv(1024).strip()
        print(f"Received from {self.client_address[0]}:")
        print(data.decode())
        self.request.sendall(data.upper())


if __name__ == "__main__":
    with socketserver.TCPServer(("127.0.0.1", 9001), Upper) as server:
        server.serve_forever()
