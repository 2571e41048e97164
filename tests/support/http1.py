"""A raw HTTP/1.1 client: sends exactly the bytes it is given, and reads responses strictly enough to notice a byte
too many or too few.
"""
import socket
import struct


class Response:
    def __init__(self, version, status, reason, headers):
        self.version, self.status, self.reason, self.headers = version, status, reason, headers
        self.body = b""
        self.trailers = []
        self.chunked = False

    def all(self, name):
        return [value for key, value in self.headers if key == name.lower()]

    def __getitem__(self, name):
        """The only value of a header; raises if it is there several times; None if it is not there."""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name} is there {len(values)} times: {values}")
        return values[0] if values else None

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


class Closed(Exception):
    """The peer closed (or reset) the connection before the message was whole."""


class Reader:
    """Buffered reads from a socket."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def fill(self):
        try:
            data = self.sock.recv(262144)
        except ConnectionError as error:
            raise Closed(f"reset, with {self.buffer[:200]!r} unread") from error
        if not data:
            raise Closed(f"closed, with {self.buffer[:200]!r} unread")
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.fill()
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def exactly(self, size):
        if size > 1 << 20:  # gathers without quadratic copying
            parts, have = [self.buffer], len(self.buffer)
            self.buffer = b""
            while have < size:
                self.fill()
                parts.append(self.buffer)
                have += len(self.buffer)
                self.buffer = b""
            self.buffer = b"".join(parts)
        while len(self.buffer) < size:
            self.fill()
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def rest(self):
        """Everything until the peer closes."""
        try:
            while True:
                self.fill()
        except Closed:
            found, self.buffer = self.buffer, b""
            return found

    def fields(self):
        """Header or trailer lines up to the empty line, names in lower case."""
        found = []
        while True:
            line = self.until(b"\r\n")
            if not line:
                return found
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise AssertionError(f"not a header line: {line!r}")
            found.append((name.lower(), value.strip(" \t")))

    def chunked(self):
        """(body, trailers) of a chunked body."""
        body = []
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                return b"".join(body), self.fields()
            body.append(self.exactly(size))
            if self.exactly(2) != b"\r\n":
                raise AssertionError("a chunk does not end with CRLF")


class Client:
    """One connection. `receive_buffer` makes a client that takes little at a time."""

    def __init__(self, port, host="127.0.0.1", timeout_s=10.0, receive_buffer=None):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout_s)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.sock)

    def send(self, data):
        self.sock.sendall(data)

    def head(self):
        """Status line and headers of the next response; the body is left unread."""
        line = self.reader.until(b"\r\n").decode("latin-1")
        version, status, reason = line.split(" ", 2)
        return Response(version, int(status), reason, self.reader.fields())

    def response(self, method="GET"):
        """The next whole response."""
        response = self.head()
        if method == "HEAD" or response.status in (204, 304) or response.status < 200:
            return response
        if response["transfer-encoding"] is not None:
            if response["transfer-encoding"] != "chunked":
                raise AssertionError(f"transfer-encoding {response['transfer-encoding']}")
            response.chunked = True
            response.body, response.trailers = self.reader.chunked()
        elif response["content-length"] is not None:
            response.body = self.reader.exactly(int(response["content-length"]))
        else:
            response.body = self.reader.rest()
        return response

    def request(self, method="GET", target="/", headers=(), body=b"", host="example.com"):
        """Sends a request with a Host header (unless host is None) and reads the response."""
        lines = [f"{method} {target} HTTP/1.1"]
        if host is not None:
            lines.append(f"Host: {host}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return self.response(method)

    def is_closed(self, timeout_s=10.0):
        """Whether the peer closes within the time, without another byte."""
        self.sock.settimeout(timeout_s)
        try:
            return not self.reader.buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def end(self, timeout_s=10.0):
        """How the peer ends the connection: "fin" or "reset"; what it sends before is dropped."""
        self.sock.settimeout(timeout_s)
        try:
            while self.sock.recv(65536):
                pass
            return "fin"
        except ConnectionResetError:
            return "reset"

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def get(port, target="/", headers=(), **options):
    """One GET on a connection of its own."""
    with Client(port) as client:
        return client.request("GET", target, headers, **options)
