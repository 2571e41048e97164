"""Upstream connections that are made for the host of a request (auto_sni, auto_san_validation) or for its client (PROXY
headers on HTTP clusters).
"""
import os

from support import configs
from support.tls import UpstreamTlsCase

HTTP_OPTIONS = f"""\
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": {configs.TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: {{ http_protocol_options: {{}} }}
    upstream_http_protocol_options: """


class ServerNameTest(UpstreamTlsCase):
    def setUp(self):
        super().setUp()
        self.pair = self.authority.issue("a.test", "DNS:a.test,DNS:b.test,DNS:*.wild.test,IP:127.0.0.1")

    def by_host(self, options, action="", extra="", http2=False):
        transport = configs.upstream_tls(self.authority.file,
                                         common="tls_params: { tls_maximum_protocol_version: TLSv1_3 }")
        protocol = HTTP_OPTIONS.replace("{ http_", "{ http2_") if http2 else HTTP_OPTIONS
        cluster = configs.cluster("up", self.nginx_tls(listen="http2" if http2 else ""),
                                  extra=f"{transport}\n{protocol.rstrip()} {{ {options} }}\n{extra}")
        return self.http(configs.route("up", action=action), clusters=[cluster])

    def named(self, proxy, host, *arguments):
        """The server name that nginx was sent for a request to the host, and the status."""
        parts = self.get(proxy.port, "/", "-H", f"Host: {host}", *arguments).split(" ")
        return (parts[1], parts[-1]) if parts[0].startswith("TLSv1") else (None, parts[-1])

    def test_the_host_of_a_request_is_the_server_name_of_its_connection(self):
        proxy = self.by_host("auto_sni: true")
        for _ in range(3):
            for host, name in (("a.test", "a.test"), ("b.test:8443", "b.test"), ("x.wild.test", "x.wild.test"),
                               ("127.0.0.1:80", ""), ("[::1]:80", "")):
                self.assertEqual(self.named(proxy, host), (name, "200"), host)
        # One by name, none shared; both addresses have no name to send.
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_total"), 4)

    def test_a_header_may_name_the_server_in_place_of_the_host(self):
        proxy = self.by_host("auto_sni: true, auto_san_validation: true, override_auto_sni_header: X-Server")
        self.assertEqual(self.named(proxy, "nobody.test", "-H", "x-server: b.test"), ("b.test", "200"))
        self.assertEqual(self.named(proxy, "a.test"), ("a.test", "200"))
        self.assertEqual(self.named(proxy, "a.test", "-H", "x-server;"), ("a.test", "200"), "it is empty")
        self.assertEqual(self.named(proxy, "a.test", "-H", "x-server: nobody.test"), (None, "503"))

    def test_the_certificate_has_to_name_the_host(self):
        proxy = self.by_host("auto_sni: true, auto_san_validation: true")
        for host, name in (("a.test", "a.test"), ("any.wild.test", "any.wild.test"), ("127.0.0.1", "")):
            self.assertEqual(self.named(proxy, host), (name, "200"), host)
        answer = self.get(proxy.port, "/", "-H", "Host: nobody.test")
        self.assertIn("CERTIFICATE_VERIFY_FAILED", answer)
        self.assertTrue(answer.endswith(" 503"), answer)
        self.assertEqual(proxy.stat("cluster.up.ssl.fail_verify_san"), 1)
        self.assertEqual(self.named(proxy, "a.test")[1], "200", "the others are not worse off")

    def test_a_session_is_not_resumed_for_a_name_that_it_was_not_made_for(self):
        proxy = self.by_host("auto_san_validation: true")  # no server name: all sessions look the same to nginx
        self.assertEqual(self.named(proxy, "a.test", "-H", "Connection: close")[1], "200")
        self.assertEqual(self.named(proxy, "nobody.test"), (None, "503"))

    def test_a_host_that_the_route_rewrites_is_the_new_one(self):
        proxy = self.by_host("auto_sni: true", action="host_rewrite_literal: b.test")
        self.assertEqual(self.named(proxy, "a.test"), ("b.test", "200"))

    def test_so_it_is_with_http_2(self):
        proxy = self.by_host("auto_sni: true, auto_san_validation: true", http2=True)
        for _ in range(2):
            for host in ("a.test", "b.test"):
                self.assertEqual(self.named(proxy, host), (host, "200"))
        self.assertEqual(self.named(proxy, "nobody.test"), (None, "503"))
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_http2_total"), 2)

    def test_the_host_name_of_an_endpoint_is_the_server_name_with_auto_host_sni(self):
        transport = configs.upstream_tls(self.authority.file, "auto_host_sni: true\nauto_sni_san_validation: true")
        for host, status in (("b.test", "200"), ("nobody.test", "503")):
            cluster = configs.cluster("up", self.nginx_tls(), extra=transport)
            cluster = cluster.replace("endpoint: { address", f"endpoint: {{ hostname: {host}, address")
            proxy = self.http(configs.route("up"), clusters=[cluster])
            self.assertEqual(self.named(proxy, "a.test"), (host if status == "200" else None, status))

    def test_pools_of_names_are_limited(self):
        limit = "circuit_breakers: { thresholds: [{ max_connection_pools: 2 }] }"
        proxy = self.by_host("auto_sni: true", extra=limit)
        refused = "cluster.up.upstream_cx_pool_overflow"
        self.assertEqual(self.named(proxy, "a.test")[1], "200")
        self.assertEqual(self.named(proxy, "b.test")[1], "200")
        self.assertEqual(self.named(proxy, "c.test")[1], "503")
        self.assertEqual(proxy.stat(refused), 1)

    def test_nothing_is_asked_of_a_cluster_without_tls(self):
        up = self.upstream(lambda peer: [peer.respond(body=b"plain") for _ in iter(peer.read_request, None)])
        proxy = self.http_to(up, cluster_extra=HTTP_OPTIONS + "{ auto_sni: true, auto_san_validation: true }")
        for host in ("a.test", "b.test"):
            self.assertEqual(self.get(proxy.port, "/", "-H", f"Host: {host}"), "plain 200")
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_total"), 1)


