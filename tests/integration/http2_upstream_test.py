"""HTTP/2 to upstreams: HTTP/1 in, HTTP/2 out, against python3-h2, nghttpd and python3-grpcio."""
import concurrent.futures
import http.server
import shutil
import ssl
import subprocess
import tempfile
import threading
import unittest

from support import configs, upstream
from support.case import ProxyCase
from support.certificates import Authority
from support.http1 import get
from support.http2 import Http2Client
from support.http2_upstream import REFUSED, Http2Upstream, answer, echo, h2
from support.ports import free_port
from support.process import Process

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def http2(options="{}", common="", kind="explicit_http_config"):
    """The cluster speaks HTTP/2 with these Http2ProtocolOptions."""
    return f"""\
typed_extension_protocol_options:
  {OPTIONS}:
    "@type": {configs.TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
    {kind}: {{ http2_protocol_options: {options} }}
""" + (f"    common_http_protocol_options: {common}\n" if common else "")


def policy(on, retries=1):
    return f"""
retry_policy:
  retry_on: {on}
  num_retries: {retries}
  retry_back_off: {{ base_interval: 0.001s, max_interval: 0.002s }}
"""


class Http2UpstreamCase(ProxyCase):
    def server(self, script, **options):
        return self.enterContext(Http2Upstream(script, **options))

    def proxy_to(self, *servers, cluster_extra=None, **options):
        return self.http_to(*servers, cluster_extra=http2() if cluster_extra is None else cluster_extra, **options)

    def many(self, port, paths):
        with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
            return list(pool.map(lambda path: get(port, path), paths))


