"""What a client must do about a server that breaks HTTP/2: the MUSTs of RFC 9113 and RFC 7541 towards an upstream."""
import socket

from support import configs, http2_conformance as c
from support.case import ProxyCase
from support.http2 import ACK, END_HEADERS, PADDED, PREFACE, RST_STREAM, Raw, frame, literal
from support.http2_conformance import (CLOSED, COMPRESSION, FLOW, IGNORED, PROTOCOL, Case, connection_error, data,
                                       either, head, settings, stream_error, window)

OK = b"\x88"
HTTP2 = f"""
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": {configs.TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config:
      http2_protocol_options: {{ OPTIONS }}
"""


def ok(*fields, end=True):
    return head(OK + b"".join(literal(*field) for field in fields), end=end)


STATES = [
    Case("5.1", "HEADERS on an idle stream", head(OK, 99), connection_error(PROTOCOL)),
    Case("5.1.1", "HEADERS on a stream that was not promised", head(OK, 2), connection_error(PROTOCOL)),
    Case("5.1", "DATA on a closed stream", ok() + data(), either(CLOSED)),
    Case("6.1", "DATA whose padding leaves nothing", ok(end=False) + data(b"\1", flags=PADDED),
         connection_error(PROTOCOL)),
    Case("6.5.2", "SETTINGS_ENABLE_PUSH of 1", settings((c.ENABLE_PUSH, 1)), connection_error(PROTOCOL)),
    Case("6.9.1", "a stream's window above 2^31-1", window(0x7fffffff, 1), stream_error(FLOW)),
    Case("6.9.2", "SETTINGS that make a window larger than 2^31-1",
         window(0x7fffffff - 65_535, 1) + settings((c.INITIAL_WINDOW, 65_536)), connection_error(FLOW)),
    Case("5.1", "DATA after the last of it", ok(end=False) + data(end=True) + data(), either(CLOSED)),
    Case("8.1", "DATA before HEADERS", data(), either(PROTOCOL)),
]