class ProxyHeaderTest(UpstreamTlsCase):
    TRANSPORT = configs.PROXY_HEADER_TRANSPORT

    def test_each_client_has_connections_that_name_it(self):
        def script(peer):
            head = peer.reader.until(b"\r\n")
            while True:
                peer.read_request()
                peer.respond(body=head)
        up = self.upstream(script)
        proxy = self.http_to(up, cluster_extra=self.TRANSPORT)
        clients = [self.client(proxy.port) for _ in range(2)]
        for _ in range(3):
            for client in clients:
                port = client.sock.getsockname()[1]
                self.assertEqual(client.request().body, f"PROXY TCP4 127.0.0.1 127.0.0.1 {port} {proxy.port}".encode())
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_total"), 2, "one by client, used again")

    def test_nginx_takes_the_client_from_it_under_tls(self):
        tls = configs.upstream_tls(self.authority.file, "sni: localhost").replace("\n", "\n    ")
        transport = self.TRANSPORT.replace("transport_socket: { name: envoy.transport_sockets.raw_buffer }", tls)
        log = os.path.join(self.folder, "log")
        port = self.nginx_tls(says="$ssl_protocol $proxy_protocol_addr $proxy_protocol_port", listen="proxy_protocol")
        proxy = self.to(port, transport, access_log=[configs.file_log(log, "%DOWNSTREAM_REMOTE_PORT%")],
                        flags=["--file-flush-interval-msec", "50"])
        said = self.get(proxy.port).split(" ")
        self.assertEqual(said[0:2] + said[-1:], ["TLSv1.2", "127.0.0.1", "200"])
        self.wait_until(lambda: self.read_file(log).endswith("\n"), "the access log is written")
        self.assertEqual(said[2], self.read_file(log).strip())
