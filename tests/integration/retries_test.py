"""Retries, and the connection that the upstream closed just when it was reused."""
import time

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import get
from support.ports import free_port


def statuses(*codes):
    """Answers request after request, over all connections, with these codes; then 200."""
    left = list(codes)

    def script(peer):
        while True:
            peer.read_request()
            code = left.pop(0) if left else 200
            peer.respond(f"{code} Some Reason", b"body of %d" % code)
    return script


def policy(on, retries=1, extra=""):
    return f"""
retry_policy:
  retry_on: {on}
  num_retries: {retries}
  retry_back_off: {{ base_interval: 0.001s, max_interval: 0.002s }}
""" + "\n".join("  " + line for line in extra.split("\n") if line)


class RetryTest(ProxyCase):
    def test_retries_on_status(self):
        for on, code in (("5xx", 500), ("5xx", 503), ("gateway-error", 502), ("gateway-error", 504),
                         ("retriable-4xx", 409), ("retriable-status-codes", 418)):
            with self.subTest(on, code=code):
                server = self.upstream(statuses(code))
                proxy = self.http_to(server, action=policy(on, extra="retriable_status_codes: [418]"))
                self.assertEqual(get(proxy.port).status, 200)
                self.assertEqual(len(server.requests), 2)
                self.assertEqual(proxy.stat("cluster.up.upstream_rq_retry"), 1)
                self.assertEqual(proxy.stat("cluster.up.upstream_rq_retry_success"), 1)

    def test_does_not_retry_what_was_not_asked_for(self):
        for on, code in (("gateway-error", 500), ("5xx", 404), ("retriable-4xx", 404), ("connect-failure", 503),
                         ("reset", 500)):
            with self.subTest(on, code=code):
                server = self.upstream(statuses(code))
                proxy = self.http_to(server, action=policy(on))
                self.assertEqual(get(proxy.port).status, code)
                self.assertEqual(len(server.requests), 1)

    def test_gives_the_last_response_when_retries_are_used_up(self):
        server = self.upstream(statuses(500, 501, 502, 503))
        proxy = self.http_to(server, action=policy("5xx", 2))
        response = get(proxy.port)
        self.assertEqual((response.status, response.body), (502, b"body of 502"))
        self.assertEqual(len(server.requests), 3)
        self.assertEqual(proxy.stat("cluster.up.upstream_rq_retry_limit_exceeded"), 1)

    def test_sends_the_body_again(self):
        server = self.upstream(statuses(503))
        proxy = self.http_to(server, action=policy("5xx"))
        body = b"0123456789" * 5000
        self.assertEqual(self.client(proxy.port).request("POST", body=body).status, 200)
        self.assertEqual([request.body for request in server.requests], [body, body])

    def test_retries_a_refused_connection_on_another_host(self):
        server = self.upstream(upstream.answer())
        proxy = self.http(configs.route("up", action=policy("connect-failure", 3)),
                          clusters=[configs.cluster("up", free_port(), server.port)])
        for _ in range(4):
            self.assertEqual(get(proxy.port).status, 200)
        self.assertGreaterEqual(proxy.stat("cluster.up.upstream_cx_connect_fail"), 1)

    def test_retries_a_reset(self):
        for on in ("reset", "5xx"):
            with self.subTest(on):
                server = self.upstream(upstream.in_turn(upstream.reset_after_request, upstream.answer()))
                proxy = self.http_to(server, action=policy(on))
                self.assertEqual(get(proxy.port).status, 200)
                self.assertEqual(server.connections, 2)

    def test_previous_hosts_are_avoided(self):
        bad, good = self.upstream(upstream.answer(b"bad", "503 No")), self.upstream(upstream.answer(b"good"))
        proxy = self.http_to(bad, good, action=policy("5xx,gateway-error", 3, """
retry_host_predicate:
- name: envoy.retry_host_predicates.previous_hosts
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
host_selection_retry_max_attempts: 5"""))
        for _ in range(10):
            self.assertEqual(get(proxy.port).body, b"good")

    def test_per_try_timeout_leads_to_another_try(self):
        server = self.upstream(upstream.in_turn(upstream.never_answer, upstream.answer()))
        proxy = self.http_to(server, action=policy("5xx", 1, "per_try_timeout: 0.2s"))
        self.assertEqual(get(proxy.port).status, 200)
        self.assertEqual(proxy.stat("cluster.up.upstream_rq_per_try_timeout"), 1)

    def test_the_route_timeout_bounds_all_tries(self):
        server = self.upstream(upstream.never_answer)
        proxy = self.http_to(server, action="timeout: 0.5s\n" + policy("5xx", 100, "per_try_timeout: 0.2s"))
        start = time.monotonic()
        self.assertEqual(get(proxy.port).status, 504)
        self.assertLess(time.monotonic() - start, 5)

    ASK = [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "1")]

    def test_an_internal_client_may_ask_for_retries_by_header(self):
        server = self.upstream(statuses(503))
        proxy = self.http_to(server, extra="""
            internal_address_config: { cidr_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }
            """)
        self.assertEqual(get(proxy.port, headers=[*self.ASK, ("X-Forwarded-For", "10.1.2.3")]).status, 200)

    def test_an_external_client_may_not(self):
        server = self.upstream(statuses(503))
        proxy = self.http_to(server, extra="use_remote_address: true")
        self.assertEqual(get(proxy.port, headers=[*self.ASK, ("X-Forwarded-For", "198.51.100.7")]).status, 503)
        self.assertIsNone(server.requests[0]["x-envoy-retry-on"])

    def test_no_retry_once_the_response_has_begun(self):
        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            peer.reset()
        server = self.upstream(script)
        proxy = self.http_to(server, action=policy("5xx,reset", 3))
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(client.head().status, 200)
        client.reader.rest()
        self.assertEqual(len(server.requests), 1)


class StaleConnectionTest(ProxyCase):
    """An upstream may close an idle connection while a request is on its way to it. Nothing was received, so a request
    that is safe to send again goes to a fresh connection: no 503 for the client, without any retry policy.
    """

    @staticmethod
    def one_request_then_close_at_the_next(peer):
        peer.read_request()
        peer.respond(body=b"first")
        peer.reader.fill()  # the next request's first bytes are here: close without an answer
        peer.reset()

    def test_a_reused_connection_that_closes_is_not_the_clients_problem(self):
        server = self.upstream(upstream.in_turn(self.one_request_then_close_at_the_next, upstream.answer(b"second")))
        proxy = self.http_to(server)
        client = self.client(proxy.port)
        self.assertEqual(client.request().body, b"first")
        response = client.request()
        self.assertEqual((response.status, response.body), (200, b"second"))

    def test_a_connection_closed_while_idle_is_not_used(self):
        def script(peer):
            peer.read_request()
            peer.respond(body=b"%d" % peer.number)
        server = self.upstream(script)
        client = self.client(self.http_to(server).port)
        for _ in range(20):
            self.assertEqual(client.request().status, 200)

    def test_a_post_is_not_sent_twice(self):
        server = self.upstream(upstream.in_turn(self.one_request_then_close_at_the_next, upstream.answer(b"second")))
        proxy = self.http_to(server)
        client = self.client(proxy.port)
        self.assertEqual(client.request().body, b"first")
        self.assertEqual(client.request("POST", body=b"pay 100").status, 503)
        self.assertEqual(server.connections, 1)

    def test_a_fresh_connection_that_closes_is_a_503(self):
        proxy = self.http_to(self.upstream(upstream.reset_after_request))
        self.assertEqual(get(proxy.port).status, 503)
