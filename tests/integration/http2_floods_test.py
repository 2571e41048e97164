"""What an attacker does on one HTTP/2 connection: it is ended and counted, memory stays, and others are served."""
import socket
import threading
import time

from support import configs, upstream
from support.case import ProxyCase
from support.http2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, PRIORITY,
                           RST_STREAM, SETTINGS, WINDOW_UPDATE, Http2Client, Raw, frame, literal)

CALM = 11


class FloodTest(ProxyCase):
    def setUp(self):
        self.proxy = self.http_to(self.upstream(upstream.answer(body=b"b" * 1000)))

    def raw(self, **options):
        return self.enterContext(Raw(self.proxy.port, **options))

    def ended(self, raw, code=None, stat=None):
        """The connection ends, with a GOAWAY of that code if it can still be read, and the daemon serves others."""
        found = raw.goaway_code()
        if code is not None and found is not None:
            self.assertEqual(found, code)
        while raw.next() is not None:
            pass
        if stat:
            self.assertGreaterEqual(self.proxy.stat(stat), 1, stat)
        self.served()

    def served(self):
        with Http2Client(self.proxy.port) as client:
            self.assertEqual(client.get().status, 200)
        self.proxy.wait_stat("http2.streams_active", 0)

    def request(self, stream, flags=END_STREAM | END_HEADERS, more=b""):
        return frame(HEADERS, flags, stream, GET + more)

    def pour(self, raw, data, times):
        """Says it many times without reading a byte."""
        raw.sock.settimeout(2)
        for _ in range(times):
            if not raw.send(data):
                break
        raw.sock.settimeout(10)

    def test_empty_data_frames(self):
        raw = self.raw()
        raw.send(self.request(1, END_HEADERS) + frame(DATA, 0, 1) * 5)
        self.ended(raw, CALM, "http2.inbound_empty_frames_flood")

    def test_priority_frames(self):
        raw = self.raw()
        raw.send(frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 200)
        self.ended(raw, CALM, "http2.inbound_priority_frames_flood")

    def test_window_updates(self):
        raw = self.raw()
        raw.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 100)
        self.ended(raw, CALM, "http2.inbound_window_update_frames_flood")

    def test_pings_without_reading(self):
        raw = self.raw()
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.pour(raw, frame(PING, 0, 0, b"12345678") * 1000, 1000)
        self.ended(raw, stat="http2.outbound_control_flood")

    def test_settings_without_reading(self):
        raw = self.raw()
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.pour(raw, frame(SETTINGS, 0, 0, b"") * 1000, 1000)
        self.ended(raw, stat="http2.outbound_control_flood")

    def test_rapid_reset(self):
        raw = self.raw()
        pairs = [self.request(2 * i + 1) + frame(RST_STREAM, 0, 2 * i + 1, b"\0\0\0\x08") for i in range(1000)]
        raw.send(b"".join(pairs))
        self.ended(raw, CALM, "http.front.downstream_rq_too_many_premature_resets")
        self.assertLess(self.proxy.stat("http.front.downstream_rq_http2_total"), 400)

    def test_continuations_without_end(self):
        raw = self.raw()
        raw.send(frame(HEADERS, END_STREAM, 1, GET))
        self.pour(raw, frame(CONTINUATION, 0, 1, literal(b"a", b"b")) * 100, 100)
        self.ended(raw, CALM, "http2.header_overflow")

    def test_empty_continuations(self):
        raw = self.raw()
        raw.send(frame(HEADERS, END_STREAM, 1, GET) + frame(CONTINUATION, 0, 1) * 5)
        self.ended(raw, CALM, "http2.inbound_empty_frames_flood")

    def test_resets_that_the_server_is_made_to_say(self):
        self.proxy = self.http_to(self.upstream(upstream.answer()),
                                  extra="http2_protocol_options: { max_concurrent_streams: 50 }")
        raw = self.raw()
        for begin in range(0, 1000, 50):
            raw.send(b"".join(
                self.request(2 * i + 1, END_HEADERS) + frame(WINDOW_UPDATE, 0, 2 * i + 1, b"\x7f\xff\xff\xff")
                for i in range(begin, begin + 50)) + frame(PING, 0, 0, b"answered"))
            while (got := raw.next()) is not None and got[0] not in (PING, GOAWAY):
                pass
            if got is None or got[0] == GOAWAY:
                break
        self.assertEqual(got[3][4:8], b"\0\0\0\x0b")
        self.ended(raw, stat="http.front.downstream_rq_too_many_premature_resets")
        self.assertLess(self.proxy.stat("http.front.downstream_rq_http2_total"), 400)

    def test_data_on_closed_streams(self):
        raw = self.raw()
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.pour(raw, b"".join(self.request(2 * i + 1, END_HEADERS) + frame(RST_STREAM, 0, 2 * i + 1, b"\0\0\0\x08")
                                for i in range(20)), 1)
        self.pour(raw, b"".join(frame(DATA, 0, 2 * i + 1, b"x") for i in range(20)) * 50, 1000)
        raw.close()
        self.served()

    def test_settings_that_are_read(self):
        """Cheap, and answered as long as the client reads."""
        raw = self.raw()
        for _ in range(20):
            raw.send(frame(SETTINGS) * 100)
            for _ in range(100):
                self.assertIsNotNone(raw.find(SETTINGS))
        self.served()

    def test_hpack_bombs(self):
        before = self.proxy.rss_kib()
        raw = self.raw()
        bomb = b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 10_000  # one entry of 4,000 bytes, ten thousand times
        for i in range(100):
            if not raw.send(self.request(2 * i + 1, more=bomb if i == 0 else b"\xbe" * 10_000)):
                break
        got = raw.find(RST_STREAM, 1)
        self.assertIsNotNone(got)
        self.assertGreaterEqual(self.proxy.stat("http2.header_overflow"), 1)
        self.assertLess(self.proxy.rss_kib() - before, 30_000)
        self.served_beside(raw)

    def served_beside(self, raw):
        with Http2Client(self.proxy.port) as client:
            self.assertEqual(client.get().status, 200)
        raw.close()

    def test_a_client_that_opens_no_window_holds_little(self):
        before = self.proxy.rss_kib()
        raw = self.raw(settings=b"\0\x04\0\0\0\0")
        raw.send(b"".join(self.request(2 * i + 1) for i in range(1000)))
        for _ in range(1000):
            self.assertIsNotNone(raw.find(HEADERS))
        self.served_beside(raw)
        self.assertLess(self.proxy.rss_kib() - before, 60_000)
        self.proxy.wait_stat("http2.streams_active", 0)

    def test_answers_that_are_not_read_hold_little(self):
        before = self.proxy.rss_kib()
        raw = self.raw(settings=b"\0\x04\x7f\xff\xff\xff")
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sock.settimeout(0.5)
        for i in range(20_000):
            if not raw.send(self.request(2 * i + 1)):
                break
        self.assertLess(self.proxy.rss_kib() - before, 100_000)
        self.served_beside(raw)

    def test_more_streams_than_allowed(self):
        self.proxy = self.http_to(self.upstream(upstream.answer()),
                                  extra="http2_protocol_options: { max_concurrent_streams: 10 }")
        raw = self.raw()
        raw.send(b"".join(self.request(2 * i + 1, END_HEADERS) for i in range(20)))
        got = raw.find(RST_STREAM)
        self.assertEqual((got[2], got[3]), (21, b"\0\0\0\x07"), "REFUSED_STREAM")
        self.served_beside(raw)

    def floods(self):
        """What an attacker says again and again, on one connection after the other."""
        head = self.request
        bomb = b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 10_000
        pairs = [head(2 * i + 1) + frame(RST_STREAM, 0, 2 * i + 1, b"\0\0\0\x08") for i in range(500)]
        made = [head(2 * i + 1, END_HEADERS) + frame(WINDOW_UPDATE, 0, 2 * i + 1, b"\x7f\xff\xff\xff")
                for i in range(500)]
        return {
            "rapid reset": b"".join(pairs), "made resets": b"".join(made),
            "PING": frame(PING, 0, 0, b"12345678") * 1000, "SETTINGS": frame(SETTINGS) * 1000,
            "PRIORITY": frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 1000,
            "WINDOW_UPDATE": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 1000,
            "empty DATA": head(1, END_HEADERS) + frame(DATA, 0, 1) * 1000,
            "CONTINUATION": frame(HEADERS, END_STREAM, 1, GET) + frame(CONTINUATION, 0, 1, literal(b"a", b"b")) * 1000,
            "HPACK": b"".join(head(2 * i + 1, more=bomb if i == 0 else b"\xbe" * 10_000) for i in range(20)),
            "answers that nobody reads": b"".join(head(2 * i + 1) for i in range(500)),
        }

    def test_others_are_served_during_an_attack(self):
        self.proxy = self.http(configs.direct(body="b" * 1000))
        for name, flood in self.floods().items():
            with self.subTest(flood=name), Http2Client(self.proxy.port) as client:
                before = self.proxy.rss_kib()
                with Attacker(self.proxy.port, flood) as attacker:
                    while attacker.said < 20 and attacker.running():
                        self.assertEqual(client.get().status, 200)
                self.assertGreaterEqual(attacker.said, 20)
                self.assertLess(self.proxy.rss_kib() - before, 60_000)
                client.close()
                self.proxy.wait_stat("http2.streams_active", 0)


