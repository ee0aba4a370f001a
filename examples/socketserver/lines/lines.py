"""Answers the first line of each client in upper case."""

import socketserver


class Upper(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self):
        line = self.rfile.readline(10000).strip()
        self.wfile.write(line.upper())
        self.wfile.write(b"\n")


if __name__ == "__main__":
    with socketserver.TCPServer(("127.0.0.1", 9002), Upper) as server:
        server.serve_forever()
