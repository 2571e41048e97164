"""HTTP/2 from clients to HTTP/1 upstreams: real clients, bodies, trailers, upgrades, back-pressure, drain."""
import os
import signal
import socket
import subprocess
import threading

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import get
from support.http2 import (ACK, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, Http2Client, Raw, frame)


def curl(*arguments, **options):
    return subprocess.run(["curl", "-sS", "--max-time", "20", "--http2-prior-knowledge", *arguments],
                          capture_output=True, check=True, **options).stdout


class Http2Case(ProxyCase):
    def h2(self, proxy, **options):
        return self.enterContext(Http2Client(proxy.port, **options))


class MessageTest(Http2Case):
    def test_a_request_reaches_an_http1_upstream(self):
        server = self.upstream(upstream.answer(body=b"hello", headers=[("x-up", "1")]))
        client = self.h2(self.http_to(server))
        response = client.get("/a?b=c", headers=[("x-one", "1"), ("cookie", "a=1"), ("cookie", "b=2")])
        self.assertEqual((response.status, response.body, response["x-up"]), (200, b"hello", "1"))
        request = server.requests[0]
        self.assertEqual((request.method, request.target, request["host"]), ("GET", "/a?b=c", "example.com"))
        self.assertEqual((request["x-one"], request["cookie"]), ("1", "a=1; b=2"))
        self.assertEqual(request["x-forwarded-proto"], "http")
        self.assertIsNone(request["content-length"])
        self.assertIsNone(request["transfer-encoding"])

    def test_bodies_go_both_ways(self):
        def echo(peer):
            while True:
                peer.respond(body=peer.read_request().body)

        client = self.h2(self.http_to(self.upstream(echo)))
        body = os.urandom(3_000_000)
        self.assertEqual(client.wait(client.request(method="POST", body=body)).body, body)
        sized = client.request(method="POST", body=b"abc", headers=[("content-length", "3")])
        self.assertEqual(client.wait(sized).body, b"abc")

    def test_many_streams_of_one_connection_are_answered(self):
        server = self.upstream(upstream.answer(body=b"x" * 1000))
        client = self.h2(self.http_to(server))
        streams = [client.request(f"/{i}") for i in range(200)]
        for stream in streams:
            self.assertEqual(len(client.wait(stream).body), 1000)
        self.assertEqual({r.target for r in server.requests}, {f"/{i}" for i in range(200)})

    def test_trailers_pass(self):
        def script(peer):
            request = peer.read_request()
            self.trailers = request.trailers
            peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-end: 1\r\n\r\n")

        cluster = f"""
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": {configs.TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {{ http_protocol_options: {{ enable_trailers: true }} }}
            """
        client = self.h2(self.http_to(self.upstream(script), cluster_extra=cluster))
        stream = client.request(method="POST", body=b"up", end=False)
        client.trailers(stream, [("x-begin", "2")])
        response = client.wait(stream)
        self.assertEqual((response.body, response.trailers), (b"ok", [("x-end", "1")]))
        self.assertEqual(self.trailers, [("x-begin", "2")])

    def test_an_interim_response_passes(self):
        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            peer.respond(body=b"ok")

        client = self.h2(self.http_to(self.upstream(script)))
        response = client.get()
        self.assertEqual(response.status, 200)
        self.assertIn((":status", "103"), response.informational[0])

    def test_a_continue_is_sent_before_the_body(self):
        client = self.h2(self.http_to(self.upstream(upstream.answer())))
        stream = client.request(method="POST", headers=[("expect", "100-continue")], end=False)
        client.until(lambda: client.streams[stream].informational)
        client.send(stream, b"body", end=True)
        self.assertEqual(client.wait(stream).status, 200)

    def test_head_and_bodyless_answers_have_no_body(self):
        client = self.h2(self.http_to(self.upstream(upstream.answer(body=b"hidden"))))
        response = client.wait(client.request(method="HEAD"))
        self.assertEqual((response.status, response.body, response["content-length"]), (200, b"", "6"))
        proxy = self.http(configs.direct(204, body=""))
        self.assertEqual(self.h2(proxy).get().status, 204)

    def test_an_upstream_that_breaks_off_resets_the_stream_alone(self):
        def script(peer):
            request = peer.read_request()
            if request.target == "/cut":
                peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                return
            while True:
                peer.respond(body=b"whole")
                peer.read_request()

        client = self.h2(self.http_to(self.upstream(script)))
        cut = client.get("/cut")
        self.assertEqual((cut.status, cut.reset), (200, 2))
        self.assertEqual(client.get("/").body, b"whole")

    def test_connect_and_websockets_become_tunnels(self):
        def script(peer):
            request = peer.read_head()
            self.assertEqual((request["upgrade"], request["connection"].lower()), ("websocket", "upgrade"))
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
            while True:
                peer.send(peer.reader.exactly(4)[::-1])

        proxy = self.http_to(self.upstream(script), extra="""
            upgrade_configs: [{ upgrade_type: websocket }]
            http2_protocol_options: { allow_connect: true }
            """)
        client = self.h2(proxy)
        client.wait_settings()
        stream = client.request("/chat", method="CONNECT", extra=[(":protocol", "websocket")], end=False)
        client.until(lambda: client.streams[stream].headers)
        self.assertEqual(client.streams[stream].status, 200)
        client.send(stream, b"ping")
        client.until(lambda: client.streams[stream].body == b"gnip")
        self.assertEqual(proxy.stat("http.front.downstream_cx_upgrades_active"), 1)
        client.reset(stream)
        proxy.wait_stat("http.front.downstream_cx_upgrades_active", 0)

    def test_logs_name_the_protocol_and_the_reset(self):
        release = threading.Event()
        self.addCleanup(release.set)

        def script(peer):
            peer.read_request()
            release.wait(20)

        log = "/dev/stdout"
        proxy = self.http_to(self.upstream(script), access_log=[configs.file_log(
            log, "%PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n")])
        client = self.h2(proxy)
        stream = client.request()
        proxy.wait_stat("http.front.downstream_rq_active", 1)
        client.reset(stream)
        proxy.wait_stat("http.front.downstream_rq_active", 0)
        proxy.wait_stat("http2.rx_reset", 1)
        client.close()
        proxy.signal(signal.SIGTERM)
        proxy.wait_exit()
        self.assertIn("HTTP/2 0 DR http2.remote_reset", proxy.output())