class Http2UpstreamTest(Http2UpstreamCase):
    def test_carries_a_request_and_its_answer(self):
        server = self.server(echo)
        proxy = self.proxy_to(server)
        response = self.client(proxy.port).request("POST", "/some?path=1", body=b"hello")
        self.assertEqual((response.status, response.body), (200, b"hello"))
        request = server.requests[0]
        self.assertEqual((request[":method"], request[":path"], request[":scheme"]), ("POST", "/some?path=1", "http"))
        for name in ("connection", "transfer-encoding", "host", "upgrade", "keep-alive"):
            self.assertNotIn(name, request.headers)
        self.assertEqual(request["x-forwarded-proto"], "http")
        proxy.wait_stat("cluster.up.upstream_cx_http2_total", 1)
        proxy.wait_stat("cluster.up.upstream_rq_200", 1)

    def test_the_old_field_of_the_cluster_means_the_same(self):
        server = self.server(echo)
        proxy = self.proxy_to(server, cluster_extra="http2_protocol_options: {}")
        self.assertEqual(get(proxy.port).status, 200)

    def test_use_downstream_protocol_speaks_http1_for_an_http1_client(self):
        server = self.upstream(upstream.answer())
        proxy = self.proxy_to(server, cluster_extra=http2(kind="use_downstream_protocol_config"))
        self.assertEqual(get(proxy.port).status, 200)
        proxy.wait_stat("cluster.up.upstream_cx_http1_total", 1)

    def test_many_requests_share_a_connection(self):
        barrier = threading.Barrier(8)
        server = self.server(lambda stream: threading.Thread(
            target=lambda: (barrier.wait(10), stream.respond(200, stream[":path"].encode()))).start())
        proxy = self.proxy_to(server)
        paths = [f"/{i}" for i in range(8)]
        self.assertEqual([r.body.decode() for r in self.many(proxy.port, paths)], paths)
        self.assertEqual(server.connections, 1)

    def test_no_more_streams_than_the_peer_takes(self):
        seen, lock, most = [0], threading.Lock(), [0]

        def script(stream):
            with lock:
                seen[0] += 1
                most[0] = max(most[0], seen[0])

            def later():
                with lock:
                    seen[0] -= 1
                stream.respond(200, b"ok")
            threading.Timer(0.02, later).start()
        server = self.server(script, settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2})
        proxy = self.proxy_to(server, cluster_extra=http2() + """
circuit_breakers: { thresholds: [{ max_connections: 1 }] }""")
        self.assertEqual(get(proxy.port).status, 200)  # and its SETTINGS are known
        self.assertEqual({r.status for r in self.many(proxy.port, [f"/{i}" for i in range(10)])}, {200})
        self.assertEqual(most[0], 2)
        self.assertEqual(server.connections, 1)

    def test_dials_more_connections_beyond_max_concurrent_streams(self):
        barrier = threading.Barrier(4)
        server = self.server(lambda stream: threading.Thread(
            target=lambda: (barrier.wait(10), stream.respond(200, b"ok"))).start())
        proxy = self.proxy_to(server, cluster_extra=http2("{ max_concurrent_streams: 1 }"))
        self.assertEqual({r.status for r in self.many(proxy.port, [f"/{i}" for i in range(4)])}, {200})
        self.assertEqual(server.connections, 4)

    def test_big_bodies_both_ways(self):
        server = self.server(echo)
        proxy = self.proxy_to(server)
        body = bytes(range(256)) * 40_000
        response = self.client(proxy.port).request("POST", body=body)
        self.assertEqual(response.body, body)

    def test_trailers_of_the_answer(self):
        server = self.server(answer(b"body", trailers=[("checksum", "7")]))
        proxy = self.proxy_to(server, extra="http_protocol_options: { enable_trailers: true }")
        client = self.client(proxy.port)
        response = client.request("GET", headers=[("TE", "trailers")])
        self.assertEqual(response.body, b"body")
        self.assertEqual(dict(response.trailers), {"checksum": "7"})

    def test_an_early_answer_ends_the_request(self):
        server = self.server(lambda stream: stream.respond(413, b"too much"), early=True)
        proxy = self.proxy_to(server)
        client = self.client(proxy.port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin")
        response = client.response()
        self.assertEqual((response.status, response.body), (413, b"too much"))
        self.wait_until(lambda: server.requests[0].reset_code is not None, "the stream is reset")
        self.assertEqual(get(proxy.port).status, 413)
        self.assertEqual(server.connections, 1)

    def test_a_client_that_goes_resets_its_stream_only(self):
        release = threading.Event()
        server = self.server(lambda stream: threading.Thread(
            target=lambda: (release.wait(10), stream.reset_code is None and stream.respond(200, b"ok"))).start())
        proxy = self.proxy_to(server)
        client = self.client(proxy.port)
        client.send(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        self.wait_until(lambda: server.requests, "the request arrives")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            other = pool.submit(get, proxy.port, "/stays")
            self.wait_until(lambda: len(server.requests) == 2, "so does the other")
            client.close()
            self.wait_until(lambda: server.requests[0].reset_code == h2.errors.ErrorCodes.CANCEL, "it is reset")
            release.set()
            self.assertEqual(other.result().status, 200)
        self.assertEqual(server.connections, 1)

    def test_websocket_becomes_an_extended_connect(self):
        def script(stream):
            stream.head(200)
            stream.send(b"welcome")
        server = self.server(script, early=True,
                             settings={h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        proxy = self.proxy_to(server, extra="upgrade_configs: [{ upgrade_type: websocket }]")
        client = self.client(proxy.port)
        client.send(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nhello")
        head = client.reader.until(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "), head)
        self.assertIn(b"upgrade: websocket", head.lower())
        self.assertEqual(client.reader.exactly(7), b"welcome")
        request = server.requests[0]
        self.assertEqual((request[":method"], request[":protocol"], request[":path"]),
                         ("CONNECT", "websocket", "/chat"))
        self.wait_until(lambda: request.body == b"hello", "the client's bytes arrive")


class Http2FailuresTest(Http2UpstreamCase):
    def in_turn(self, *scripts):
        left = list(scripts)
        return lambda stream: (left.pop(0) if len(left) > 1 else left[0])(stream)

    def test_a_refused_stream_is_retried(self):
        server = self.server(self.in_turn(lambda stream: stream.reset(REFUSED), answer(b"ok")))
        proxy = self.proxy_to(server, action=policy("refused-stream"))
        body = b"x" * 10_000
        response = self.client(proxy.port).request("POST", body=body)
        self.assertEqual((response.status, response.body), (200, b"ok"))
        self.assertEqual([request.body for request in server.requests], [body, body])
        proxy.wait_stat("cluster.up.upstream_rq_retry_success", 1)

    def test_resets_have_flags_and_retries_of_their_own(self):
        server = self.server(lambda stream: stream.reset())
        log = []
        proxy = self.proxy_to(server, action=policy("refused-stream"))
        response = get(proxy.port)
        self.assertEqual(response.status, 503)
        self.assertIn(b"reset reason: remote reset", response.body)
        self.assertEqual(len(server.requests), 1, log)
        proxy.wait_stat("cluster.up.upstream_rq_rx_reset", 1)
        proxy.wait_stat("cluster.up.http2.rx_reset", 1)

    def test_after_goaway_requests_go_to_a_new_connection(self):
        def script(stream):
            if stream.peer is server.peers[0]:
                stream.peer.goaway(stream.number)
            stream.respond(200, b"%d" % server.peers.index(stream.peer))
        server = self.server(script)
        proxy = self.proxy_to(server)
        self.assertEqual([get(proxy.port).body for _ in range(3)], [b"0", b"1", b"1"])
        proxy.wait_stat("cluster.up.upstream_cx_close_notify", 1)
        proxy.wait_stat("cluster.up.upstream_cx_active", 1)

    def test_what_goaway_leaves_out_is_sent_again(self):
        """The peer closed an idle connection just when a request was on its way."""
        def script(stream):
            if stream.peer is server.peers[0] and stream.number > 1:
                return stream.peer.goaway(1)
            return stream.respond(200, b"%d" % server.peers.index(stream.peer))
        server = self.server(script)
        proxy = self.proxy_to(server)
        self.assertEqual([get(proxy.port).body for _ in range(3)], [b"0", b"1", b"1"])

    def test_a_lost_connection_fails_its_requests(self):
        server = self.server(lambda stream: stream.peer.sock.shutdown(2))
        proxy = self.proxy_to(server)
        response = get(proxy.port)
        self.assertEqual(response.status, 503)
        self.assertIn(b"connection termination", response.body)

    def test_an_http1_server_is_a_protocol_error(self):
        server = self.upstream(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        proxy = self.proxy_to(server)
        response = get(proxy.port)
        self.assertEqual(response.status, 502)
        proxy.wait_stat("cluster.up.upstream_cx_protocol_error", 1)

    def test_a_peer_that_answers_no_ping_is_given_up(self):
        silent = threading.Event()

        def script(stream):
            silent.set()
            with stream.peer.lock:  # its thread reads no more
                release.wait(20)
        release = threading.Event()
        self.addCleanup(release.set)
        server = self.server(script)
        proxy = self.proxy_to(server, cluster_extra=http2(
            "{ connection_keepalive: { interval: 0.1s, timeout: 0.2s } }"))
        self.assertEqual(get(proxy.port).status, 503)
        self.assertTrue(silent.is_set())
        proxy.wait_stat("cluster.up.http2.keepalive_timeout", 1)

    def test_a_slow_reader_holds_up_nobody_else(self):
        large = b"x" * (8 << 20)

        def script(stream):
            stream.respond(200, large if stream[":path"] == "/large" else b"small")
        server = self.server(script)
        proxy = self.proxy_to(server, cluster_extra=http2("{ initial_stream_window_size: 65535 }"))
        slow = self.client(proxy.port)
        slow.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.wait_stat("cluster.up.upstream_rq_active", 1)
        for _ in range(20):
            self.assertEqual(get(proxy.port, "/small").body, b"small")
        before = proxy.rss_kib()
        self.assertLess(before, 200_000)
        self.assertEqual(slow.response().body, large)
        self.assertEqual(server.connections, 1)


class BothSidesTest(Http2UpstreamCase):
    """HTTP/2 in, HTTP/2 out."""

    def one(self, client, stream):
        client.until(lambda: client.streams[stream].ended or client.streams[stream].reset is not None)
        return client.streams[stream]

    def test_trailers_pass_both_ways(self):
        server = self.server(echo)
        proxy = self.proxy_to(server, cluster_extra=http2(kind="use_downstream_protocol_config"))
        client = Http2Client(proxy.port)
        stream = client.request(method="POST", body=b"body", end=False)
        client.trailers(stream, [("checksum", "7")])
        exchange = self.one(client, stream)
        self.assertEqual((exchange.status, exchange.body), (200, b"body"))
        self.assertEqual(exchange.trailers, [("checksum", "7")])
        self.assertEqual(server.requests[0].trailers, {"checksum": "7"})
        proxy.wait_stat("cluster.up.upstream_cx_http2_total", 1)
        client.sock.close()

    def test_streams_are_answered_in_any_order(self):
        waiting = []

        def script(stream):
            waiting.append(stream)
            if len(waiting) == 20:
                for one in reversed(waiting):
                    one.respond(200, one[":path"].encode())
        proxy = self.proxy_to(self.server(script))
        client = Http2Client(proxy.port)
        streams = {client.request(f"/{i}"): f"/{i}".encode() for i in range(20)}
        for stream, body in streams.items():
            self.assertEqual(self.one(client, stream).body, body)
        client.sock.close()

    def test_a_reset_by_the_client_reaches_the_server(self):
        server = self.server(lambda stream: None)
        proxy = self.proxy_to(server)
        client = Http2Client(proxy.port)
        stream = client.request("/wait")
        self.wait_until(lambda: server.requests, "the request arrives")
        client.reset(stream)
        self.wait_until(lambda: server.requests[0].reset_code == h2.errors.ErrorCodes.CANCEL, "so does the reset")
        client.sock.close()

    def test_big_bodies_both_ways_at_once(self):
        server = self.server(echo)
        proxy = self.proxy_to(server)
        client = Http2Client(proxy.port, timeout_s=60)
        body = bytes(range(256)) * 20_000
        streams = [client.request(method="POST", body=body) for _ in range(3)]
        for stream in streams:
            self.assertEqual(self.one(client, stream).body, body)
        client.sock.close()

    def test_a_websocket_passes_as_it_came(self):
        def script(stream):
            stream.head(200)
            stream.send(b"welcome")
        server = self.server(script, early=True, settings={h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        proxy = self.proxy_to(server, extra="http2_protocol_options: { allow_connect: true }\n"
                                            "upgrade_configs: [{ upgrade_type: websocket }]")
        client = Http2Client(proxy.port)
        client.until(lambda: client.settings_seen)
        stream = client.request("/chat", "CONNECT", extra=[(":protocol", "websocket")], end=False)
        client.until(lambda: client.streams[stream].body == b"welcome")
        self.assertEqual(client.streams[stream].status, 200)
        client.send(stream, b"hello")
        self.wait_until(lambda: server.requests[0].body == b"hello", "the client's bytes arrive")
        self.assertEqual(server.requests[0][":protocol"], "websocket")
        client.sock.close()


class Http1Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"one.")

    def log_message(self, *_):
        pass


class Http2TlsTest(Http2UpstreamCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.authority = Authority(self.folder)
        self.pair = self.authority.issue("up.test")

    def context(self, *protocols):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair)
        context.set_alpn_protocols(list(protocols))
        return context

    def tls(self, options):
        return options + configs.upstream_tls(self.authority.file, extra="sni: up.test")

    def http1_server(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http1Handler)
        server.daemon_threads = True
        server.socket = self.context("http/1.1").wrap_socket(server.socket, server_side=True)
        server.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(lambda: (server.shutdown(), server.server_close(), thread.join()))
        return server

    def test_http2_over_tls(self):
        server = self.server(echo, context=self.context("h2"))
        proxy = self.proxy_to(server, cluster_extra=self.tls(http2()))
        body = bytes(range(256)) * 4000
        self.assertEqual(self.client(proxy.port).request("POST", body=body).body, body)
        self.assertEqual(server.peers[0].sock.selected_alpn_protocol(), "h2")

    def test_auto_speaks_what_the_server_chose(self):
        server = self.server(echo, context=self.context("h2", "http/1.1"))
        proxy = self.proxy_to(server, cluster_extra=self.tls(http2(kind="auto_config")))
        self.assertEqual(get(proxy.port).status, 200)
        proxy.wait_stat("cluster.up.upstream_cx_http2_total", 1)
        proxy = self.proxy_to(self.http1_server(), cluster_extra=self.tls(http2(kind="auto_config")))
        for _ in range(2):
            self.assertEqual(get(proxy.port).body, b"one.")
        proxy.wait_stat("cluster.up.upstream_cx_http1_total", 1)
        self.assertEqual({r.status for r in self.many(proxy.port, [f"/{i}" for i in range(6)])}, {200})
        self.assertEqual(proxy.stats().get("cluster.up.upstream_cx_http2_total", 0), 0)


@unittest.skipUnless(shutil.which("nghttpd"), "nghttpd is not installed")
class NghttpdTest(Http2UpstreamCase):
    def test_serves_files_through_nghttpd(self):
        with tempfile.TemporaryDirectory() as folder:
            body = bytes(range(256)) * 4096
            with open(f"{folder}/file", "wb") as f:
                f.write(body)
            port = free_port()
            peer = self.enterContext(Process(["nghttpd", "--no-tls", "-d", folder, str(port)]))
            del peer
            cluster = configs.cluster("up", port, extra=http2())
            proxy = self.http(configs.route("up", action=policy("connect-failure", 3)), clusters=[cluster])
            self.wait_until(lambda: get(proxy.port, "/file").status == 200, "nghttpd answers")
            self.assertEqual(get(proxy.port, "/file").body, body)
            self.assertEqual(get(proxy.port, "/nothing").status, 404)
            if shutil.which("h2load") is None:
                return
            done = subprocess.run(["h2load", "--h1", "-n", "2000", "-c", "20", f"http://127.0.0.1:{proxy.port}/file"],
                                  capture_output=True, text=True, timeout=60, check=True)
            self.assertIn("2000 succeeded, 0 failed", done.stdout)


if __name__ == "__main__":
    unittest.main()
