"""Redirected connections: the original destination by REDIRECT and TPROXY, IPv4 and IPv6, handed to the listener and
the ORIGINAL_DST host it names. Three network namespaces: a client, the proxy as its router, a server. The test itself
runs in the proxy's, which the daemon inherits.
"""
import errno
import socket

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import Client
from support.namespaces import Namespace
from support.ports import free_port
from support.proxy import run
from support.upstream import Upstream

CAPTURE = 15001
SERVERS = {4: "10.77.2.2", 6: "fd77:2::2"}
WILDCARDS = {4: "0.0.0.0", 6: "::"}
LOG = "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %UPSTREAM_HOST% %RESPONSE_FLAGS%"


def text_of(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class RedirectedCase(ProxyCase):
    def setUp(self):
        try:
            self.inside = self.enterContext(Namespace())
        except PermissionError:
            self.skipTest("needs the right to make network namespaces")
        self.pod = self.enterContext(Namespace())
        self.outside = self.enterContext(Namespace())
        self.pod.connect("eth0", self.inside, "pod", ["10.77.1.2/24", "fd77:1::2/64"], ["10.77.1.1/24", "fd77:1::1/64"])
        self.outside.connect("eth0", self.inside, "net", ["10.77.2.2/24", "10.77.2.3/24", "fd77:2::2/64"],
                             ["10.77.2.1/24", "fd77:2::1/64"])
        self.pod.ip("route", "add", "default", "via", "10.77.1.1")
        self.pod.ip("-6", "route", "add", "default", "via", "fd77:1::1")
        self.inside.sysctl("net.ipv4.ip_forward", 1)
        self.inside.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.enterContext(self.inside.entered())

    def iptables(self, version, *arguments):
        self.inside.run("iptables" if version == 4 else "ip6tables", "-w", *arguments)

    def redirect(self, version=4, port=CAPTURE):
        """What the client sends to the server's ports below 1000 goes to the proxy's port."""
        self.iptables(version, "-t", "nat", "-A", "PREROUTING", "-i", "pod", "-p", "tcp", "--dport", "1:1000",
                      "-j", "REDIRECT", "--to-ports", str(port))

    def tproxy(self, version=4, port=CAPTURE):
        self.iptables(version, "-t", "mangle", "-A", "PREROUTING", "-i", "pod", "-p", "tcp", "--dport", "1:1000",
                      "-j", "TPROXY", "--on-port", str(port), "--tproxy-mark", "1")
        self.inside.ip(f"-{version}", "rule", "add", "fwmark", "1", "lookup", "100")
        self.inside.ip(f"-{version}", "route", "add", "local", "default", "dev", "lo", "table", "100")

    def server(self, script, port, host=SERVERS[4]):
        with self.outside.entered():
            return self.enterContext(Upstream(script, host=host, port=port))

    def dial(self, port, host=SERVERS[4]):
        with self.pod.entered():
            return self.enterContext(Client(port, host=host))

    def capture(self, *listeners, clusters, **options):
        """Starts the daemon; listeners are texts."""
        return self.start([lambda _, text=text: text for text in listeners], clusters,
                          ports=[CAPTURE] * len(listeners), **options)

    def log_lines(self, proxy):
        self.wait_until(lambda: proxy.path("log") and self.read(proxy), "an access log line")
        return self.read(proxy).splitlines()

    @staticmethod
    def read(proxy):
        return proxy.process.read("log")


def tcp(log="log", cluster="original", stat_prefix="tcp"):
    return configs.tcp_proxy(cluster, access_log=[configs.file_log(log, LOG)], stat_prefix=stat_prefix)


def http(log="log", cluster="original"):
    return configs.hcm(configs.route(cluster), access_log=[configs.file_log(log, LOG)])


def capture_listener(*filters, extra=configs.ORIGINAL_DST_FILTER, address="0.0.0.0"):
    return configs.listener(CAPTURE, *filters, name="capture", address=address, extra=extra)


FLUSH = ["--file-flush-interval-msec", "20"]
ORIGINAL = configs.original_dst_cluster("original")


class OriginalDestinationTest(RedirectedCase):
    def check_tcp(self, version, extra, own):
        host = SERVERS[version]
        self.server(upstream.echo_tcp, 7, host)
        proxy = self.capture(capture_listener(tcp(), address=WILDCARDS[version], extra=extra), clusters=[ORIGINAL],
                             flags=FLUSH)
        client = self.dial(7, host)
        client.send(b"hello")
        client.half_close()
        self.assertEqual(client.reader.rest(), b"hello")
        original = text_of(host, 7)
        self.assertEqual(self.log_lines(proxy), [f"{original} {own or original} {original} -"])

    def test_redirect_ipv4(self):
        self.redirect()
        self.check_tcp(4, configs.ORIGINAL_DST_FILTER, "10.77.1.1:15001")

    def test_redirect_ipv6(self):
        self.redirect(6)
        self.check_tcp(6, configs.ORIGINAL_DST_FILTER, "[fd77:1::1]:15001")

    def test_tproxy_ipv4(self):
        self.tproxy()
        self.check_tcp(4, configs.ORIGINAL_DST_FILTER + "transparent: true\n", None)

    def test_tproxy_ipv6(self):
        self.tproxy(6)
        self.check_tcp(6, configs.ORIGINAL_DST_FILTER + "transparent: true\n", None)

    def test_a_listener_of_both_families_knows_where_ipv4_went(self):
        self.redirect()
        self.server(upstream.echo_tcp, 7)
        both = capture_listener(tcp(), address="::").replace('address: "::"', 'ipv4_compat: true, address: "::"')
        self.capture(both, clusters=[ORIGINAL])
        client = self.dial(7)
        client.send(b"hello")
        self.assertEqual(client.reader.exactly(5), b"hello")

    def test_requests_go_where_their_connection_went(self):
        self.redirect()
        self.redirect(6)
        names = [(80, SERVERS[4]), (80, "10.77.2.3"), (81, SERVERS[4])]
        for port, host in names:
            self.server(upstream.name_itself(text_of(host, port)), port, host)
        proxy = self.capture(capture_listener(http()), clusters=[ORIGINAL], flags=FLUSH)
        for port, host in names:
            client = self.dial(port, host)
            for _ in range(2):  # the second on the pooled connection
                self.assertEqual(client.request().body.decode(), text_of(host, port))
        self.assertEqual(proxy.stat("cluster.original.upstream_cx_total"), 3)
        self.assertEqual(proxy.stat("cluster.original.membership_total"), 3)
        self.assertEqual(self.log_lines(proxy)[0], "10.77.2.2:80 10.77.1.1:15001 10.77.2.2:80 -")

    def test_a_direct_connection_has_no_original_destination(self):
        proxy = self.capture(capture_listener(http()), clusters=[ORIGINAL], flags=FLUSH)
        response = self.dial(CAPTURE, "10.77.1.1").request()
        self.assertEqual((response.status, response.body), (503, b"no healthy upstream"))
        self.assertEqual(self.log_lines(proxy), ["10.77.1.1:15001 10.77.1.1:15001 - UH"])
        self.assertEqual(proxy.stat("cluster.original.upstream_cx_none_healthy"), 1)

    def test_a_direct_tcp_connection_is_closed(self):
        proxy = self.capture(capture_listener(tcp(), extra=configs.ORIGINAL_DST_FILTER + "transparent: true\n"),
                             clusters=[ORIGINAL], flags=FLUSH)
        self.assertTrue(self.dial(CAPTURE, "10.77.1.1").is_closed())
        self.assertEqual(self.log_lines(proxy), ["10.77.1.1:15001 10.77.1.1:15001 - UH"])

    def test_a_refused_original_destination_is_a_connection_failure(self):
        self.redirect()
        self.capture(capture_listener(http()), clusters=[ORIGINAL])
        response = self.dial(80).request()
        self.assertEqual(response.status, 503)
        self.assertIn(b"connection failure", response.body)

    def test_without_the_listener_filter_nothing_is_restored(self):
        self.redirect()
        self.capture(capture_listener(http(), extra=""), clusters=[ORIGINAL])
        self.assertEqual(self.dial(80).request().status, 503)

    def test_a_transparent_listener_needs_the_right_to_be_one(self):
        text = configs.bootstrap(free_port(), [capture_listener(tcp(), extra="transparent: true")], [ORIGINAL])
        rights = "-net_admin,-net_raw"
        outcome = run("--config-yaml", text, wrapper=["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"])
        self.assertEqual(outcome.code, 1)
        self.assertIn("listener 'capture': cannot set the transparent option on 0.0.0.0:15001", outcome.err)

    def test_a_pod_captures_its_own_connections(self):
        # The test's own namespace dials; the mark keeps the daemon's connections out of the rule.
        self.iptables(4, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", "10.77.2.0/24", "-m", "mark", "!",
                      "--mark", "1337", "-j", "REDIRECT", "--to-ports", str(CAPTURE))
        self.server(upstream.name_itself("server"), 80)
        marked = configs.original_dst_cluster("original", extra="""
            upstream_bind_config: { socket_options: [{ level: 1, name: 36, int_value: 1337 }] }""")
        self.capture(capture_listener(http(), address="127.0.0.1"), clusters=[marked])
        self.assertEqual(self.client(80, host=SERVERS[4]).request().body, b"server")


class OriginalDestinationClusterTest(RedirectedCase):
    def setUp(self):
        super().setUp()
        self.redirect()

    def test_a_header_may_name_the_host(self):
        self.server(upstream.name_itself("there"), 80)
        self.server(upstream.name_itself("elsewhere"), 8080, "10.77.2.3")
        cluster = configs.original_dst_cluster("original", "use_http_header: true")
        proxy = self.capture(capture_listener(http()), clusters=[cluster])
        client = self.dial(80)
        named = "x-envoy-original-dst-host"
        self.assertEqual(client.request(headers=[(named, "10.77.2.3:8080")]).body, b"elsewhere")
        self.assertEqual(client.request().body, b"there")
        self.assertEqual(client.request(headers=[(named, "example.com:80")]).body, b"there")
        self.assertEqual(proxy.stat("cluster.original.original_dst_host_invalid"), 1)

    def test_the_port_may_be_overridden(self):
        self.server(upstream.name_itself("other port"), 8081)
        cluster = configs.original_dst_cluster("original", "upstream_port_override: 8081")
        self.capture(capture_listener(http()), clusters=[cluster])
        self.assertEqual(self.dial(80).request().body, b"other port")

    def test_hosts_go_when_they_are_not_used_any_more(self):
        self.server(upstream.name_itself("a"), 80)
        cluster = configs.original_dst_cluster("original", extra="""
            cleanup_interval: 0.05s
            common_http_protocol_options: { idle_timeout: 0.2s }""")
        proxy = self.capture(capture_listener(http()), clusters=[cluster])
        client = self.dial(80)
        client.request()
        shown = proxy.admin("/clusters")[1]
        self.assertIn("original::10.77.2.2:80::rq_total::1\n", shown)
        self.assertIn("original::10.77.2.2:80::health_flags::healthy\n", shown)
        hosts = next(c for c in proxy.admin_json("/clusters?format=json")["cluster_statuses"])["host_statuses"]
        self.assertEqual(hosts[0]["address"]["socket_address"], {"address": "10.77.2.2", "port_value": 80})
        proxy.wait_stat("cluster.original.membership_total", 0)
        self.assertNotIn("10.77.2.2", proxy.admin("/clusters")[1])
        self.assertEqual(client.request().body, b"a")  # and comes again
        self.assertEqual(proxy.stat("cluster.original.membership_change"), 3)

    def test_workers_share_a_host(self):
        self.server(upstream.echo_http, 80)
        proxy = self.capture(capture_listener(http()), clusters=[ORIGINAL], concurrency=2)
        clients = [self.dial(80) for _ in range(24)]
        for client in clients:
            self.assertEqual(client.request("POST", body=b"x").body, b"x")
        by_worker = [proxy.stat(f"listener.0.0.0.0_15001.worker_{n}.downstream_cx_total") for n in (0, 1)]
        self.assertEqual(sum(by_worker), 24)
        self.assertGreater(min(by_worker), 0)
        self.assertEqual(proxy.stat("cluster.original.membership_total"), 1)
        self.assertIn("original::10.77.2.2:80::rq_success::24\n", proxy.admin("/clusters")[1])

    def test_a_host_with_a_connection_stays(self):
        self.server(upstream.echo_tcp, 7)
        cluster = configs.original_dst_cluster("original", extra="cleanup_interval: 0.02s")
        proxy = self.capture(capture_listener(tcp()), clusters=[cluster])
        client = self.dial(7)
        client.send(b"x")
        client.reader.exactly(1)
        other = self.dial(9)  # refused at once: its host goes before long
        self.assertTrue(other.is_closed())
        proxy.wait_stat("cluster.original.membership_total", 1)
        self.assertIn("10.77.2.2:7::cx_active::1", proxy.admin("/clusters")[1])
        client.send(b"y")
        self.assertEqual(client.reader.exactly(1), b"y")

    def test_breakers_hold(self):
        self.server(upstream.echo_tcp, 7)
        cluster = configs.original_dst_cluster(
            "original", extra="circuit_breakers: { thresholds: [{ max_connections: 1 }] }")
        proxy = self.capture(capture_listener(tcp()), clusters=[cluster], flags=FLUSH)
        first = self.dial(7)
        first.send(b"x")
        first.reader.exactly(1)
        self.assertTrue(self.dial(7).is_closed())
        self.assertTrue(self.log_lines(proxy)[0].endswith(" UO"))
        self.assertEqual(proxy.stat("cluster.original.upstream_cx_overflow"), 1)


class HandOverTest(RedirectedCase):
    """use_original_dst and listeners without a socket."""

    def setUp(self):
        super().setUp()
        self.redirect()

    def start_with(self, *targets, **options):
        """A capturing listener that answers "kept"; (name, address, port, extra) of those that answer their name."""
        unbound = [configs.listener(port, configs.hcm(configs.direct(body=name), stat_prefix=name), name=name,
                                    address=address, extra="bind_to_port: false\n" + extra)
                   for name, address, port, extra in targets]
        capture = capture_listener(configs.hcm(configs.direct(body="kept")), extra="use_original_dst: true")
        return self.capture(capture, *unbound, clusters=[], **options)

    def answer(self, port, host=SERVERS[4]):
        return self.dial(port, host).request().body.decode()

    def test_the_listener_of_the_exact_address_comes_first(self):
        proxy = self.start_with(("any", "0.0.0.0", 80, ""), ("exact", "10.77.2.2", 80, ""),
                                ("other family", "::", 80, ""))
        self.assertEqual(self.answer(80), "exact")
        self.assertEqual(self.answer(80, "10.77.2.3"), "any")
        self.assertEqual(self.answer(81), "kept")
        stats = proxy.stats()
        self.assertEqual(stats["listener.10.77.2.2_80.downstream_cx_total"], 1)
        self.assertEqual(stats["listener.0.0.0.0_80.downstream_cx_total"], 1)
        self.assertEqual(stats["listener.0.0.0.0_15001.downstream_cx_total"], 1)
        self.assertEqual(proxy.admin("/listeners")[1].splitlines()[1:3], ["any::0.0.0.0:80", "exact::10.77.2.2:80"])

    def test_a_listener_without_bind_to_port_has_no_socket(self):
        self.start_with(("any", "0.0.0.0", 1080, ""))
        with self.pod.entered(), socket.socket() as client:
            self.assertEqual(client.connect_ex(("10.77.1.1", 1080)), errno.ECONNREFUSED)

    def test_a_wildcard_of_both_families_takes_ipv4(self):
        both = configs.listener(80, configs.hcm(configs.direct(body="both")), name="both", address="::",
                                extra="bind_to_port: false")
        both = both.replace('address: "::"', 'ipv4_compat: true, address: "::"')
        capture = capture_listener(configs.hcm(configs.direct(body="kept")), extra="use_original_dst: true")
        self.capture(capture, both, clusters=[])
        self.assertEqual(self.answer(80), "both")

    def test_a_listener_that_takes_over_counts_against_its_own_limit(self):
        layer = ("layered_runtime: { layers: [{ name: a, static_layer: { "
                 "envoy.resource_limits.listener.any.connection_limit: 1 } }] }")
        proxy = self.start_with(("any", "0.0.0.0", 80, ""), extra=layer)
        first = self.dial(80)
        self.assertEqual(first.request().body, b"any")
        self.assertTrue(self.dial(80).is_closed())
        self.assertEqual(proxy.stat("listener.0.0.0.0_80.downstream_cx_overflow"), 1)
        self.assertEqual(self.answer(81), "kept")

    def test_connections_end_before_a_drain_is_over(self):
        proxy = self.start_with(("any", "0.0.0.0", 80, ""))
        client = self.dial(80)
        self.assertEqual(client.request().body, b"any")
        proxy.admin("/drain_listeners?graceful&skip_exit", "POST")
        self.assertEqual(client.request()["connection"], "close")
        self.assertTrue(client.is_closed())