class PeersTest(Http2Case):
    def test_curl_and_nghttp_are_served(self):
        proxy = self.http_to(self.upstream(upstream.answer(body=b"y" * 100_000)))
        self.assertEqual(len(curl(f"http://127.0.0.1:{proxy.port}/")), 100_000)
        self.assertEqual(curl(f"http://127.0.0.1:{proxy.port}/", "-o", "/dev/null", "-w", "%{http_version}"), b"2")
        done = subprocess.run(["nghttp", "-nvy", "-m", "20", f"http://127.0.0.1:{proxy.port}/"], capture_output=True,
                              text=True, timeout=30, check=True)
        self.assertEqual(done.stdout.count(":status: 200"), 20)
        self.assertEqual(get(proxy.port).status, 200, "HTTP/1 on the same port")

    def test_curl_uploads(self):
        def count(peer):
            while True:
                peer.respond(body=str(len(peer.read_request().body)).encode())

        proxy = self.http_to(self.upstream(count))
        body = b"z" * 2_000_000
        self.assertEqual(curl("--data-binary", "@-", f"http://127.0.0.1:{proxy.port}/", input=body), b"2000000")

    def test_h2load_sees_no_error(self):
        proxy = self.http_to(self.upstream(upstream.answer(body=b"z" * 64)))
        done = subprocess.run(["h2load", "-n5000", "-c4", "-m50", f"http://127.0.0.1:{proxy.port}/"],
                              capture_output=True, text=True, timeout=120, check=True)
        self.assertIn("5000 succeeded, 0 failed, 0 errored", done.stdout)
        proxy.wait_stat("http.front.downstream_cx_http2_active", 0)
        self.assertEqual(proxy.stat("http2.streams_active"), 0)


class FlowControlTest(Http2Case):
    def test_a_stream_that_is_not_read_does_not_stall_the_others(self):
        def script(peer):
            while True:
                request = peer.read_request()
                if request.target != "/big":
                    peer.respond(body=b"small")
                    continue
                peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
                for _ in range(1000):
                    peer.send(b"b" * 100_000)

        proxy = self.http_to(self.upstream(script))
        before = proxy.rss_kib()
        client = self.h2(proxy, auto_window=False)
        big = client.request("/big")
        client.until(lambda: len(client.streams[big].body) == 65_535)
        client.h2.increment_flow_control_window(1_000_000)  # of the connection, not of the stream
        client.flush()
        for _ in range(5):
            self.assertEqual(client.get("/").body, b"small")
        self.assertLess(proxy.rss_kib() - before, 40_000)
        self.assertEqual(proxy.stat("http.front.downstream_rq_active"), 1)

    def test_an_upload_that_nobody_reads_stops_at_its_window(self):
        release = threading.Event()

        def script(peer):
            request = peer.read_head()
            if request.target == "/slow":
                release.wait(20)
            peer.read_body(request)
            peer.respond(body=str(len(request.body)).encode())

        proxy = self.http_to(self.upstream(script, receive_buffer=8192), extra="""
            http2_protocol_options: { initial_stream_window_size: 65535 }
            """)
        client = self.h2(proxy)
        client.wait_settings()
        slow = client.request("/slow", method="POST", end=False)
        sent = 0
        client.sock.settimeout(1)
        try:
            while sent < 50_000_000:
                room = min(client.h2.local_flow_control_window(slow), 16_384)
                if room == 0:
                    client.step()
                    continue
                client.h2.send_data(slow, b"s" * room)
                client.flush()
                sent += room
        except socket.timeout:
            pass
        self.assertLess(sent, 20_000_000)
        client.sock.settimeout(10)
        self.assertEqual(client.get("/quick").body, b"0")
        release.set()
        client.send(slow, b"", end=True)
        self.assertEqual(client.wait(slow).body, str(sent).encode())