# Each is a malformed message, a stream error of type PROTOCOL_ERROR (section 8.1.1).
MALFORMED = [
    ("8.1", "an interim response that ends the stream", head(literal(b":status", b"103"))),
    ("8.1", "trailers without END_STREAM", ok(end=False) + head(literal(b"x", b"y"), end=False)),
    ("8.1", "two final responses", ok(end=False) + ok()),
    ("8.2.1", "an upper case field name", ok((b"X-Upper", b"1"))),
    ("8.2.1", "a space in a field name", ok((b"a b", b"1"))),
    ("8.2.1", "an empty field name", ok((b"", b"1"))),
    *[("8.2.1", f"{byte!r} in a field value", ok((b"x", b"a" + byte + b"b"))) for byte in (b"\0", b"\r", b"\n")],
    ("8.2.1", "white space around a value", ok((b"x", b" a"))),
    *[("8.2.2", name.decode(), ok((name, value))) for name, value in [
        (b"connection", b"close"), (b"proxy-connection", b"keep-alive"), (b"keep-alive", b"1"),
        (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c")]],
    ("8.3", "an unknown pseudo field", head(literal(b":unknown", b"1") + OK)),
    ("8.3", "a request's pseudo field", head(OK + b"\x84")),
    ("8.3", "a pseudo field after a regular one", head(literal(b"x", b"y") + OK)),
    ("8.3", "a pseudo field in trailers", ok(end=False) + head(OK)),
    ("8.3.2", "no :status", head(literal(b"x", b"y"))),
    ("8.3.2", ":status twice", head(OK + OK)),
    *[("8.3.2", f":status {value!r}", head(literal(b":status", value))) for value in (b"", b"20", b"2000", b"abc")],
    ("8.6", ":status 101", head(literal(b":status", b"101"), end=False)),
    ("8.1.1", "a content-length and no body", ok((b"content-length", b"5"))),
    ("8.1.1", "a shorter body than content-length", ok((b"content-length", b"5"), end=False) + data(b"abc", end=True)),
    ("8.1.1", "a longer body than content-length", ok((b"content-length", b"2"), end=False) + data(b"abc")),
    ("8.1.1", "two content-lengths", ok((b"content-length", b"1"), (b"content-length", b"2"), end=False)),
    ("8.1.1", "a content-length that is no number", ok((b"content-length", b"1a"))),
]

WELL_FORMED = [
    ("8.1", "interim responses", head(literal(b":status", b"103"), end=False) * 2 + ok()),
    ("8.1", "trailers", ok(end=False) + data() + head(literal(b"x", b"y"))),
    ("8.1", "a head in several frames", frame(1, 1, 1, OK) + frame(9, END_HEADERS, 1, literal(b"x", b"y"))),
    ("8.1.1", "a body of its content-length", ok((b"content-length", b"3"), end=False) + data(b"abc", end=True)),
    ("8.1.1", "304 with the content-length of what is not sent",
     head(literal(b":status", b"304") + literal(b"content-length", b"9"))),
    ("6.1", "padding", ok(end=False) + data(b"\3abc" + bytes(3), end=True, flags=PADDED)),
]


class Downstream:
    """One HTTP/1 request and the status that comes back, on a connection of its own."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.sendall(b"GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n")

    def status(self):
        answer = b""
        while got := self.sock.recv(65536):
            answer += got
        self.sock.close()
        answer = answer.rpartition(b"HTTP/1.1 ")[2]
        return int(answer[:3]) if answer else None


class ConformanceCase(ProxyCase):
    options = ""

    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        cluster = configs.cluster("up", self.port, extra=HTTP2.replace("OPTIONS", self.options))
        self.proxy = self.http(configs.route("up"), clusters=[cluster])

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(10)
        preface = b""
        while len(preface) < len(PREFACE):
            preface += sock.recv(len(PREFACE) - len(preface))
        self.assertEqual(preface, PREFACE)
        return sock

    def alive(self, talk):
        """Another request is answered on the connection."""
        down = Downstream(self.proxy.port)
        if not talk.until(lambda: 3 in talk.heads):
            return False
        talk.say(head(OK, 3))
        return down.status() == 200

    def judge(self, case):
        """What is wrong, and the status of the request that met it."""
        down = Downstream(self.proxy.port)
        with Raw(sock=self.accept(), preface=False) as raw:
            talk = c.Talk(raw)
            talk.say(settings() + settings(flags=ACK))
            self.assertTrue(talk.until(lambda: 1 in talk.heads))
            wrong = c.judge(case, talk, self.alive)
            if case.want is IGNORED and not wrong:  # the request may wait still
                talk.say(frame(RST_STREAM, 0, 1, c.number(c.CANCEL)))
            status = down.status()
            if not talk.goaways:
                raw.say_nothing_more()
                while talk.hear():
                    pass
        return wrong, status

    def check(self, cases, statuses):
        for case in cases:
            with self.subTest(case=str(case)):
                wrong, status = self.judge(case)
                self.assertIsNone(wrong)
                self.assertIn(status, statuses)


class FramesTest(ConformanceCase):
    def test_frames_of_every_kind(self):
        self.check(c.framing_cases(), (502, 503))  # 503: what goes unpunished is ended by the test

    def test_states_and_streams(self):
        self.check(STATES, (502, 200))

    def test_nothing_comes_within_a_field_block(self):
        self.check(c.inside_block_cases(head(OK, 1, flags=0), 1), (502,))

    def test_blocks_that_cannot_be_decoded(self):
        self.check((Case(section, what, head(block), connection_error(COMPRESSION))
                    for section, what, block in c.compression_cases(OK + literal(b"x", b"y"))), (502,))

    def test_a_server_that_speaks_something_else(self):  # 3.4
        for wire in (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", c.ping(), head(OK)):
            with self.subTest(wire=wire):
                down = Downstream(self.proxy.port)
                with Raw(sock=self.accept(), preface=False) as raw:
                    raw.send(wire)
                    self.assertEqual(raw.goaway_code(), PROTOCOL)
                self.assertEqual(down.status(), 502)


class MessagesTest(ConformanceCase):
    options = "override_stream_error_on_invalid_http_message: true"

    def test_malformed_responses_are_stream_errors(self):
        self.check((Case(section, what, wire, stream_error(PROTOCOL)) for section, what, wire in MALFORMED),
                   (502, 200))  # 200: the head had gone on before

    def test_well_formed_responses_pass(self):
        self.check((Case(section, what, wire, IGNORED) for section, what, wire in WELL_FORMED), (200, 304))


class DefaultsTest(ConformanceCase):
    def test_malformed_responses_end_the_connection_or_the_stream(self):
        self.check((Case(section, what, wire, either(PROTOCOL)) for section, what, wire in MALFORMED), (502, 200))
