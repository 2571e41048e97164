"""What the proxy answers by itself when something fails: Envoy's codes, texts, flags and counters; circuit breakers."""
import threading

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import Client, get
from support.ports import free_port

LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"
RESET_TEXT = b"upstream connect error or disconnect/reset before headers"


class FlagsTest(ProxyCase):
    def logged(self, *routes, clusters=(), **options):
        return self.http(*routes, clusters=clusters, access_log=[configs.file_log("a.log", LOG)],
                         flags=["--file-flush-interval-msec", "50"], **options)

    def check(self, proxy, status, body, flags, target="/", **options):
        response = get(proxy.port, target, **options)
        self.assertEqual(response.status, status)
        if body is not None:
            self.assertTrue(response.body.startswith(body), response.body)
        self.wait_until(lambda: proxy.process.read("a.log"), "a log line")
        self.assertEqual(proxy.process.read("a.log").split()[:2], [str(status), flags])
        return response

    def test_no_route(self):
        proxy = self.logged(configs.direct(match='path: "/only"'))
        self.assertEqual(self.check(proxy, 404, None, "NR").body, b"")
        proxy.wait_stat("http.front.no_route", 1)

    def test_no_virtual_host(self):
        proxy = self.logged(virtual_hosts=['name: a\ndomains: ["a.example"]\nroutes:\n' +
                                           '- match: { prefix: "/" }\n  direct_response: { status: 200 }'])
        self.check(proxy, 404, None, "NR")

    def test_no_healthy_host(self):
        proxy = self.logged(configs.route("up"), clusters=[configs.cluster("up")])
        self.check(proxy, 503, b"no healthy upstream", "UH")
        proxy.wait_stat("cluster.up.upstream_cx_none_healthy", 1)

    def test_no_such_cluster(self):
        proxy = self.logged('match: { prefix: "/" }\nroute: { cluster_header: x-to }')
        self.check(proxy, 503, None, "NC", headers=[("x-to", "nowhere")])

    def test_connection_refused(self):
        proxy = self.logged(configs.route("up"), clusters=[configs.cluster("up", free_port())])
        self.check(proxy, 503, RESET_TEXT, "UF")
        proxy.wait_stat("cluster.up.upstream_cx_connect_fail", 1)
        proxy.wait_stat("cluster.up.upstream_rq_503", 1)

    def test_upstream_resets_before_headers(self):
        server = self.upstream(upstream.reset_after_request)
        proxy = self.logged(configs.route("up"), clusters=[configs.cluster("up", server.port)])
        response = self.check(proxy, 503, RESET_TEXT, "UC")
        self.assertIn(b"connection termination", response.body)

    def test_upstream_timeout(self):
        server = self.upstream(upstream.never_answer)
        proxy = self.logged(configs.route("up", action="timeout: 0.2s"), clusters=[configs.cluster("up", server.port)])
        self.check(proxy, 504, b"upstream request timeout", "UT")
        proxy.wait_stat("cluster.up.upstream_rq_timeout", 1)

    def test_retries_used_up(self):
        server = self.upstream(upstream.answer(b"no", "503 No"))
        proxy = self.logged(configs.route("up", action="retry_policy: { retry_on: 5xx, num_retries: 1 }"),
                            clusters=[configs.cluster("up", server.port)])
        self.check(proxy, 503, b"no", "URX")

    def test_client_leaves(self):
        server = self.upstream(upstream.never_answer)
        proxy = self.logged(configs.route("up"), clusters=[configs.cluster("up", server.port)])
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.wait_until(lambda: server.requests, "the request arrives")
        client.close()
        self.wait_until(lambda: proxy.process.read("a.log"), "a log line")
        self.assertEqual(proxy.process.read("a.log").split()[:2], ["0", "DC"])

    def test_protocol_error(self):
        proxy = self.logged(configs.direct())
        with Client(proxy.port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n")
            response = client.response()
        self.assertEqual((response.status, response.body, response["connection"]), (400, b"Bad Request", "close"))
        self.wait_until(lambda: proxy.process.read("a.log"), "a log line")
        self.assertEqual(proxy.process.read("a.log").split()[:2], ["400", "DPE"])

    def test_success_has_no_flag(self):
        self.check(self.logged(configs.direct()), 200, b"direct", "-")


class BreakerTest(ProxyCase):
    def limited(self, thresholds, server, action=""):
        return self.http(configs.route("up", action=action), clusters=[configs.cluster("up", server.port, extra=(
            f"circuit_breakers: {{ thresholds: [{thresholds}] }}"))])

    def hold(self, proxy, server, count):
        """That many requests that stay open at the upstream."""
        clients = [self.client(proxy.port) for _ in range(count)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.wait_until(lambda: len(server.requests) == count, f"{count} requests arrive")
        return clients

    def gate(self):
        """(script that answers once the event is set, event)"""
        event = threading.Event()
        self.addCleanup(event.set)

        def script(peer):
            while True:
                peer.read_request()
                event.wait(20)
                peer.respond()
        return script, event

    def test_max_requests(self):
        script, opened = self.gate()
        server = self.upstream(script)
        proxy = self.limited("{ max_requests: 2 }", server)
        held = self.hold(proxy, server, 2)
        response = get(proxy.port)
        self.assertEqual((response.status, response["x-envoy-overloaded"]), (503, "true"))
        self.assertIn(b"overflow", response.body)
        proxy.wait_stat("cluster.up.upstream_rq_active_overflow", 1)
        self.assertEqual(proxy.stat("cluster.up.circuit_breakers.default.rq_open"), 1)
        opened.set()
        self.assertEqual([client.response().status for client in held], [200, 200])
        self.assertEqual(get(proxy.port).status, 200)
        proxy.wait_stat("cluster.up.circuit_breakers.default.rq_open", 0)

    def test_max_connections_queues_and_max_pending_refuses(self):
        script, opened = self.gate()
        server = self.upstream(script)
        proxy = self.limited("{ max_connections: 1, max_pending_requests: 1 }", server)
        held = self.hold(proxy, server, 1)
        queued = self.client(proxy.port)
        queued.send(b"GET /queued HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.wait_stat("cluster.up.upstream_rq_pending_active", 1)
        self.assertEqual(get(proxy.port).status, 503)
        proxy.wait_stat("cluster.up.upstream_rq_pending_overflow", 1)
        opened.set()
        self.assertEqual(held[0].response().status, 200)
        self.assertEqual(queued.response().status, 200)
        self.assertEqual(server.connections, 1)

    def test_a_queued_request_whose_client_leaves_is_forgotten(self):
        script, opened = self.gate()
        server = self.upstream(script)
        proxy = self.limited("{ max_connections: 1 }", server)
        held = self.hold(proxy, server, 1)
        queued = self.client(proxy.port)
        queued.send(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.wait_stat("cluster.up.upstream_rq_pending_active", 1)
        queued.close()
        proxy.wait_stat("cluster.up.upstream_rq_pending_active", 0)
        opened.set()
        self.assertEqual(held[0].response().status, 200)
        self.assertEqual(get(proxy.port, "/next").status, 200)
        self.assertEqual([request.target for request in server.requests], ["/", "/next"])

    def test_max_retries(self):
        server = self.upstream(upstream.answer(b"", "503 No"))
        proxy = self.limited("{ max_retries: 0 }", server, "retry_policy: { retry_on: 5xx, num_retries: 3 }")
        self.assertEqual(get(proxy.port).status, 503)
        self.assertEqual(len(server.requests), 1)
        proxy.wait_stat("cluster.up.upstream_rq_retry_overflow", 1)

    def test_priorities_have_their_own_limits(self):
        script, opened = self.gate()
        server = self.upstream(script)
        proxy = self.http(
            configs.route("up", 'prefix: "/high"', "priority: HIGH"), configs.route("up"),
            clusters=[configs.cluster("up", server.port, extra=(
                "circuit_breakers: { thresholds: [{ priority: DEFAULT, max_requests: 1 }, "
                "{ priority: HIGH, max_requests: 1 }] }"))])
        held = self.hold(proxy, server, 1)
        self.assertEqual(get(proxy.port).status, 503)
        high = self.client(proxy.port)
        high.send(b"GET /high HTTP/1.1\r\nHost: a\r\n\r\n")
        self.wait_until(lambda: len(server.requests) == 2, "the high priority request arrives")
        self.assertEqual(get(proxy.port, "/high").status, 503)
        opened.set()
        self.assertEqual((held[0].response().status, high.response().status), (200, 200))
