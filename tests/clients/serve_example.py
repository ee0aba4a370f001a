"""Runs a program with a socketserver in it, as it is but for the port, which the kernel chooses: serve_example.py PROGRAM

The first line it prints is the address that the program asked for, and the one that it got.
"""

import runpy
import socketserver
import sys

server_bind = socketserver.TCPServer.server_bind
serve_forever = socketserver.BaseServer.serve_forever


def bind_to_any_port(server):
    server.asked = "{}:{}".format(*server.server_address)
    server.server_address = (server.server_address[0], 0)
    server_bind(server)


def announce_and_serve(server):
    print(server.asked, "{}:{}".format(*server.server_address), flush=True)
    serve_forever(server)


socketserver.TCPServer.server_bind = bind_to_any_port
socketserver.BaseServer.serve_forever = announce_and_serve
runpy.run_path(sys.argv[1], run_name="__main__")
