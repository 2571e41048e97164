"""HTTP/1.1 through the proxy: connections, bodies, trailers, interim responses, upgrades."""
import threading

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import get


class ConnectionTest(ProxyCase):
    def test_forwards_a_request_and_its_response(self):
        server = self.upstream(upstream.answer(b"hello", headers=[("x-from", "upstream")]))
        proxy = self.http_to(server)
        response = get(proxy.port, "/path?query=1", [("X-Mine", "kept")])
        self.assertEqual((response.status, response.body, response["x-from"]), (200, b"hello", "upstream"))
        request = server.requests[0]
        self.assertEqual((request.method, request.target), ("GET", "/path?query=1"))
        self.assertEqual((request["host"], request["x-mine"]), ("example.com", "kept"))

    def test_keeps_both_connections_alive(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server)
        client = self.client(proxy.port)
        for _ in range(20):
            self.assertEqual(client.request().status, 200)
        self.assertEqual(server.connections, 1)
        proxy.wait_stat("http.front.downstream_cx_total", 1)
        proxy.wait_stat("http.front.downstream_rq_total", 20)

    def test_closes_when_the_client_asks_for_it(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        client = self.client(proxy.port)
        response = client.request(headers=[("Connection", "close")])
        self.assertEqual((response.status, response["connection"]), (200, "close"))
        self.assertTrue(client.is_closed())

    def test_a_close_by_the_client_does_not_close_the_upstream(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server)
        for _ in range(5):
            get(proxy.port, headers=[("Connection", "close")])
        self.assertEqual(server.connections, 1)
        self.assertTrue(all(request["connection"] is None for request in server.requests))

    def test_does_not_reuse_an_upstream_connection_that_says_close(self):
        server = self.upstream(upstream.fixed(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", close=True))
        proxy = self.http_to(server)
        client = self.client(proxy.port)
        for _ in range(3):
            response = client.request()
            self.assertEqual((response.status, response.body, response["connection"]), (200, b"ok", None))
        self.assertEqual(server.connections, 3)

    def test_answers_pipelined_requests_in_order(self):
        def script(peer):
            while True:
                request = peer.read_request()
                peer.respond(body=request.target.encode())
        proxy = self.http_to(self.upstream(script))
        client = self.client(proxy.port)
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(50)))
        self.assertEqual([client.response().body for _ in range(50)], [b"/%d" % i for i in range(50)])

    def test_reads_a_request_that_arrives_byte_by_byte(self):
        server = self.upstream(upstream.echo_http)
        proxy = self.http_to(server)
        client = self.client(proxy.port)
        for byte in b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello":
            client.send(bytes([byte]))
        self.assertEqual(client.response().body, b"hello")

    def test_reads_a_response_that_arrives_byte_by_byte(self):
        def script(peer):
            peer.read_request()
            peer.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 0.001)
            peer.reader.rest()
        self.assertEqual(get(self.http_to(self.upstream(script)).port).body, b"hello")

    def test_accepts_empty_lines_before_a_request(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        client = self.client(proxy.port)
        client.send(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(client.response().status, 200)

    def test_an_absolute_target_gives_the_host(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server)
        client = self.client(proxy.port)
        client.send(b"GET http://other.example/p?q HTTP/1.1\r\nHost: ignored.example\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        self.assertEqual((server.requests[0].target, server.requests[0]["host"]), ("/p?q", "other.example"))

    def test_options_with_an_asterisk_is_not_mistaken_for_a_path(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        client = self.client(proxy.port)
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(client.response().status, (200, 404))

    def test_refuses_http_1_0_by_default(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        self.assertEqual(client.response().status, 426)
        self.assertTrue(client.is_closed())

    def test_a_client_that_leaves_resets_its_upstream_request(self):
        server = self.upstream(upstream.never_answer)
        proxy = self.http_to(server)
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.wait_until(lambda: server.requests, "the request arrives")
        client.reset()
        self.wait_until(lambda: server.open_connections == 0, "the upstream's connection ends")
        proxy.wait_stat("cluster.up.upstream_rq_active", 0)
        proxy.wait_stat("http.front.downstream_rq_active", 0)


class BodyTest(ProxyCase):
    def test_forwards_bodies_of_all_sizes(self):
        proxy = self.http_to(self.upstream(upstream.echo_http))
        client = self.client(proxy.port)
        for size in (0, 1, 100, 16383, 16384, 65536, 1000000):
            with self.subTest(size=size):
                body = b"0123456789abcdef" * (size // 16 + 1)
                self.assertEqual(client.request("POST", body=body[:size]).body, body[:size])

    def test_forwards_a_chunked_request(self):
        server = self.upstream(upstream.echo_http)
        client = self.client(self.http_to(server).port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\n\r\n")
        self.assertEqual(client.response().body, b"abc0123456789")
        self.assertTrue(server.requests[0].chunked)
        self.assertIsNone(server.requests[0]["content-length"])

    def test_a_chunked_response_stays_chunked(self):
        server = self.upstream(upstream.fixed(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n"))
        client = self.client(self.http_to(server).port)
        for _ in range(3):
            response = client.request()
            self.assertTrue(response.chunked)
            self.assertEqual(response.body, b"Wikipedia")
        self.assertEqual(server.connections, 1)

    def test_a_response_until_close_becomes_chunked(self):
        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        client = self.client(self.http_to(self.upstream(script)).port)
        for _ in range(2):
            response = client.request()
            self.assertTrue(response.chunked)
            self.assertEqual(response.body, b"until the end")

    def test_a_response_cut_short_is_not_passed_off_as_whole(self):
        server = self.upstream(upstream.fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst", close=True))
        proxy = self.http_to(server)
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        response = client.head()
        self.assertEqual(response["content-length"], "100")
        self.assertEqual(client.reader.rest(), b"first")

    def test_a_chunked_response_cut_short_is_not_passed_off_as_whole(self):
        server = self.upstream(upstream.fixed(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", close=True))
        client = self.client(self.http_to(server).port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        self.assertNotIn(b"0\r\n\r\n", client.reader.rest())

    def test_forwards_trailers_both_ways_when_enabled(self):
        def script(peer):
            while True:
                peer.read_request()
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
                          b"2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n")
        server = self.upstream(script)
        proxy = self.http_to(server, extra="http_protocol_options: { enable_trailers: true }", cluster_extra=f"""
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": {configs.TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {{ http_protocol_options: {{ enable_trailers: true }} }}
            """)
        client = self.client(proxy.port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"2\r\nhi\r\n0\r\nX-Check: yes\r\n\r\n")
        response = client.response()
        self.assertEqual((response.body, response.trailers), (b"ok", [("x-sum", "42")]))
        self.assertEqual(server.requests[0].trailers, [("x-check", "yes")])

    def test_drops_trailers_by_default(self):
        server = self.upstream(upstream.echo_http)
        client = self.client(self.http_to(server).port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"2\r\nhi\r\n0\r\nX-Check: yes\r\n\r\n")
        self.assertEqual(client.response().body, b"hi")
        self.assertEqual(server.requests[0].trailers, [])

    def test_head_has_the_length_but_no_body(self):
        server = self.upstream(upstream.fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"))
        client = self.client(self.http_to(server).port)
        for _ in range(2):
            response = client.request("HEAD")
            self.assertEqual((response.status, response["content-length"]), (200, "1234"))

    def test_204_and_304_have_no_body(self):
        for status in (b"204 No Content", b"304 Not Modified"):
            with self.subTest(status):
                server = self.upstream(upstream.fixed(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n"))
                client = self.client(self.http_to(server).port)
                for _ in range(2):
                    response = client.request()
                    self.assertEqual(response.status, int(status[:3]))
                    self.assertIsNone(response["transfer-encoding"])

    def test_a_response_before_the_end_of_the_request_arrives(self):
        def script(peer):
            peer.read_head()
            peer.respond("413 Payload Too Large", b"too much")
            peer.reader.rest()
        client = self.client(self.http_to(self.upstream(script)).port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nonly the start")
        response = client.response()
        self.assertEqual((response.status, response.body), (413, b"too much"))


class InterimTest(ProxyCase):
    def test_answers_expect_100_continue_itself(self):
        server = self.upstream(upstream.echo_http)
        client = self.client(self.http_to(server).port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        self.assertEqual(client.response().status, 100)
        client.send(b"body")
        response = client.response()
        self.assertEqual((response.status, response.body), (200, b"body"))
        self.assertIsNone(server.requests[0]["expect"])

    def test_a_100_by_the_upstream_is_not_taken_for_the_response(self):
        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.respond(body=b"final")
            peer.reader.rest()
        client = self.client(self.http_to(self.upstream(script)).port)
        response = client.request()
        while response.status < 200:
            response = client.response()
        self.assertEqual((response.status, response.body), (200, b"final"))


class UpgradeTest(ProxyCase):
    HANDSHAKE = (b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")

    @staticmethod
    def accept_and_echo(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        upstream.echo_tcp(peer)

    def test_an_enabled_upgrade_carries_bytes_both_ways(self):
        server = self.upstream(self.accept_and_echo)
        proxy = self.http_to(server, extra="upgrade_configs: [{ upgrade_type: websocket }]")
        client = self.client(proxy.port)
        client.send(self.HANDSHAKE)
        response = client.head()
        self.assertEqual((response.status, response["upgrade"].lower()), (101, "websocket"))
        self.assertEqual(response["connection"].lower(), "upgrade")
        for _ in range(3):
            client.send(b"\x81\x05hello")
            self.assertEqual(client.reader.exactly(7), b"\x81\x05hello")
        self.assertEqual(server.requests[0]["upgrade"].lower(), "websocket")
        self.assertEqual(server.requests[0]["connection"].lower(), "upgrade")
        client.close()
        self.wait_until(lambda: server.open_connections == 0, "the upstream's connection ends")

    def test_an_upgrade_that_is_not_enabled_is_refused(self):
        proxy = self.http_to(self.upstream(self.accept_and_echo))
        client = self.client(proxy.port)
        client.send(self.HANDSHAKE)
        self.assertEqual(client.response().status, 403)

    def test_an_upgrade_refused_by_the_upstream_is_an_ordinary_response(self):
        proxy = self.http_to(self.upstream(upstream.answer(b"no", "400 Bad Request")),
                             extra="upgrade_configs: [{ upgrade_type: websocket }]")
        client = self.client(proxy.port)
        client.send(self.HANDSHAKE)
        response = client.response()
        self.assertEqual((response.status, response.body), (400, b"no"))


class BalanceTest(ProxyCase):
    def names(self, proxy, count):
        client = self.client(proxy.port)
        return [client.request()["x-upstream"] for _ in range(count)]

    def test_round_robin_takes_turns(self):
        servers = [self.upstream(upstream.name_itself(name)) for name in "abc"]
        seen = self.names(self.http_to(*servers), 9)
        self.assertEqual(sorted(seen), sorted("abc" * 3))
        self.assertEqual(seen[:3], seen[3:6])

    def test_round_robin_honours_weights(self):
        one, two = (self.upstream(upstream.name_itself(name)) for name in "ab")
        proxy = self.http(configs.route("up"), clusters=[configs.cluster("up", (one.port, 1), (two.port, 3))])
        seen = self.names(proxy, 40)
        # The turns start at a random place, so one request may fall to the other side of the count.
        self.assertLessEqual(abs(seen.count("a") - 10), 1)
        self.assertEqual(seen.count("a") + seen.count("b"), 40)

    def test_least_request_and_random_use_every_host(self):
        for policy in ("LEAST_REQUEST", "RANDOM"):
            with self.subTest(policy):
                servers = [self.upstream(upstream.name_itself(name)) for name in "ab"]
                seen = self.names(self.http_to(*servers, cluster_extra=f"lb_policy: {policy}"), 60)
                self.assertEqual(set(seen), {"a", "b"})

    def test_several_workers_serve_many_clients(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server, options={"concurrency": 2})
        wrong = []

        def load():
            for _ in range(20):
                response = get(proxy.port)
                if response.status != 200:
                    wrong.append(response)
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        proxy.wait_stat("http.front.downstream_rq_2xx", 160)
