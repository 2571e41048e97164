"""What a server must do about a client that breaks HTTP/2: every MUST of RFC 9113 and RFC 7541, over raw frames."""
from support import http2_conformance as c, upstream
from support.case import ProxyCase
from support.http2 import ACK, END_HEADERS, GET, GOAWAY, PADDED, PREFACE, PRIORITY, Raw, frame, literal
from support.http2_conformance import (CLOSED, COMPRESSION, FLOW, IGNORED, PROTOCOL, REFUSED, SIZE, Case,
                                       connection_error, data, either, head, ping, reset, settings, stream_error,
                                       window)

import hpack  # pylint: disable=wrong-import-order  # support.http2 finds Debian's packages

OPEN = head(end=False)
BODY = b"b" * 100
NO_WINDOW = c.setting((c.INITIAL_WINDOW, 0))  # no answer comes to its end
PRIORITY_1 = frame(PRIORITY, 0, 1, b"\0\0\0\0\x10")
METHOD, SCHEME, PATH = b"\x82", b"\x86", b"\x84"
AUTHORITY = literal(b":authority", b"example.com")


def alive(talk):
    """A request of its own is answered."""
    talk.say(head(stream=c.FRESH) + window(1000, c.FRESH))
    return talk.until(lambda: c.FRESH in talk.ended) and b"\x88" in talk.heads[c.FRESH][0][:3]


def closed_by_answer(then):
    def say(talk):
        talk.say(head())
        talk.until(lambda: 1 in talk.ended)
        return then
    return say


def closed_by_server(then):
    """A body that is longer than it said: the server resets the stream, and frames of it may still be on their way."""
    def say(talk):
        talk.say(head(GET + literal(b"content-length", b"1"), end=False) + data(b"long"))
        talk.until(lambda: 1 in talk.resets)
        return then
    return say


STATES = [
    Case("5.1", "DATA on a half-closed (remote) stream", head() + data(), either(CLOSED), NO_WINDOW),
    Case("5.1", "HEADERS on a half-closed (remote) stream", head() + head(), either(CLOSED), NO_WINDOW),
    Case("5.1", "CONTINUATION on a half-closed (remote) stream", head() + frame(9, END_HEADERS, 1, b""),
         connection_error(PROTOCOL, CLOSED), NO_WINDOW),
    Case("5.1", "WINDOW_UPDATE, PRIORITY and RST_STREAM are allowed on a half-closed (remote) stream",
         head() + window(1, 1) + PRIORITY_1 + reset(), IGNORED, NO_WINDOW),
    Case("5.1", "DATA on a stream that the client has reset", OPEN + reset() + data(), either(CLOSED)),
    Case("5.1", "HEADERS on a stream that the client has reset", OPEN + reset() + head(), either(CLOSED)),
    Case("5.1", "PRIORITY, WINDOW_UPDATE and RST_STREAM after a reset", OPEN + reset() + PRIORITY_1 + window(1, 1) +
         reset(), IGNORED),
    Case("5.1", "DATA on a closed stream", closed_by_answer(data()), either(CLOSED)),
    Case("5.1", "HEADERS on a closed stream", closed_by_answer(head()), either(CLOSED)),
    Case("5.1", "PRIORITY, WINDOW_UPDATE and RST_STREAM on a closed stream",
         closed_by_answer(PRIORITY_1 + window(1, 1) + reset()), IGNORED),
    Case("5.1", "what is on its way when the server resets a stream",
         closed_by_server(data() + window(1, 1) + head(literal(b"x", b"y"))), stream_error(PROTOCOL)),
    Case("5.1.1", "HEADERS on an even stream", head(stream=2), connection_error(PROTOCOL)),
    Case("5.1.1", "HEADERS on a stream below the last one", head(stream=5) + head(stream=3),
         connection_error(PROTOCOL)),
    Case("5.1.1", "HEADERS on the first of many skipped streams", head(stream=1001) + head(stream=1),
         connection_error(PROTOCOL)),
    Case("5.1.1", "DATA on a stream that was skipped", head(stream=5) + data(stream=3), either(CLOSED, on=3)),
    Case("6.1", "DATA whose padding leaves nothing", OPEN + data(b"\1", flags=PADDED), connection_error(PROTOCOL)),
    Case("6.1", "DATA with more padding than payload", OPEN + data(b"\xff" + bytes(5), flags=PADDED),
         connection_error(PROTOCOL)),
    Case("6.1", "DATA of padding alone is allowed", OPEN + data(b"\2\0\0", end=True, flags=PADDED), IGNORED),
    Case("6.2", "HEADERS with padding and priority",
         head(b"\3" + b"\0\0\0\0\x10" + GET + bytes(3), flags=END_HEADERS | PADDED | c.HAS_PRIORITY), IGNORED,
         after=lambda talk: None if talk.until(lambda: 1 in talk.ended) else "no answer"),
    Case("4.2", "a frame of SETTINGS_MAX_FRAME_SIZE is allowed", OPEN + data(bytes(16_384), end=True), IGNORED,
         after=lambda talk: None if talk.until(lambda: 1 in talk.ended) else "no answer"),
    Case("4.3", "a field block in several frames", head(GET[:3], flags=0) + frame(9, 0, 1, GET[3:5]) +
         frame(9, END_HEADERS, 1, GET[5:]), IGNORED,
         after=lambda talk: None if talk.until(lambda: 1 in talk.ended) else "no answer"),
    Case("4.1", "the reserved bit of a request's stream", frame(1, 5, 0x80000001, GET), IGNORED,
         after=lambda talk: None if talk.until(lambda: 1 in talk.ended) else "no answer"),
    Case("6.9.1", "a stream's window above 2^31-1", head() + window(0x7fffffff, 1), stream_error(FLOW),
         c.setting((c.INITIAL_WINDOW, 1))),
    Case("6.9.2", "SETTINGS that make a window larger than 2^31-1",
         head() + window(0x7fffffff - 1, 1) + settings((c.INITIAL_WINDOW, 2)), connection_error(FLOW),
         c.setting((c.INITIAL_WINDOW, 0))),
    Case("RFC 7541 4.2", "table size updates at the begin of a block", head(b"\x20\x3f\xe1\x1f" + GET), IGNORED,
         after=lambda talk: None if talk.until(lambda: 1 in talk.ended) else "no answer"),
]


