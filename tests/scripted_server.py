"""A server for tests that answers by a script: well, badly, slowly or never."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Reply:
    """A step that depends on what was asked: `make(body)` is what is sent or done."""

    def __init__(self, make):
        self.make = make

    def __call__(self, body):
        return self.make(body)


class Server:
    """Answers posts by a script, whose last step stays: a dict to send, or a function of the handler.

    models   what it answers to GET /v1/models, likewise; 404 if None
    requests, headers   the bodies of the posts, and (path, headers) of each
    gets     the paths and headers of the others
    most     the posts that waited for a `Reply` to be made at the same time, at most
    """

    def __init__(self, *script, models=None, port=0):
        self.requests, self.headers, self.gets, steps = [], [], [], iter(script)
        self.now = self.most = 0
        server, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                with lock:
                    body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                    server.requests.append(body)
                    server.headers.append((self.path, dict(self.headers)))
                    step = next(steps, script[-1])
                    server.now += 1
                    server.most = max(server.most, server.now)
                if isinstance(step, Reply):
                    step = step(body)
                # before it is sent: with the answer the client may ask on
                with lock:
                    server.now -= 1
                answer(self, step)

            def do_GET(self):
                server.gets.append((self.path, dict(self.headers)))
                answer(self, status(404) if models is None else models)

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self._http.shutdown()
        self._http.server_close()


def answer(handler, step):
    step(handler) if callable(step) else send(handler, 200, json.dumps(step).encode())


def send(handler, status, data):
    try:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
    except OSError:
        pass  # the client has gone


def status(code):
    return lambda handler: send(handler, code, b'{"error": "no"}')


def drop(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def cut_short(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choi')


def drip(handler):
    """Never silent for long, and never done: no single wait runs out."""
    try:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)
    except OSError:
        pass


def drip_head(handler):
    """The same before the answer begins: one header after the other."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(90):
            handler.wfile.write(b"X-%d: x\r\n" % number)
            handler.wfile.flush()
            time.sleep(0.04)
    except OSError:
        pass


def flood(handler):
    try:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b" " * 100_000)
    except OSError:
        pass


def hang(handler):
    time.sleep(4)
