"""HTTP connections of local apps whose messages the kernel hands over: the same bytes and ends with it and without."""
import hashlib
import json
import queue
import random
import signal
import threading

from support import configs, upstream
from support.hops import FAMILIES, HopsCase
from support.http1 import Client
from support.process import wait_until

WEBSOCKET = (("Connection", "Upgrade"), ("Upgrade", "websocket"))


class HopsTest(HopsCase):
    def test_requests_and_responses_of_any_size_are_the_same(self):
        server = {host: self.upstream(upstream.echo_http, host=host) for host, _ in FAMILIES}
        for on, host in self.each_way():
            proxy = self.begin(server[host].port, on, host, concurrency=2)
            chance = random.Random(11)
            with self.client(proxy.port, host=host) as client:
                for _ in range(150):
                    body = chance.randbytes(int(2 ** chance.uniform(0, 18)))
                    self.assertEqual(client.request("POST", "/echo", body=body).body, body)
                if on:
                    self.assertGreater(self.redirected(proxy), 500)
                    self.assertEqual(proxy.stat("fastpath.splice.hop_offered"), 2)
                    page = json.loads(proxy.admin("/fastpath?format=json")[1])["short_circuit"]
                    self.assertEqual(page["hops"], 2)
            proxy.wait_stat("http.front.downstream_cx_active", 0)
            if on:
                proxy.wait_stat("fastpath.splice.hops", 1)  # that to the server goes on

    def test_pipelined_requests_are_answered_in_order(self):
        server = self.upstream(upstream.echo_http)
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(server.port, on)
                client = self.client(proxy.port)
                self.warm(proxy, client, on)
                for turn in range(20):
                    bodies = [f"{turn} {i} ".encode() * (1 + i * 40) for i in range(10)]
                    client.send(b"".join(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(b), b)
                                         for b in bodies))
                    for body in bodies:
                        self.assertEqual(client.response().body, body)

    def test_chunked_bodies_are_the_same_both_ways(self):
        def script(peer):
            while True:
                request = peer.read_request()
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, len(request.body), 5000):
                    piece = request.body[at:at + 5000]
                    peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                peer.send(b"0\r\n\r\n")
        server = self.upstream(script)
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(server.port, on)
                client = self.client(proxy.port)
                self.warm(proxy, client, on)
                body = random.Random(12).randbytes(200_000)
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, len(body), 7777):
                    piece = body[at:at + 7777]
                    client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                client.send(b"0\r\n\r\n")
                response = client.response()
                self.assertTrue(response.chunked)
                self.assertEqual(response.body, body)
                self.assertTrue(server.requests[-1].chunked)

    def test_large_bodies_arrive_whole_both_ways(self):
        server = {host: self.upstream(upstream.echo_http, host=host) for host, _ in FAMILIES}
        body = random.Random(13).randbytes(16 << 20)
        for on, host in self.each_way():
            proxy = self.begin(server[host].port, on, host)
            client = self.client(proxy.port, host=host)
            self.warm(proxy, client, on)
            for _ in range(2):
                sender = threading.Thread(target=client.send, args=(
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body),))
                sender.start()
                got = client.response().body
                sender.join()
                self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(body).digest())
            self.assertEqual(client.request("POST", "/", body=b"small again").body, b"small again")

    def test_connections_that_moved_a_large_body_are_no_hops_until_more_small_requests_came(self):
        server = self.upstream(upstream.echo_http)
        proxy = self.begin(server.port)
        client = self.client(proxy.port)
        self.warm(proxy, client)
        client.request("POST", "/", body=bytes(5 << 20))
        # An app may be in a call at that moment; the next request asks again.
        for _ in range(50):
            self.assertEqual(client.request("POST", "/", body=b"small").body, b"small")
            if proxy.stat("fastpath.splice.member_left") == 4:
                break
        self.assertEqual(proxy.stat("fastpath.splice.member_left"), 4)
        self.assertEqual(proxy.stat("fastpath.splice.hop_offered"), 2)
        for _ in range(200):
            self.assertEqual(client.request("POST", "/", body=b"small").body, b"small")
        self.assertEqual(proxy.stat("fastpath.splice.hop_offered"), 4)
        self.assertEqual(proxy.stat("fastpath.splice.hops"), 2)

    def test_a_slow_reader_stops_the_sender_and_gets_everything(self):
        size = 48 << 20
        block = random.Random(14).randbytes(1 << 20)

        def script(peer):
            while True:
                request = peer.read_request()
                if request.target == "/echo":
                    peer.respond(body=request.body)
                    continue
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size >> 20):
                    peer.send(block)
        server = self.upstream(script)
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(server.port, on)
                client = self.client(proxy.port, timeout_s=30)
                self.warm(proxy, client, on)
                client.send(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
                self.wait_until(lambda: proxy.stat("cluster.up.upstream_flow_control_paused_reading_total") > 0,
                                "the daemon stops reading")
                self.assertLess(proxy.stat("cluster.up.upstream_cx_rx_bytes_total"), size)
                self.assertEqual(hashlib.sha256(client.response().body).digest(),
                                 hashlib.sha256(block * (size >> 20)).digest())

    def test_expect_100_continue_is_answered(self):
        server = self.upstream(upstream.echo_http)
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(server.port, on)
                client = self.client(proxy.port)
                self.warm(proxy, client, on)
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
                self.assertEqual(client.head().status, 100)
                client.send(b"hello")
                self.assertEqual(client.response().body, b"hello")

    def test_a_tunnel_leaves_the_short_circuit(self):
        def script(peer):
            while True:
                request = peer.read_request()
                if request["upgrade"]:
                    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                    return upstream.echo_tcp(peer)
                peer.respond(body=request.body)
        server = self.upstream(script)
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(server.port, on, hcm="upgrade_configs: [{ upgrade_type: websocket }]")
                client = self.client(proxy.port)
                self.warm(proxy, client, on)
                self.assertEqual(client.request(headers=WEBSOCKET).status, 101)
                if on:
                    proxy.wait_stat("fastpath.splice.hops", 0)
                for i in range(100):
                    message = b"%d" % i * 50
                    client.send(message)
                    self.assertEqual(client.reader.exactly(len(message)), message)
                client.half_close()
                self.assertEqual(client.reader.rest(), b"")

    def test_one_request_connections_are_not_offered(self):
        server = self.upstream(upstream.fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                                              close=True))
        proxy = self.begin(server.port)
        for _ in range(20):
            with self.client(proxy.port) as client:
                self.assertEqual(client.request().body, b"ok")
        self.assertGreater(proxy.stat("fastpath.splice.record_added"), 0)
        self.assertEqual(proxy.stat("fastpath.splice.hop_offered"), 0)
        self.assertEqual(proxy.stat("fastpath.splice.member_added"), 0)

    def test_an_app_that_blocks_is_left_alone(self):
        server = self.upstream(upstream.echo_http)
        proxy = self.begin(server.port)
        client = self.client(proxy.port)
        client.sock.settimeout(None)
        for _ in range(100):
            self.assertEqual(client.request("POST", "/", body=b"x").body, b"x")
        self.assertEqual(proxy.stat("fastpath.splice.hops"), 1)  # that to the server
        self.assertEqual(proxy.stat("fastpath.splice.hop_refused_unfit"), 6)
        self.assertGreater(proxy.stat("fastpath.splice.member_blocking"), 0)
        client.sock.settimeout(10)

    def test_a_listener_that_is_not_named_offers_nothing(self):
        server = self.upstream(upstream.echo_http)
        manager = configs.hcm(configs.route("up"))
        proxy = self.start([lambda port: configs.listener(port, manager),
                            lambda port: configs.listener(port, configs.hcm(configs.direct()), name="other")],
                           [configs.cluster("up", server.port)], extra=self.extension("other"))
        client = self.client(proxy.port)
        for _ in range(10):
            client.request("POST", "/", body=b"x")
        self.assertEqual(proxy.stat("fastpath.splice.hop_offered"), 0)
        self.assertEqual(proxy.stat("fastpath.splice.record_added"), 0)


