"""Routes: which one is chosen, and what it does to the request and the response."""
from support import configs, upstream
from support.case import ProxyCase
from support.http1 import get


def virtual_host(name, *domains):
    listed = ", ".join(f'"{domain}"' for domain in domains)
    return "\n".join([f"name: {name}", f"domains: [{listed}]", "routes:",
                      '- match: { prefix: "/" }',
                      f'  direct_response: {{ status: 200, body: {{ inline_string: "{name}" }} }}'])


def with_header(body, matcher):
    return configs.direct(body=body, match=f'prefix: "/"\nheaders: [{{ {matcher} }}]')


def with_query(body, matcher):
    return configs.direct(body=body, match=f'prefix: "/"\nquery_parameters: [{{ {matcher} }}]')


class MatchTest(ProxyCase):
    def test_virtual_hosts_by_exact_suffix_prefix_and_any(self):
        proxy = self.http(virtual_hosts=[
            virtual_host("any", "*"), virtual_host("prefix", "www.*"), virtual_host("suffix", "*.example.com"),
            virtual_host("longer", "*.sub.example.com"), virtual_host("exact", "www.example.com", "other:8080")])
        for host, expected in {"www.example.com": b"exact", "WWW.Example.COM": b"exact", "a.example.com": b"suffix",
                               "a.sub.example.com": b"longer", "www.other.org": b"prefix", "else.org": b"any",
                               "other:8080": b"exact", "other:8081": b"any", "example.com": b"any"}.items():
            with self.subTest(host):
                self.assertEqual(get(proxy.port, host=host).body, expected)

    def test_the_first_route_that_matches_wins(self):
        proxy = self.http(
            configs.direct(body="path", match='path: "/exact"'),
            configs.direct(body="regex", match='safe_regex: { regex: "/r/[0-9]+" }'),
            configs.direct(body="separated", match='path_separated_prefix: "/sep"'),
            configs.direct(body="any-case", match='prefix: "/Case"\ncase_sensitive: false'),
            configs.direct(body="prefix", match='prefix: "/p"'),
            configs.direct(body="shadowed", match='prefix: "/p/longer"'))
        for target, expected in {"/exact": b"path", "/exact?q": b"path", "/r/12": b"regex", "/r/12?x": b"regex",
                                 "/sep": b"separated", "/sep/x": b"separated", "/cAsE/x": b"any-case",
                                 "/p/longer": b"prefix", "/pq": b"prefix"}.items():
            with self.subTest(target):
                self.assertEqual(get(proxy.port, target).body, expected)
        for target in ("/exact/", "/r/12x", "/r/", "/separate", "/other", "/Exact"):
            with self.subTest(target):
                self.assertEqual(get(proxy.port, target).status, 404)

    def test_headers_decide(self):
        proxy = self.http(
            with_header("exact", "name: x-a, string_match: { exact: one }"),
            with_header("range", "name: x-n, range_match: { start: 5, end: 8 }"),
            with_header("present", "name: x-p, present_match: true"),
            with_header("post", 'name: ":method", string_match: { exact: POST }'),
            with_header("not", "name: x-a, string_match: { prefix: z }, invert_match: true"),
            configs.direct(body="rest"))
        for headers, expected in (([("X-A", "one")], b"exact"), ([("x-n", "7")], b"range"), ([("x-p", "")], b"present"),
                                  ([("x-n", "8"), ("x-a", "zz")], b"rest"), ([("x-a", "two")], b"not")):
            with self.subTest(headers):
                self.assertEqual(get(proxy.port, headers=headers).body, expected)
        with self.subTest("method"):
            self.assertEqual(self.client(proxy.port).request("POST", headers=[("x-a", "z")]).body, b"post")

    def test_query_parameters_decide(self):
        proxy = self.http(
            with_query("exact", 'name: a, string_match: { exact: "1" }'),
            with_query("present", "name: b, present_match: true"),
            configs.direct(body="rest"))
        for target, expected in {"/?a=1": b"exact", "/?x=2&a=1": b"exact", "/?a=2": b"rest", "/?b": b"present",
                                 "/?ab=1": b"rest", "/": b"rest"}.items():
            with self.subTest(target):
                self.assertEqual(get(proxy.port, target).body, expected)

    def test_weighted_clusters_share_requests(self):
        one, two = (self.upstream(upstream.name_itself(name)) for name in ("one", "two"))
        proxy = self.http("""
            match: { prefix: "/" }
            route:
              weighted_clusters:
                clusters:
                - name: one
                  weight: 20
                  response_headers_to_add: [{ header: { key: x-side, value: left } }]
                - { name: two, weight: 80 }
            """, clusters=[configs.cluster("one", one.port), configs.cluster("two", two.port)])
        client = self.client(proxy.port)
        responses = [client.request() for _ in range(500)]
        count = sum(response["x-upstream"] == "one" for response in responses)
        # 500 draws at 1/5: mean 100, standard deviation 9; seven of them on either side.
        self.assertLess(abs(count - 100), 63)
        for response in responses:
            self.assertEqual(response["x-side"], "left" if response["x-upstream"] == "one" else None)

    def test_a_cluster_named_by_a_header(self):
        one, two = (self.upstream(upstream.name_itself(name)) for name in ("one", "two"))
        proxy = self.http('match: { prefix: "/" }\nroute: { cluster_header: x-to }',
                          clusters=[configs.cluster("one", one.port), configs.cluster("two", two.port)])
        self.assertEqual(get(proxy.port, headers=[("x-to", "two")])["x-upstream"], "two")
        self.assertEqual(get(proxy.port, headers=[("x-to", "three")]).status, 503)


