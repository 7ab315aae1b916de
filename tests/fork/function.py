# SPDX-License-Identifier: Apache-2.0
"""A function as the Fn project runs it: HTTP on the unix socket that $FN_LISTENER names, made under another name and then
linked, POST /call, an answer with Fn-Fdk-Version. It knows nothing of Atoll. What it imports takes some 200 ms; what it
answers is who it is, how often this process was called, and the length of what it was sent.

    FN_LISTENER=unix:/tmp/iofs/lsnr.sock FN_FORMAT=http-stream python3 function.py
"""
import asyncio  # noqa: F401
import http.server
import json
import os
import socket
import socketserver
import sqlite3  # noqa: F401
import unittest  # noqa: F401
import xml.dom.minidom  # noqa: F401

calls = 0
table = {i: str(i) * 3 for i in range(200000)}


class Call(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global calls
        calls += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = json.dumps({"path": self.path, "pid": os.getpid(), "calls": calls, "length": len(body),
                             "entry": table[len(body) % 200000]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Fn-Fdk-Version", "example/1.0")
        self.end_headers()
        self.wfile.write(answer)

    def address_string(self):
        return "unix"

    def log_message(self, *args):
        pass


class Server(socketserver.UnixStreamServer):
    request_queue_size = 64


path = os.environ["FN_LISTENER"].removeprefix("unix:")
hidden = os.path.join(os.path.dirname(path), "phony.sock")
with Server(hidden, Call) as server:
    os.chmod(hidden, 0o666)
    os.symlink(os.path.basename(hidden), path)
    print("warm", flush=True)
    assert isinstance(server.socket, socket.socket)
    server.serve_forever(poll_interval=3600)