class HopsEndTest(HopsCase):
    """How connections end."""

    LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT%"

    def logged(self, server, on, scenario, form=LOG):
        """What the access log says of the last request of a scenario."""
        proxy = self.begin(server.port, on, access_log=[configs.file_log("a.log", form)],
                           flags=["--file-flush-interval-msec", "50"])
        client = self.client(proxy.port)
        self.warm(proxy, client, on)
        scenario(proxy, client)
        self.wait_until(lambda: len(proxy.process.read("a.log").splitlines()) == 4, "the access log is whole")
        if on:
            proxy.wait_stat("fastpath.splice.hops", 0)
        return proxy.process.read("a.log").splitlines()[-1]

    @staticmethod
    def partly(end):
        """A server that breaks off in the middle of its response to /part."""
        def script(peer):
            while True:
                request = peer.read_request()
                if request.target == "/part":
                    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400)
                    return end(peer)
                peer.respond(body=request.body)
        return script

    def test_a_server_that_dies_in_a_response_is_noticed_alike(self):
        for name, end in (("close", lambda peer: None), ("reset", upstream.Peer.reset)):
            server = self.upstream(self.partly(end))

            def scenario(_, client):
                client.send(b"GET /part HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertEqual(client.head()["content-length"], "1000")
                self.assertEqual(client.reader.rest(), b"x" * 400)
            with self.subTest(name):
                self.assertEqual(self.logged(server, True, scenario), self.logged(server, False, scenario))

    def test_a_server_that_dies_before_a_response_is_noticed_alike(self):
        def script(peer):
            while True:
                request = peer.read_request()
                if request.target == "/dies":
                    return
                peer.respond(body=request.body)
        server = self.upstream(script)
        lines = []
        for on in (True, False):
            def scenario(_, client):
                response = client.request("POST", "/dies", body=b"once")
                lines.append((response.status, response.body))
                client.close()
            lines.append(self.logged(server, on, scenario))
        self.assertEqual(lines[:2], lines[2:])

    def test_a_client_that_goes_in_a_response_is_noticed_alike(self):
        gone = threading.Event()

        def script(peer):
            while True:
                request = peer.read_request()
                if request.target == "/echo":
                    peer.respond(body=request.body)
                    continue
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                try:
                    while True:
                        peer.send(b"x" * 65536)
                except OSError:
                    gone.set()
                    return
        server = self.upstream(script)
        for name, end in (("close", Client.close), ("reset", Client.reset)):
            lines = []
            for on in (True, False):
                gone.clear()

                def scenario(_, client):
                    client.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
                    client.head()
                    client.reader.exactly(100_000)
                    end(client)
                    self.assertTrue(gone.wait(10), "the server is told")
                with self.subTest(name, short_circuit=on):
                    lines.append(self.logged(server, on, scenario, "%RESPONSE_CODE% %RESPONSE_FLAGS%"))
            self.assertEqual(*lines)

    def test_the_daemon_resets_a_server_whose_bytes_it_leaves_unread(self):
        for on in (True, False):
            with self.subTest(short_circuit=on):
                stopped, sent, ends = threading.Event(), threading.Event(), queue.Queue()
                never = threading.Event()

                def script(peer):
                    while True:
                        request = peer.read_request()
                        if request.target == "/echo":
                            peer.respond(body=request.body)
                            continue
                        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                        while not stopped.wait(0.01):
                            peer.send(b"x" * 65536)
                        for _ in range(20):  # the daemon reads ahead once, what is there then
                            peer.send(b"x" * 5_000)
                            never.wait(0.02)
                        sent.set()
                        try:
                            ends.put("fin" if not peer.sock.recv(1) else "data")
                        except ConnectionResetError:
                            ends.put("reset")
                        return
                server = self.upstream(script)
                proxy = self.begin(server.port, on)
                self.warm(proxy, self.client(proxy.port), on)
                client = self.client(proxy.port, receive_buffer=4096)  # its first request: no hop
                client.send(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
                self.wait_until(lambda: proxy.stat("cluster.up.upstream_flow_control_paused_reading_total") > 0,
                                "the daemon reads no more", timeout_s=30)
                stopped.set()
                self.assertTrue(sent.wait(10))
                if on:
                    self.assertEqual(proxy.stat("fastpath.splice.demoted_slow"), 0)
                client.close()
                self.assertEqual(ends.get(timeout=10), "reset")

    def test_a_killed_daemon_ends_every_connection(self):
        server = self.upstream(upstream.echo_http)
        proxy = self.begin(server.port, expect_exit=-9)
        clients = [self.client(proxy.port) for _ in range(20)]
        for client in clients:
            for _ in range(3):
                client.request("POST", "/", body=b"x")
        self.assertGreater(proxy.stat("fastpath.splice.hops"), 20)
        for client in clients[:10]:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it")
        proxy.signal(signal.SIGKILL)
        wait_until(lambda: not proxy.process.running(), 5, "the daemon is dead")
        for client in clients:
            self.assertIn(client.end(), ("fin", "reset"))
        self.wait_until(lambda: server.open_connections == 0, "the server's connections end")

    def test_a_drain_says_close_and_loses_nothing(self):
        for on in (True, False):
            with self.subTest(short_circuit=on):
                arrived, answer = threading.Event(), threading.Event()

                def script(peer):
                    while True:
                        request = peer.read_request()
                        if request.target == "/wait":
                            arrived.set()
                            answer.wait(10)
                        peer.respond(body=request.body)
                server = self.upstream(script)
                proxy = self.begin(server.port, on, drain_s=20)
                client, other = self.client(proxy.port), self.client(proxy.port)
                for each in (client, other):
                    for _ in range(3):
                        each.request("POST", "/", body=b"x")
                client.send(b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlast")
                self.assertTrue(arrived.wait(10))
                proxy.signal(signal.SIGTERM)
                proxy.wait_stat("server.live", 0)
                answer.set()
                response = client.response()
                self.assertEqual((response.body, response["connection"]), (b"last", "close"))
                self.assertEqual(client.end(), "fin")
                self.assertEqual(other.end(), "fin")
                self.assertEqual(proxy.wait_exit(), 0)

    def test_nothing_is_left_of_connections_that_ended(self):
        server = self.upstream(upstream.echo_http)
        proxy = self.begin(server.port, cluster_extra="""
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    common_http_protocol_options: { idle_timeout: 0.2s }
    explicit_http_config: { http_protocol_options: {} }
""", concurrency=2)
        for turn in range(60):
            client = self.client(proxy.port)
            for _ in range(2 + turn % 3):
                client.request("POST", "/", body=b"x")
            (client.reset if turn % 2 else client.close)()
        self.assertGreater(self.redirected(proxy), 0)
        proxy.wait_stat("fastpath.splice.hops", 0)
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)
        page = json.loads(proxy.admin("/fastpath?format=json")[1])["short_circuit"]
        self.assertEqual((page["hops"], page["members"]), (0, []))
