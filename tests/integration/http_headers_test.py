"""What the HTTP connection manager and the router add, rewrite and remove."""
import re

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import Client, get

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")


class HeadersTest(ProxyCase):
    def forwarded(self, headers=(), target="/", **options):
        """The request as the upstream saw it, and the response."""
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server, **options)
        response = get(proxy.port, target, headers)
        return server.requests[0] if server.requests else None, response

    def test_adds_a_request_id(self):
        request, _ = self.forwarded()
        self.assertRegex(request["x-request-id"], UUID)

    def test_request_ids_differ(self):
        server = self.upstream(upstream.answer())
        client = self.client(self.http_to(server).port)
        for _ in range(50):
            client.request()
        self.assertEqual(len({request["x-request-id"] for request in server.requests}), 50)

    def test_an_internal_clients_request_id_is_kept(self):
        request, _ = self.forwarded([("X-Request-Id", "mine")])
        self.assertEqual(request["x-request-id"], "mine")

    def test_generate_request_id_may_be_off(self):
        request, _ = self.forwarded(extra="generate_request_id: false")
        self.assertIsNone(request["x-request-id"])

    def test_the_request_id_may_be_returned(self):
        request, response = self.forwarded(extra="always_set_request_id_in_response: true")
        self.assertEqual(response["x-request-id"], request["x-request-id"])

    def test_x_forwarded_headers_with_the_remote_address(self):
        request, _ = self.forwarded(extra="use_remote_address: true")
        self.assertEqual((request["x-forwarded-for"], request["x-forwarded-proto"]), ("127.0.0.1", "http"))

    def test_appends_to_x_forwarded_for(self):
        request, _ = self.forwarded([("X-Forwarded-For", "1.2.3.4")], extra="use_remote_address: true")
        self.assertEqual(request["x-forwarded-for"].replace(" ", ""), "1.2.3.4,127.0.0.1")

    def test_x_forwarded_proto_of_an_untrusted_client_is_overwritten(self):
        request, _ = self.forwarded([("X-Forwarded-Proto", "https")], extra="use_remote_address: true")
        self.assertEqual(request["x-forwarded-proto"], "http")

    def test_x_forwarded_for_is_left_alone_without_use_remote_address(self):
        request, _ = self.forwarded([("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https")])
        self.assertEqual((request["x-forwarded-for"], request["x-forwarded-proto"]), ("1.2.3.4", "https"))

    def test_skip_xff_append(self):
        request, _ = self.forwarded([("X-Forwarded-For", "1.2.3.4")],
                                    extra="use_remote_address: true\nskip_xff_append: true")
        self.assertEqual(request["x-forwarded-for"], "1.2.3.4")

    def test_trusted_hops_choose_the_clients_address(self):
        for hops, expected in ((0, "127.0.0.1"), (1, "3.3.3.3"), (2, "2.2.2.2")):
            with self.subTest(hops=hops):
                log = configs.file_log("x.log", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
                server = self.upstream(upstream.answer())
                proxy = self.http_to(server, access_log=[log], flags=["--file-flush-interval-msec", "50"],
                                     extra=f"use_remote_address: true\nxff_num_trusted_hops: {hops}")
                get(proxy.port, headers=[("X-Forwarded-For", "1.1.1.1, 2.2.2.2, 3.3.3.3")])
                self.wait_until(lambda: proxy.process.read("x.log"), "a log line")
                self.assertEqual(proxy.process.read("x.log"), expected + "\n")

    def test_server_header_is_overwritten_by_default(self):
        server = self.upstream(upstream.answer(headers=[("Server", "theirs")]))
        proxy = self.http_to(server, extra="server_name: ours")
        self.assertEqual(get(proxy.port)["server"], "ours")

    def test_server_header_transformations(self):
        for kind, theirs, expected in (("APPEND_IF_ABSENT", "theirs", "theirs"), ("APPEND_IF_ABSENT", None, "ours"),
                                       ("PASS_THROUGH", "theirs", "theirs"), ("PASS_THROUGH", None, None)):
            with self.subTest(kind, theirs=theirs):
                server = self.upstream(upstream.answer(headers=[("Server", theirs)] if theirs else []))
                proxy = self.http_to(server, extra=f"server_name: ours\nserver_header_transformation: {kind}")
                self.assertEqual(get(proxy.port)["server"], expected)

    def test_adds_a_date_unless_there_is_one(self):
        _, response = self.forwarded()
        self.assertRegex(response["date"], r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
        server = self.upstream(upstream.answer(headers=[("Date", "Thu, 01 Jan 1970 00:00:00 GMT")]))
        self.assertEqual(get(self.http_to(server).port)["date"], "Thu, 01 Jan 1970 00:00:00 GMT")

    def test_via_is_appended_both_ways(self):
        server = self.upstream(upstream.answer(headers=[("Via", "1.1 before")]))
        proxy = self.http_to(server, extra="via: me")
        response = get(proxy.port, headers=[("Via", "1.1 client")])
        self.assertEqual(server.requests[0]["via"].replace(" ", ""), "1.1client,me")
        self.assertEqual(response["via"].replace(" ", ""), "1.1before,me")

    def test_reports_the_upstreams_time_and_the_expected_timeout(self):
        request, response = self.forwarded()
        self.assertRegex(response["x-envoy-upstream-service-time"], r"^\d+$")
        self.assertEqual(request["x-envoy-expected-rq-timeout-ms"], "15000")

    def test_suppress_envoy_headers(self):
        router = configs.ROUTER + "  suppress_envoy_headers: true\n"
        request, response = self.forwarded(http_filters=[router])
        self.assertIsNone(response["x-envoy-upstream-service-time"])
        self.assertIsNone(request["x-envoy-expected-rq-timeout-ms"])

    def test_attempt_counts(self):
        server = self.upstream(upstream.answer())
        proxy = self.http(configs.route("up"), clusters=[configs.cluster("up", server.port)],
                          vhost="include_request_attempt_count: true\ninclude_attempt_count_in_response: true")
        self.assertEqual(get(proxy.port)["x-envoy-attempt-count"], "1")
        self.assertEqual(server.requests[0]["x-envoy-attempt-count"], "1")

    def test_headers_with_underscores(self):
        cases = (("ALLOW", 200, "1", 0, 0), ("REJECT_REQUEST", 400, None, 0, 1), ("DROP_HEADER", 200, None, 2, 0))
        for action, status, seen, dropped, rejected in cases:
            with self.subTest(action):
                server = self.upstream(upstream.answer())
                proxy = self.http_to(server, extra=(
                    f"common_http_protocol_options: {{ headers_with_underscores_action: {action} }}"))
                response = get(proxy.port, headers=[("a_b", "1"), ("c_d", "2"), ("e-f", "3")])
                self.assertEqual(response.status, status)
                self.assertEqual(server.requests[0]["a_b"] if server.requests else None, seen)
                self.assertEqual(proxy.stat("http1.dropped_headers_with_underscores"), dropped)
                self.assertEqual(proxy.stat("http1.requests_rejected_with_underscores_in_headers"), rejected)

    def test_repeated_headers_stay_in_order(self):
        request, _ = self.forwarded([("X-R", "1"), ("X-R", "2"), ("X-R", "3")])
        self.assertEqual(",".join(request.all("x-r")).replace(" ", ""), "1,2,3")

    def test_several_set_cookies_are_not_merged(self):
        server = self.upstream(upstream.answer(headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]))
        self.assertEqual(get(self.http_to(server).port).all("set-cookie"), ["a=1", "b=2"])


class PathTest(ProxyCase):
    def target(self, sent, extra):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server, extra=extra)
        with Client(proxy.port) as client:
            client.send(f"GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            status = client.response().status
        return status, server.requests[0].target if server.requests else None

    def test_paths_are_left_alone_by_default(self):
        self.assertEqual(self.target("/a/../b//c/./d", ""), (200, "/a/../b//c/./d"))

    def test_normalize_path(self):
        for sent, expected in (("/a/../b", "/b"), ("/a/./b", "/a/b"), ("/%61?x=../y", "/a?x=../y"), ("/../../x", "/x")):
            with self.subTest(sent):
                self.assertEqual(self.target(sent, "normalize_path: true"), (200, expected))

    def test_merge_slashes(self):
        self.assertEqual(self.target("//a///b?c//d", "merge_slashes: true"), (200, "/a/b?c//d"))

    def test_escaped_slashes(self):
        for action, expected in (("KEEP_UNCHANGED", (200, "/a%2Fb")), ("REJECT_REQUEST", (400, None)),
                                 ("UNESCAPE_AND_FORWARD", (200, "/a/b"))):
            with self.subTest(action):
                self.assertEqual(self.target("/a%2Fb", f"path_with_escaped_slashes_action: {action}"), expected)

    def test_unescape_and_redirect(self):
        proxy = self.http_to(self.upstream(upstream.answer()),
                             extra="path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT")
        response = get(proxy.port, "/a%2fb")
        self.assertEqual((response.status, response["location"].endswith("/a/b")), (307, True))

    def test_strip_host_port(self):
        for extra, host in (("strip_any_host_port: true", "a:81"), ("strip_any_host_port: true", "a")):
            server = self.upstream(upstream.answer())
            proxy = self.http_to(server, extra=extra)
            get(proxy.port, host=host)
            self.assertEqual(server.requests[0]["host"], "a")
