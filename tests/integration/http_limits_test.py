"""Limits and timeouts of the HTTP connection manager, each met and each just not met."""
import time

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import Closed, get


class SizeTest(ProxyCase):
    def test_header_bytes_are_limited_to_60_kib(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        # The size of a head counts names, values and separators; both sides stay clear of the exact edge.
        self.assertEqual(get(proxy.port, headers=[(f"x-{i}", "v" * 1000) for i in range(55)]).status, 200)
        client = self.client(proxy.port)
        self.assertEqual(client.request(headers=[(f"x-{i}", "v" * 1000) for i in range(70)]).status, 431)
        self.assertTrue(client.is_closed())

    def test_header_bytes_follow_the_configuration(self):
        proxy = self.http_to(self.upstream(upstream.answer()), extra="max_request_headers_kb: 2")
        self.assertEqual(get(proxy.port, headers=[("x", "v" * 1500)]).status, 200)
        self.assertEqual(get(proxy.port, headers=[("x", "v" * 3000)]).status, 431)

    def test_a_long_target_counts_too(self):
        proxy = self.http_to(self.upstream(upstream.answer()), extra="max_request_headers_kb: 2")
        self.assertEqual(get(proxy.port, "/" + "p" * 1500).status, 200)
        self.assertIn(get(proxy.port, "/" + "p" * 3000).status, (414, 431))

    def test_header_count_is_limited_to_100(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        self.assertEqual(get(proxy.port, headers=[("x", "v")] * 90).status, 200)
        self.assertEqual(get(proxy.port, headers=[("x", "v")] * 110).status, 431)

    def test_header_count_follows_the_configuration(self):
        proxy = self.http_to(self.upstream(upstream.answer()),
                             extra="common_http_protocol_options: { max_headers_count: 10 }")
        self.assertEqual(get(proxy.port, headers=[("x", "v")] * 8).status, 200)
        self.assertEqual(get(proxy.port, headers=[("x", "v")] * 12).status, 431)

    def test_a_head_that_never_ends_is_cut_off(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        try:
            for _ in range(1000):
                client.send(b"x-more: " + b"v" * 1000 + b"\r\n")
        except ConnectionError:
            pass  # cut off while sending: what was to be shown
        try:
            self.assertEqual(client.response().status, 431)
        except Closed:
            pass  # our unread bytes made the close a reset, which may overtake the response

    def test_requests_per_connection_are_limited(self):
        proxy = self.http_to(self.upstream(upstream.answer()),
                             extra="common_http_protocol_options: { max_requests_per_connection: 3 }")
        client = self.client(proxy.port)
        self.assertEqual([client.request()["connection"] for _ in range(3)], [None, None, "close"])
        self.assertTrue(client.is_closed())
        proxy.wait_stat("http.front.downstream_cx_max_requests_reached", 1)

    def test_requests_per_upstream_connection_are_limited(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server, cluster_extra=f"""
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": {configs.TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
                common_http_protocol_options: {{ max_requests_per_connection: 2 }}
                explicit_http_config: {{ http_protocol_options: {{}} }}
            """)
        client = self.client(proxy.port)
        for _ in range(6):
            self.assertEqual(client.request().status, 200)
        self.assertEqual(server.connections, 3)

    def test_downstream_connections_are_limited_by_an_accept_and_close(self):
        proxy = self.http_to(self.upstream(upstream.answer()), flags=["--config-yaml", """
layered_runtime:
  layers:
  - name: limits
    static_layer: { envoy.resource_limits.listener.front.connection_limit: 2 }
"""])
        held = [self.client(proxy.port) for _ in range(2)]
        for client in held:
            self.assertEqual(client.request().status, 200)
        self.assertTrue(self.client(proxy.port).is_closed())
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.downstream_cx_overflow", 1)


class TimeoutTest(ProxyCase):
    def test_request_headers_timeout(self):
        proxy = self.http_to(self.upstream(upstream.answer()), extra="request_headers_timeout: 0.3s")
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        response = client.response()
        self.assertEqual((response.status, response.body), (408, b"request header timeout"))
        self.assertTrue(client.is_closed())
        proxy.wait_stat("http.front.downstream_rq_header_timeout", 1)

    def test_request_timeout(self):
        proxy = self.http_to(self.upstream(upstream.echo_http), extra="request_timeout: 0.3s")
        client = self.client(proxy.port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        response = client.response()
        self.assertEqual((response.status, response.body), (408, b"request timeout"))
        proxy.wait_stat("http.front.downstream_rq_timeout", 1)

    def test_request_timeout_does_not_hit_a_slow_response(self):
        def script(peer):
            peer.read_request()
            time.sleep(0.6)
            peer.respond(body=b"slow")
            peer.reader.rest()
        proxy = self.http_to(self.upstream(script), extra="request_timeout: 0.3s")
        self.assertEqual(get(proxy.port).body, b"slow")

    def test_stream_idle_timeout_before_the_response(self):
        proxy = self.http_to(self.upstream(upstream.never_answer), extra="stream_idle_timeout: 0.3s")
        response = get(proxy.port)
        # Envoy's choice: 504 once the request is complete, 408 while it is not.
        self.assertIn((response.status, response.body), [(504, b"stream timeout"), (408, b"stream timeout")])
        proxy.wait_stat("http.front.downstream_rq_idle_timeout", 1)

    def test_stream_idle_timeout_is_moved_on_by_bytes(self):
        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            peer.drip(b"0123456789", 0.1)
            peer.reader.rest()
        proxy = self.http_to(self.upstream(script), extra="stream_idle_timeout: 0.5s")
        self.assertEqual(get(proxy.port).body, b"0123456789")

    def test_idle_timeout_closes_a_connection_without_requests(self):
        proxy = self.http_to(self.upstream(upstream.answer()),
                             extra="common_http_protocol_options: { idle_timeout: 0.3s }")
        client = self.client(proxy.port)
        self.assertEqual(client.request().status, 200)
        self.assertTrue(client.is_closed())
        proxy.wait_stat("http.front.downstream_cx_idle_timeout", 1)

    def test_upstream_idle_timeout_closes_a_pooled_connection(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server, cluster_extra=f"""
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": {configs.TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
                common_http_protocol_options: {{ idle_timeout: 0.3s }}
                explicit_http_config: {{ http_protocol_options: {{}} }}
            """)
        self.assertEqual(get(proxy.port).status, 200)
        self.wait_until(lambda: server.open_connections == 0, "the pooled connection closes")
        proxy.wait_stat("cluster.up.upstream_cx_idle_timeout", 1)

    def test_max_connection_duration_ends_a_connection(self):
        proxy = self.http_to(self.upstream(upstream.answer()), extra="""
            drain_timeout: 0.1s
            common_http_protocol_options: { max_connection_duration: 0.3s }
            """)
        client = self.client(proxy.port)
        self.assertEqual(client.request().status, 200)
        self.assertTrue(client.is_closed())
        proxy.wait_stat("http.front.downstream_cx_max_duration_reached", 1)

    def test_a_refusal_reaches_a_client_that_is_still_sending(self):
        # Without the delayed close, the unread bytes would turn the close into a reset that destroys the response.
        proxy = self.http(configs.direct(403, "no"))
        client = self.client(proxy.port)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n"
        client.send(head + b"x" * 100000)
        response = client.response()
        self.assertEqual((response.status, response.body), (403, b"no"))