def get(*fields, end=True, stream=1):
    return head(GET + b"".join(literal(*field) for field in fields), stream, end=end)


# Sections 8.1 to 8.6: each is a malformed message, a stream error of type PROTOCOL_ERROR (section 8.1.1).
MALFORMED = [
    ("8.1", "trailers without END_STREAM", OPEN + head(literal(b"x", b"y"), end=False)),
    ("8.2.1", "an upper case field name", get((b"X-Upper", b"1"))),
    *[("8.2.1", f"{byte!r} in a field name", get((b"a" + byte + b"b", b"1")))
      for byte in (b"\0", b"\x1f", b" ", b"\x7f", b"\x80", b"\xff", b":", b"Z", b"\r", b"\n")],
    ("8.2.1", "an empty field name", get((b"", b"1"))),
    *[("8.2.1", f"{byte!r} in a field value", get((b"x", b"a" + byte + b"b"))) for byte in (b"\0", b"\r", b"\n")],
    *[("8.2.1", f"{value!r} as a field value", get((b"x", value))) for value in (b" a", b"a ", b"\ta", b"a\t", b"\0")],
    *[("8.2.2", name.decode(), get((name, value))) for name, value in [
        (b"connection", b"close"), (b"proxy-connection", b"keep-alive"), (b"keep-alive", b"1"),
        (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c")]],
    ("8.2.2", "te: gzip", get((b"te", b"gzip"))),
    ("8.2.2", "te: trailers, gzip", get((b"te", b"trailers, gzip"))),
    ("8.3", "a pseudo field after a regular one", head(METHOD + SCHEME + AUTHORITY + literal(b"x", b"y") + PATH)),
    ("8.3", "an unknown pseudo field", head(literal(b":unknown", b"1") + GET)),
    ("8.3", "a pseudo field in trailers", OPEN + head(literal(b":path", b"/"))),
    ("8.3", "a response's pseudo field", head(GET + b"\x88")),
    ("8.3", "an upper case pseudo field", head(GET + literal(b":PROTOCOL", b"x"))),
    *[("8.3.1", f"{name} twice", head(GET + field)) for name, field in [
        (":method", METHOD), (":scheme", SCHEME), (":path", PATH), (":authority", AUTHORITY)]],
    ("8.3.1", "no :method", head(SCHEME + PATH + AUTHORITY)),
    ("8.3.1", "no :scheme", head(METHOD + PATH + AUTHORITY)),
    ("8.3.1", "no :path", head(METHOD + SCHEME + AUTHORITY)),
    ("8.3.1", "an empty :path", head(METHOD + SCHEME + AUTHORITY + literal(b":path", b""))),
    ("8.3.1", "a :path without its slash", head(METHOD + SCHEME + AUTHORITY + literal(b":path", b"a"))),
    ("8.3.1", "the :path * of a GET", head(METHOD + SCHEME + AUTHORITY + literal(b":path", b"*"))),
    ("8.3.1", "an empty :method", head(literal(b":method", b"") + SCHEME + PATH + AUTHORITY)),
    ("8.3.1", "a :method that is no token", head(literal(b":method", b"GE T") + SCHEME + PATH + AUTHORITY)),
    ("8.3.1", "an empty :scheme", head(METHOD + literal(b":scheme", b"") + PATH + AUTHORITY)),
    ("8.3.1", "a :scheme that is none", head(METHOD + literal(b":scheme", b"a b") + PATH + AUTHORITY)),
    ("8.3.1", "user information in :authority", head(METHOD + SCHEME + PATH + literal(b":authority", b"a@b"))),
    ("8.3.1", "neither :authority nor host", head(METHOD + SCHEME + PATH)),
    ("8.3.1", "an empty :authority", head(METHOD + SCHEME + PATH + literal(b":authority", b""))),
    ("8.3.1", "host and :authority that differ", get((b"host", b"other.com"))),
    ("8.1.1", "a content-length and no body", get((b"content-length", b"5"))),
    ("8.1.1", "a shorter body than content-length", get((b"content-length", b"5"), end=False) + data(b"abc", end=True)),
    ("8.1.1", "a longer body than content-length", get((b"content-length", b"2"), end=False) + data(b"abc")),
    ("8.1.1", "a body shorter than content-length before trailers",
     get((b"content-length", b"5"), end=False) + data(b"abc") + head(literal(b"x", b"y"))),
    ("8.1.1", "two content-lengths", get((b"content-length", b"1"), (b"content-length", b"2"), end=False)),
    ("8.1.1", "a content-length that is no number", get((b"content-length", b"1a"))),
    ("8.1.1", "a content-length with a sign", get((b"content-length", b"+0"))),
    ("8.5", "CONNECT with :path", head(literal(b":method", b"CONNECT") + PATH + AUTHORITY)),
    ("8.5", "CONNECT with :scheme", head(literal(b":method", b"CONNECT") + SCHEME + AUTHORITY)),
    ("8.5", "CONNECT with all of them", head(literal(b":method", b"CONNECT") + SCHEME + PATH + AUTHORITY)),
    ("8.5", "CONNECT without :authority", head(literal(b":method", b"CONNECT"))),
    ("RFC 8441 4", "an extended CONNECT that was not offered",
     head(literal(b":method", b"CONNECT") + SCHEME + PATH + AUTHORITY + literal(b":protocol", b"websocket"))),
    ("RFC 8441 4", ":protocol without CONNECT", get((b":protocol", b"websocket"))),
]

WELL_FORMED = [
    ("8.2.2", "te: trailers", get((b"te", b"trailers"))),
    ("8.2.1", "every kind of byte in a value", get((b"x", b"a\tb c!\x80\xff"))),
    ("8.2.1", "every kind of byte in a name", get((b"!#$%&'*+-.^_`|~09az", b"1"))),
    ("8.3.1", "host instead of :authority", head(METHOD + SCHEME + PATH + literal(b"host", b"example.com"))),
    ("8.3.1", "host and :authority alike", get((b"host", b"example.com"))),
    ("8.3.1", "OPTIONS *",
     head(literal(b":method", b"OPTIONS") + SCHEME + AUTHORITY + literal(b":path", b"*"))),
    ("8.1", "trailers", OPEN + data() + head(literal(b"x", b"y"))),
    ("8.1.1", "a body of its content-length", get((b"content-length", b"3"), end=False) + data(b"abc", end=True)),
    ("8.1.1", "a content-length of a body that ends with trailers",
     get((b"content-length", b"3"), end=False) + data(b"abc") + head(literal(b"x", b"y"))),
    ("8.2.3", "cookie crumbs", get((b"cookie", b"a=1"), (b"cookie", b"b=2"))),
    ("8.5", "CONNECT", head(literal(b":method", b"CONNECT") + AUTHORITY)),
]


class ConformanceCase(ProxyCase):
    extra = ""

    def setUp(self):
        self.server = self.upstream(upstream.answer(BODY))
        self.proxy = self.http_to(self.server, extra="codec_type: HTTP2\n" + self.extra)

    def check(self, cases, before=b""):
        for case in cases:
            with self.subTest(case=str(case)), Raw(self.proxy.port, settings=case.settings) as raw:
                talk = c.Talk(raw)
                if before:
                    talk.say(before)
                self.assertIsNone(c.judge(case, talk, alive))


class FramesTest(ConformanceCase):
    def test_frames_of_every_kind(self):
        self.check(c.framing_cases(), OPEN)

    def test_states_and_streams(self):
        self.check(STATES)

    def test_nothing_comes_within_a_field_block(self):
        self.check(c.inside_block_cases(head(GET, 3, flags=0), 3), OPEN)

    def test_blocks_that_cannot_be_decoded(self):
        self.check(Case(section, what, head(block), connection_error(COMPRESSION))
                   for section, what, block in c.compression_cases(GET))
        self.check(Case(section, what + ", in trailers", OPEN + head(block), connection_error(COMPRESSION))
                   for section, what, block in c.compression_cases(literal(b"x", b"y")))

    def test_the_preface(self):
        for what, wire in [("of HTTP/1", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"), ("cut", PREFACE[:20] + b"x" * 20),
                           ("without SETTINGS", PREFACE + ping()), ("with a request", PREFACE + head()),
                           ("with an acknowledgment", PREFACE + settings(flags=ACK)),
                           ("with an unknown frame", PREFACE + frame(0xfe, 0, 0, b"x"))]:
            with self.subTest(section="3.4", what=what), Raw(self.proxy.port, preface=False) as raw:
                raw.send(wire)
                self.assertEqual(raw.goaway_code(), PROTOCOL)

    def test_the_server_begins_with_settings_and_acknowledges(self):  # 3.4, 6.5.3
        with Raw(self.proxy.port) as raw:
            talk = c.Talk(raw)
            talk.until(lambda: talk.settings_acks == 1)
            self.assertEqual((talk.frames[0][0], talk.frames[0][1], talk.frames[0][2]), (4, 0, 0))

    def test_an_error_ends_the_connection_and_names_the_last_stream(self):  # 5.4.1
        with Raw(self.proxy.port) as raw:
            talk = c.Talk(raw)
            talk.say(head() + head(stream=7) + data(stream=0) + head(stream=9))
            talk.until(lambda: False)
            self.assertEqual(talk.goaways, [(7, PROTOCOL)])
            while talk.hear():  # the server closes; we have not
                pass
            self.assertEqual(talk.frames[-1][0], GOAWAY)

    def test_a_client_that_says_goodbye_gets_its_answers(self):  # 6.8
        with Raw(self.proxy.port) as raw:
            talk = c.Talk(raw)
            talk.say(OPEN + frame(GOAWAY, 0, 0, bytes(8) + b"debug") + data(b"abc", end=True))
            self.assertTrue(talk.until(lambda: 1 in talk.ended))
            self.assertEqual(talk.bodies[1], BODY)


class MessagesTest(ConformanceCase):
    extra = "http2_protocol_options: { override_stream_error_on_invalid_http_message: true }"

    def test_malformed_messages_are_stream_errors(self):
        self.check(Case(section, what, wire, stream_error(PROTOCOL)) for section, what, wire in MALFORMED)

    def test_well_formed_messages_are_answered(self):
        answered = lambda talk: None if talk.until(lambda: 1 in talk.ended) else "no answer"
        self.check(Case(section, what, wire, IGNORED, after=answered) for section, what, wire in WELL_FORMED)

    def test_the_table_goes_on_after_a_malformed_message(self):  # 4.3
        def after(talk):
            talk.say(head(GET + b"\xbe", 0x801))
            if not talk.until(lambda: 0x801 in talk.ended):
                return "no answer"
            return None if self.server.requests[-1]["x-kept"] == "1" else "another field"

        wrong = GET + literal(b"Upper", b"x") + c.indexed_literal(b"x-kept", b"1")
        self.check([Case("4.3", "a malformed message's fields are indexed", head(wrong), stream_error(PROTOCOL),
                         after=after)])
        late = head(c.indexed_literal(b"x-kept", b"1"))
        self.check([Case("4.3", "those of a stream that the server has reset are, too", closed_by_server(late),
                         stream_error(PROTOCOL), after=after)])


class DefaultsTest(ConformanceCase):
    def test_malformed_messages_end_the_connection_or_the_stream(self):
        self.check(Case(section, what, wire, either(PROTOCOL)) for section, what, wire in MALFORMED)


class SettingsTest(ConformanceCase):
    def with_options(self, options):
        return self.http_to(self.server, extra=f"http2_protocol_options: {{ {options} }}")

    def test_streams_beyond_the_limit(self):  # 5.1.2
        def after(talk):
            talk.say(reset() + reset(3))

        self.proxy = self.with_options("max_concurrent_streams: 2")
        many = head(end=False) + head(stream=3, end=False) + head(stream=5, end=False) + data(stream=5)
        self.check([Case("5.1.2", "before the limit was acknowledged", many, stream_error(REFUSED, on=5), after=after),
                    Case("5.1.2", "after it", settings(flags=ACK) + many, either(PROTOCOL, REFUSED, on=5),
                         after=after)])

    def test_a_smaller_table_is_acknowledged_by_the_encoder(self):  # 4.3.1
        self.proxy = self.with_options("hpack_table_size: 100")
        ack = settings(flags=ACK)
        ok = lambda talk: None if talk.until(lambda: 1 in talk.ended) else "no answer"
        self.check([
            Case("4.3.1", "no update after the acknowledgment of a smaller table", ack + head(),
                 connection_error(COMPRESSION)),
            Case("4.3.1", "an update that is too large", ack + head(b"\x3f\x46" + GET), connection_error(COMPRESSION)),
            Case("4.3.1", "an update", ack + head(b"\x3f\x45" + GET), IGNORED, after=ok),
        ])

    def test_the_clients_settings_are_taken_in_order(self):  # 6.5.3
        with Raw(self.proxy.port, settings=c.setting((c.INITIAL_WINDOW, 0), (c.INITIAL_WINDOW, 5))) as raw:
            talk = c.Talk(raw)
            talk.say(head())
            self.assertTrue(talk.until(lambda: 1 in talk.bodies))
            self.assertTrue(talk.caught_up())
            self.assertEqual(talk.bodies[1], BODY[:5])

    def test_a_window_may_become_negative(self):  # 6.9.2
        with Raw(self.proxy.port, settings=c.setting((c.INITIAL_WINDOW, 10))) as raw:
            talk = c.Talk(raw)
            talk.say(head())
            self.assertTrue(talk.until(lambda: len(talk.bodies.get(1, b"")) == 10))
            talk.say(settings((c.INITIAL_WINDOW, 3)) + window(6, 1))  # 10 - 10 - 7 + 6
            self.assertTrue(talk.caught_up())
            self.assertEqual(len(talk.bodies[1]), 10)
            talk.say(window(3, 1))
            self.assertTrue(talk.until(lambda: len(talk.bodies[1]) > 10))
            self.assertTrue(talk.caught_up())
            self.assertEqual(len(talk.bodies[1]), 12)
            talk.say(window(1000, 1))
            self.assertTrue(talk.until(lambda: 1 in talk.ended))

    def test_the_connections_window_holds_too(self):  # 6.9.1
        server = self.upstream(upstream.answer(b"b" * 70_000))
        proxy = self.http_to(server)
        with Raw(proxy.port, settings=c.setting((c.INITIAL_WINDOW, 1_000_000))) as raw:
            talk = c.Talk(raw)
            talk.say(head())
            self.assertTrue(talk.until(lambda: len(talk.bodies.get(1, b"")) == 65_535))
            self.assertTrue(talk.caught_up())
            self.assertEqual(len(talk.bodies[1]), 65_535)
            talk.say(window(10_000))
            self.assertTrue(talk.until(lambda: 1 in talk.ended))

    def test_frames_are_no_larger_than_the_client_takes(self):  # 4.2
        server = self.upstream(upstream.answer(b"b" * 60_000))
        proxy = self.http_to(server)
        with Raw(proxy.port) as raw:
            talk = c.Talk(raw)
            talk.say(head())
            self.assertTrue(talk.until(lambda: 1 in talk.ended))
            self.assertLessEqual(max(len(payload) for _, _, _, payload in talk.frames), 16_384)

    def test_a_client_without_a_table_gets_no_index_into_it(self):  # 4.3.1, 6.5.2
        with Raw(self.proxy.port, settings=c.setting((c.HEADER_TABLE_SIZE, 0))) as raw:
            talk = c.Talk(raw)
            decoder = hpack.Decoder()
            decoder.max_allowed_table_size = 0
            for stream in (1, 3, 5):
                talk.say(head(stream=stream))
                self.assertTrue(talk.until(lambda n=stream: n in talk.ended))
                self.assertIn((":status", "200"), decoder.decode(talk.heads[stream][0]))

    def test_data_of_a_stream_that_is_gone_gives_the_connection_its_window_back(self):  # 5.1, 6.9
        proxy = self.with_options("initial_connection_window_size: 65535, initial_stream_window_size: 65535")
        with Raw(proxy.port) as raw:
            talk = c.Talk(raw)
            talk.say(closed_by_server(b"")(talk))
            for _ in range(3):
                talk.say(data(bytes(16_384)))
            self.assertTrue(talk.until(lambda: talk.windows.get(0, 0) >= 32_768))
            self.assertTrue(alive(talk))


