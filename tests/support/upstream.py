"""Scripted upstream servers: a thread accepts, a thread per connection runs the script.

A script is a function `script(peer)`; `peer` reads requests and sends what it likes, when it likes. What arrived is
recorded, so that a test can say what the proxy must have sent.
"""
import socket
import struct
import threading
import time

from support.http1 import Closed, Reader


class Request:
    def __init__(self, method, target, headers):
        self.method, self.target, self.headers = method, target, headers
        self.body = b""
        self.trailers = []
        self.chunked = False

    def all(self, name):
        return [value for key, value in self.headers if key == name.lower()]

    def __getitem__(self, name):
        """The only value of a header, or None; raises if it is there several times."""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name} is there {len(values)} times: {values}")
        return values[0] if values else None


class Peer:
    """One accepted connection, as the script sees it."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.reader = Reader(sock)

    def read_head(self):
        method, target, _ = self.reader.until(b"\r\n").decode("latin-1").split(" ", 2)
        request = Request(method, target, self.reader.fields())
        self.server.requests.append(request)
        return request

    def read_body(self, request):
        if request["transfer-encoding"]:
            request.chunked = True
            request.body, request.trailers = self.reader.chunked()
        elif request["content-length"]:
            request.body = self.reader.exactly(int(request["content-length"]))
        return request

    def read_request(self):
        """The next whole request; raises Closed at the end of the connection."""
        return self.read_body(self.read_head())

    def send(self, data):
        self.sock.sendall(data)

    def respond(self, status="200 OK", body=b"", headers=()):
        head = [f"HTTP/1.1 {status}"] + [f"{name}: {value}" for name, value in headers]
        head.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    def drip(self, data, pause_s):
        """Byte by byte."""
        for i in range(len(data)):
            self.send(data[i:i + 1])
            time.sleep(pause_s)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Upstream:
    """Listens on a free port of 127.0.0.1, unless told otherwise; `connections` counts accepts, `requests` holds what
    was read."""

    def __init__(self, script, backlog=1024, receive_buffer=None, host="127.0.0.1", port=0):
        self._script = script
        self._open = set()
        self._lock = threading.Lock()
        self._stop = False
        self.requests = []
        self.connections = 0
        self.errors = []
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind((host, port))
        self._listener.listen(backlog)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self._stop:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(30)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(sock)
                self.connections += 1
                number = self.connections
            threading.Thread(target=self._run, args=(Peer(self, sock, number),), daemon=True).start()

    def _run(self, peer):
        try:
            self._script(peer)
        except (Closed, OSError):
            pass  # the proxy went away first: tests look at what they need
        except Exception as error:  # pylint: disable=broad-except  # a bug of the script or a violation by the proxy
            self.errors.append(error)
        finally:
            with self._lock:
                self._open.discard(peer.sock)
            peer.sock.close()

    @property
    def open_connections(self):
        with self._lock:
            return len(self._open)

    def close(self):
        self._stop = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None and self.errors:
            raise AssertionError(f"upstream: {self.errors[0]!r}")


# Scripts that many tests use.

def answer(body=b"ok", status="200 OK", headers=()):
    """Answers every request on the connection alike."""
    def script(peer):
        while True:
            peer.read_request()
            peer.respond(status, body, headers)
    return script


def name_itself(name):
    return answer(name.encode(), headers=[("x-upstream", name)])


def echo_http(peer):
    """Answers with the request's body."""
    while True:
        request = peer.read_request()
        peer.respond(body=request.body)


def echo_tcp(peer):
    """Echoes bytes until the peer half-closes, then closes."""
    while True:
        data = peer.sock.recv(65536)
        if not data:
            return
        peer.send(data)


def fixed(data, close=False):
    """Answers every request with the same bytes; may close after the first."""
    def script(peer):
        while True:
            peer.read_request()
            peer.send(data)
            if close:
                return
    return script


def in_turn(*scripts):
    """The n-th connection runs the n-th script; later ones the last."""
    def script(peer):
        scripts[min(peer.number, len(scripts)) - 1](peer)
    return script


def reset_after_request(peer):
    peer.read_request()
    peer.reset()


def reset_at_once(peer):
    peer.reset()


def never_answer(peer):
    peer.read_request()
    peer.reader.rest()
