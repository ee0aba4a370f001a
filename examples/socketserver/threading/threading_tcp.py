"""Talks with each client for as long as it likes, with all of them at once."""

import socketserver


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            response = f"{self.client_address[1]}: ".encode() + data
            self.request.sendall(response)


class ThreadedTCPServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True


if __name__ == "__main__":
    with ThreadedTCPServer(("127.0.0.1", 9004), Echo) as server:
        server.serve_forever()