class EndTest(Http2Case):
    def test_sigterm_drains_in_two_steps_and_loses_nothing(self):
        release = threading.Event()

        def script(peer):
            while True:
                peer.read_request()
                release.wait(20)
                peer.respond(body=b"late")

        proxy = self.http_to(self.upstream(script), extra="drain_timeout: 0.3s", options={"drain_s": 20})
        client = self.h2(proxy)
        first = client.request()
        proxy.wait_stat("http.front.downstream_rq_active", 1)
        proxy.signal(signal.SIGTERM)
        # h2 refuses to go on after a GOAWAY, so look at the wire.
        client.h2.receive_data = collect = Collector()
        while collect.goaways < 2:
            client.step()
        self.assertEqual(collect.last_streams, [0x7fffffff, first])
        release.set()
        client.wait_closed()
        self.assertIn(b"late", collect.data)
        self.assertEqual(proxy.wait_exit(), 0)

    def test_the_daemon_ends_at_once_without_streams(self):
        proxy = self.http(configs.direct(), extra="drain_timeout: 0.1s", options={"drain_s": 20})
        client = self.h2(proxy)
        self.assertEqual(client.get().status, 200)
        proxy.signal(signal.SIGTERM)
        client.h2.receive_data = Collector()
        client.wait_closed()
        self.assertEqual(proxy.wait_exit(5), 0)

    def test_an_idle_connection_need_not_wait_for_its_drain_timeout(self):
        proxy = self.http(configs.direct(), extra="drain_timeout: 600s", options={"drain_s": 600})
        with Raw(proxy.port) as raw:
            raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, GET))
            while not raw.find(DATA)[1] & END_STREAM:
                pass
            proxy.signal(signal.SIGTERM)
            self.assertEqual(raw.find(GOAWAY)[3], b"\x7f\xff\xff\xff" + bytes(4))
            ping = raw.find(PING)
            raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, GET))  # before it has heard of the notice
            self.assertEqual(raw.find(HEADERS)[2], 3)
            raw.send(frame(PING, ACK, 0, ping[3]))
            self.assertEqual(raw.find(GOAWAY)[3], b"\0\0\0\3" + bytes(4))
            while raw.next() is not None:
                pass
        self.assertEqual(proxy.wait_exit(), 0)

    def test_a_connection_ends_after_its_requests(self):
        proxy = self.http(configs.direct(), extra="""
            drain_timeout: 0.1s
            common_http_protocol_options: { max_requests_per_connection: 3 }
            """)
        client = self.h2(proxy)
        client.h2.receive_data = collect = Collector()
        for stream in (1, 3, 5):
            client.h2.send_headers(stream, [(":method", "GET"), (":scheme", "http"), (":authority", "a"),
                                            (":path", "/")], end_stream=True)
        client.flush()
        client.wait_closed()
        self.assertEqual(collect.data.count(b"direct"), 3)
        proxy.wait_stat("http.front.downstream_cx_max_requests_reached", 1)


class Collector:
    """Stands in for H2Connection.receive_data: counts GOAWAY frames and keeps bodies."""

    def __init__(self):
        self.rest, self.data, self.last_streams = b"", b"", []

    @property
    def goaways(self):
        return len(self.last_streams)

    def __call__(self, data):
        self.rest += data
        while len(self.rest) >= 9 and len(self.rest) >= 9 + int.from_bytes(self.rest[:3], "big"):
            size = int.from_bytes(self.rest[:3], "big")
            kind, payload = self.rest[3], self.rest[9:9 + size]
            self.rest = self.rest[9 + size:]
            if kind == 7:
                self.last_streams.append(int.from_bytes(payload[:4], "big"))
            elif kind == 0:
                self.data += payload
        return []