class Attacker:
    """Says the same on one connection after the other."""

    def __init__(self, port, flood):
        self.port, self.flood, self.said = port, flood, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def running(self):
        return self._thread.is_alive()

    def _run(self):
        while not self._stop.is_set():
            with Raw(self.port) as raw:
                raw.send(self.flood)
                raw.say_nothing_more()
                while not self._stop.is_set() and raw.next() is not None:
                    pass
                self.said += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(timeout=20)


class TimeTest(ProxyCase):
    def test_a_head_that_drips_is_ended(self):
        proxy = self.http(configs.direct(), extra="request_headers_timeout: 0.3s")
        with Raw(proxy.port) as raw:
            raw.send(frame(HEADERS, END_STREAM, 1, GET))
            while raw.send(frame(CONTINUATION, 0, 1, literal(b"a", b"b"))):
                time.sleep(0.05)
                if proxy.stats().get("http.front.downstream_rq_header_timeout"):
                    break
            self.assertIsNotNone(raw.find(HEADERS, 1), "the 408")
            while raw.next() is not None:
                pass

    def test_a_response_that_is_not_taken_is_given_up(self):
        proxy = self.http_to(self.upstream(upstream.answer(body=b"b" * 1000)), extra="stream_idle_timeout: 0.3s")
        with Raw(proxy.port, settings=b"\0\x04\0\0\0\0") as raw:
            raw.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, GET))
            self.assertIsNotNone(raw.find(RST_STREAM, 1))
            proxy.wait_stat("http2.tx_flush_timeout", 1)

    def test_a_client_that_answers_no_ping_is_left(self):
        proxy = self.http(configs.direct(), extra="""
            http2_protocol_options: { connection_keepalive: { interval: 0.1s, timeout: 0.2s } }
            """)
        with Raw(proxy.port) as raw:
            self.assertIsNotNone(raw.find(PING))
            while raw.next() is not None:
                pass
            proxy.wait_stat("http2.keepalive_timeout", 1)
        with Raw(proxy.port) as raw:
            for _ in range(4):
                got = raw.find(PING)
                self.assertEqual(got[1] & ACK, 0)
                raw.send(frame(PING, ACK, 0, got[3]))
        self.assertEqual(proxy.stat("http2.keepalive_timeout"), 1)
