"""An HTTP/2 client on python3-h2, and raw frames for what no library would send."""
import socket
import struct
import sys
import time

try:
    import h2.config
except ImportError:  # Debian's package, when another python3 than Debian's runs the tests
    sys.path.append("/usr/lib/python3/dist-packages")
    import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


class Exchange:
    """What came on one stream."""

    def __init__(self):
        self.headers, self.informational, self.trailers = [], [], []
        self.body = b""
        self.ended = False
        self.reset = None  # error code

    @property
    def status(self):
        return int(self[":status"]) if self.headers else None

    def __getitem__(self, name):
        values = [value for key, value in self.headers if key == name]
        return values[0] if values else None


class Http2Client:
    """One connection with prior knowledge; gives back windows as data arrives unless told otherwise."""

    def __init__(self, port, timeout_s=10.0, settings=None, auto_window=True, validate=True):
        self.timeout_s = timeout_s
        self.auto_window = auto_window
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(config=h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=validate,
            normalize_outbound_headers=validate))
        if settings:
            self.h2.local_settings.update(settings)
        self.streams = {}
        self.goaways = []
        self.closed = False
        self.settings_seen = False
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def request(self, path="/", method="GET", headers=(), body=None, end=True, authority="example.com", extra=()):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", authority)]
        if path is not None:
            fields.append((":path", path))
        self.streams[stream] = Exchange()
        self.h2.send_headers(stream, fields + list(extra) + list(headers), end_stream=end and body is None)
        self.flush()
        if body is not None:
            self.send(stream, body, end)
        return stream

    def send(self, stream, body, end=False):
        ended = False
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
            if room == 0:
                self.step()
                continue
            ended = end and room == len(body)
            self.h2.send_data(stream, body[:room], end_stream=ended)
            body = body[room:]
            self.flush()
        if end and not ended:
            self.h2.end_stream(stream)
        self.flush()

    def trailers(self, stream, fields):
        self.h2.send_headers(stream, fields, end_stream=True)
        self.flush()

    def reset(self, stream, code=h2.errors.ErrorCodes.CANCEL):
        self.h2.reset_stream(stream, code)
        self.flush()

    def step(self):
        """Reads once; False at the end of the connection."""
        if self.closed:
            return False
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.h2.receive_data(data):
            self._on(event)
        self.flush_quietly()
        return True

    def flush_quietly(self):
        try:
            self.flush()
        except OSError:
            self.closed = True

    def _on(self, event):
        exchange = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings_seen = True
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id, int(event.error_code)))
        if exchange is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            exchange.headers = list(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            exchange.informational.append(list(event.headers))
        elif isinstance(event, h2.events.TrailersReceived):
            exchange.trailers = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            exchange.body += event.data
            if self.auto_window:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            exchange.ended = True
        elif isinstance(event, h2.events.StreamReset):
            exchange.reset = int(event.error_code)

    def until(self, condition):
        deadline = time.monotonic() + self.timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("nothing of the kind came")
            if not self.step() and not condition():
                raise AssertionError("the connection ended first")

    def wait(self, stream):
        """The whole response, or what of it came before a reset."""
        exchange = self.streams[stream]
        self.until(lambda: exchange.ended or exchange.reset is not None)
        return exchange

    def get(self, path="/", **options):
        return self.wait(self.request(path, **options))

    def wait_settings(self):
        self.until(lambda: self.settings_seen)

    def wait_closed(self):
        while self.step():
            pass

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- raw


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """HPACK: a literal without indexing, short strings."""
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


GET = b"\x82\x86\x84" + literal(b":authority", b"example.com")


class Raw:
    """A connection that says exactly what it is told and collects frames."""

    def __init__(self, port=None, settings=b"", preface=True, timeout_s=10.0, sock=None):
        self.sock = sock or socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = False
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        """False: the other side has gone."""
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def say_nothing_more(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the other side has gone
            pass

    def next(self):
        """(type, flags, stream, payload), or None at the end."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                self.ended = True
                return None
            self.buffer += data
        size = int.from_bytes(self.buffer[:3], "big")
        head, payload = self.buffer[:9], self.buffer[9:9 + size]
        self.buffer = self.buffer[9 + size:]
        return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7fffffff, payload

    def find(self, kind, stream=None):
        """The next frame of a type; None if the connection ends first."""
        while (got := self.next()) is not None:
            if got[0] == kind and stream in (None, got[2]):
                return got
        return None

    def goaway_code(self):
        got = self.find(GOAWAY)
        return None if got is None else int.from_bytes(got[3][4:8], "big")

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