class ActionTest(ProxyCase):
    def seen(self, target="/", match='prefix: "/"', action="", headers=(), extra=""):
        server = self.upstream(upstream.answer())
        proxy = self.http(configs.route("up", match, action, extra), clusters=[configs.cluster("up", server.port)])
        response = get(proxy.port, target, headers)
        return server.requests[0], response

    def test_prefix_rewrite_keeps_the_rest_and_the_original(self):
        for target, prefix, rewrite, expected in (
                ("/static/a?b", "/static", "/", "//a?b"), ("/v1/x", "/v1/", "/", "/x"),
                ("/api", "/api", "/new", "/new"), ("/apix", "/api", "/new", "/newx")):
            with self.subTest(target):
                request, _ = self.seen(target, f'prefix: "{prefix}"', f'prefix_rewrite: "{rewrite}"')
                self.assertEqual(request.target, expected)
                self.assertEqual(request["x-envoy-original-path"], target)

    def test_regex_rewrite(self):
        request, _ = self.seen("/service/foo/v1/api?x=1", action=r"""
            regex_rewrite:
              pattern: { regex: "^/service/([^/]+)(/.*)$" }
              substitution: "\\2/instance/\\1"
            """)
        self.assertEqual(request.target, "/v1/api/instance/foo?x=1")

    def test_host_rewrites(self):
        request, _ = self.seen(action="host_rewrite_literal: rewritten.example")
        self.assertEqual(request["host"], "rewritten.example")
        request, _ = self.seen(action="host_rewrite_header: x-host", headers=[("x-host", "from-header")])
        self.assertEqual(request["host"], "from-header")
        request, _ = self.seen(action="host_rewrite_literal: b\nappend_x_forwarded_host: true")
        self.assertEqual(request["x-forwarded-host"], "example.com")

    def test_headers_are_added_replaced_and_removed(self):
        request, response = self.seen(headers=[("x-gone", "1"), ("x-over", "old"), ("x-app", "old")], extra="""
            request_headers_to_remove: [x-gone]
            request_headers_to_add:
            - { header: { key: x-app, value: new } }
            - { header: { key: x-over, value: new }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }
            - { header: { key: x-if, value: new }, append_action: ADD_IF_ABSENT }
            - { header: { key: x-path, value: "%REQ(:PATH)%" } }
            - { header: { key: x-client, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" } }
            - { header: { key: x-percent, value: "100%%" } }
            response_headers_to_remove: [x-envoy-upstream-service-time]
            response_headers_to_add:
            - { header: { key: x-code, value: "%RESPONSE_CODE%" } }
            - { header: { key: x-proto, value: "%PROTOCOL%" } }
            """)
        self.assertIsNone(request["x-gone"])
        self.assertEqual(",".join(request.all("x-app")).replace(" ", ""), "old,new")
        self.assertEqual([request[name] for name in ("x-over", "x-if", "x-path", "x-client", "x-percent")],
                         ["new", "new", "/", "127.0.0.1", "100%"])
        self.assertIsNone(response["x-envoy-upstream-service-time"])
        self.assertEqual((response["x-code"], response["x-proto"]), ("200", "HTTP/1.1"))

    def test_route_virtual_host_and_table_all_add(self):
        add = 'response_headers_to_add: [{{ header: {{ key: x-level, value: {} }} }}]'.format
        proxy = self.http(configs.direct(extra=add("route")), vhost=add("vhost"), route_config=add("table"))
        self.assertEqual(get(proxy.port).all("x-level"), ["route", "vhost", "table"])

    def test_redirects(self):
        for redirect, expected in {
            "{ https_redirect: true }": (301, "https://example.com/a/b?c"),
            "{ host_redirect: other.example }": (301, "http://other.example/a/b?c"),
            '{ path_redirect: "/new" }': (301, "http://example.com/new?c"),
            '{ path_redirect: "/new", strip_query: true }': (301, "http://example.com/new"),
            '{ path_redirect: "/new?d", response_code: FOUND }': (302, "http://example.com/new?d"),
            '{ prefix_rewrite: "/z" }': (301, "http://example.com/z/b?c"),
            "{ port_redirect: 8443, scheme_redirect: https, response_code: TEMPORARY_REDIRECT }":
                (307, "https://example.com:8443/a/b?c"),
            "{ https_redirect: true, response_code: PERMANENT_REDIRECT }": (308, "https://example.com/a/b?c"),
            "{ https_redirect: true, response_code: SEE_OTHER }": (303, "https://example.com/a/b?c"),
        }.items():
            with self.subTest(redirect):
                proxy = self.http(f'match: {{ prefix: "/a" }}\nredirect: {redirect}')
                response = get(proxy.port, "/a/b?c")
                self.assertEqual((response.status, response["location"]), expected)

    def test_direct_responses(self):
        proxy = self.http(configs.direct(418, "teapot", 'path: "/tea"'),
                          'match: { prefix: "/" }\ndirect_response: { status: 204 }')
        response = get(proxy.port, "/tea")
        self.assertEqual((response.status, response.body, response["content-type"]), (418, b"teapot", "text/plain"))
        self.assertEqual(get(proxy.port).status, 204)
        client = self.client(proxy.port)
        self.assertEqual(client.request("HEAD", "/tea")["content-length"], "6")
        self.assertEqual(client.request("GET", "/tea").body, b"teapot")

    def test_a_direct_response_keeps_the_connection(self):
        client = self.client(self.http(configs.direct()).port)
        for _ in range(3):
            self.assertEqual(client.request().body, b"direct")

    def test_a_direct_response_does_not_wait_for_the_body(self):
        client = self.client(self.http(configs.direct()).port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        response = client.response()
        self.assertEqual((response.body, response["connection"]), (b"direct", "close"))

    def test_require_tls_redirects(self):
        proxy = self.http(configs.direct(), vhost="require_tls: ALL")
        response = get(proxy.port, "/x")
        self.assertEqual((response.status, response["location"]), (301, "https://example.com/x"))

    def test_runtime_fraction_zero_and_full(self):
        def match(numerator):
            return ('prefix: "/"\nruntime_fraction: { default_value: '
                    f'{{ numerator: {numerator}, denominator: HUNDRED }} }}')
        proxy = self.http(configs.direct(body="never", match=match(0)), configs.direct(body="always", match=match(100)))
        self.assertEqual({get(proxy.port).body for _ in range(10)}, {b"always"})
