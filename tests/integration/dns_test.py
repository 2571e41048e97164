"""Clusters whose endpoints are names, against a DNS server whose answers change."""
import json
import os
import signal
import socket
import time
import unittest

from support import configs
from support.case import ProxyCase
from support.dns import DnsServer, resolver
from support.http1 import get
from support.ports import free_port
from support.process import Process


def answers(name):
    """An upstream that says who it is."""
    def script(peer):
        while True:
            peer.read_request()
            peer.respond(body=name.encode())
    return script


class DnsTest(ProxyCase):
    def dns(self, *args, **options):
        return self.enterContext(DnsServer(*args, **options))

    def backend(self, host, port):
        return self.upstream(answers(host), host=host, port=port)

    def begin(self, server, *names, kind="STRICT_DNS", extra="", port=80, **options):
        endpoints = "\n".join(
            f"    - endpoint: {{ address: {{ socket_address: {{ address: {name}, port_value: {port} }} }} }}"
            for name in names)
        cluster = f"""
name: up
type: {kind}
connect_timeout: 1s
dns_lookup_family: V4_PREFERRED
dns_refresh_rate: 0.05s
{extra}
load_assignment:
  cluster_name: up
  endpoints:
  - lb_endpoints:
{endpoints}
""" + resolver(server.port)
        return self.http(configs.route("up"), clusters=[cluster], **options)

    def seen(self, proxy, times=8):
        return {get(proxy.port).body.decode() for _ in range(times)}

    def members(self, proxy):
        clusters = json.loads(proxy.admin("/clusters?format=json")[1])["cluster_statuses"]
        hosts = next(c for c in clusters if c["name"] == "up").get("host_statuses", [])
        return sorted(h["address"]["socket_address"]["address"] for h in hosts)

    def test_every_address_of_a_name_is_a_host_and_changes_are_followed(self):
        port = free_port()
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            self.backend(host, port)
        dns = self.dns({"web.test": ["127.0.0.1", "127.0.0.2"]})
        proxy = self.begin(dns, "web.test", port=port)
        self.assertEqual(self.members(proxy), ["127.0.0.1", "127.0.0.2"])  # before the first connection was accepted
        self.assertEqual(self.seen(proxy), {"127.0.0.1", "127.0.0.2"})
        dns.set({"web.test": ["127.0.0.2", "127.0.0.3"]})
        self.wait_until(lambda: self.members(proxy) == ["127.0.0.2", "127.0.0.3"])
        self.wait_until(lambda: self.seen(proxy) == {"127.0.0.2", "127.0.0.3"})
        self.assertGreaterEqual(proxy.stat("cluster.up.membership_change"), 2)
        self.assertGreater(proxy.stat("cluster.up.update_success"), 1)
        self.wait_until(lambda: proxy.stat("cluster.up.update_no_rebuild") > 0)
        self.assertEqual(proxy.stat("cluster.up.upstream_rq_total"), proxy.stat("cluster.up.upstream_rq_2xx"))
        page = json.loads(proxy.admin("/clusters?format=json")[1])["cluster_statuses"][0]
        self.assertEqual({h["hostname"] for h in page["host_statuses"]}, {"web.test"})

    def test_a_name_that_is_gone_takes_its_hosts_and_a_dead_server_takes_none(self):
        port = free_port()
        self.backend("127.0.0.1", port)
        self.backend("127.0.0.2", port)
        dns = self.dns({"a.test": ["127.0.0.1"], "b.test": ["127.0.0.2"]})
        proxy = self.begin(dns, "a.test", "b.test", port=port)
        self.assertEqual(self.members(proxy), ["127.0.0.1", "127.0.0.2"])
        dns.stop()
        self.wait_until(lambda: proxy.stat("cluster.up.update_failure") > 1, timeout_s=30)
        self.assertEqual(self.members(proxy), ["127.0.0.1", "127.0.0.2"])
        self.assertEqual(self.seen(proxy), {"127.0.0.1", "127.0.0.2"})
        dns.start()
        dns.set({"b.test": ["127.0.0.2"]})
        self.wait_until(lambda: self.members(proxy) == ["127.0.0.2"])
        self.assertGreater(proxy.stat("cluster.up.update_empty"), 0)
        self.wait_until(lambda: self.seen(proxy) == {"127.0.0.2"})
        log = proxy.process.read("stderr")
        self.assertIn("cluster 'up' keeps its hosts", log)
        self.assertIn("is resolved again", log)

    def test_it_starts_without_an_answer_and_finds_the_hosts_later(self):
        port = free_port()
        self.backend("127.0.0.1", port)
        dns = self.dns({"web.test": ["127.0.0.1"]})
        dns.stop()
        proxy = self.begin(dns, "web.test", port=port)
        self.assertEqual(get(proxy.port).status, 503)
        dns.start()
        self.wait_until(lambda: get(proxy.port).status == 200)

    def test_a_signal_ends_the_wait_for_the_first_answer(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            silent.settimeout(10)
            text = configs.bootstrap(free_port(), [configs.listener(free_port(), configs.tcp_proxy("up"))], [f"""
name: up
type: STRICT_DNS
load_assignment:
  cluster_name: up
  endpoints: [{{ lb_endpoints: [{{ endpoint: {{
    address: {{ socket_address: {{ address: web.test, port_value: 80 }} }} }} }}] }}]
""" + resolver(silent.getsockname()[1])])
            daemon = self.enterContext(Process([os.environ["MILLRACE_BINARY"], "--config-yaml", text]))
            silent.recvfrom(512)  # it has been asked
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait_exit(), 0, daemon.read("stderr"))
            self.assertNotIn("started", daemon.read("stderr"))

    def test_a_logical_cluster_has_one_host_that_moves(self):
        port = free_port()
        first, second = self.backend("127.0.0.1", port), self.backend("127.0.0.2", port)
        dns = self.dns({"web.test": ["127.0.0.1"]})
        proxy = self.begin(dns, "web.test", kind="LOGICAL_DNS", port=port, options={"concurrency": 1})
        self.assertEqual(self.seen(proxy), {"127.0.0.1"})
        dns.set({"web.test": ["127.0.0.2"]})
        self.wait_until(lambda: self.members(proxy) == ["127.0.0.2"])
        self.assertEqual(self.seen(proxy), {"127.0.0.1"}, "the connections that are there stay")
        first.close()
        self.wait_until(lambda: self.seen(proxy) == {"127.0.0.2"})
        self.assertEqual(proxy.stat("cluster.up.membership_change"), 1)
        self.assertGreater(len(second.requests), 0)

    def test_services_have_ports_weights_and_priorities(self):
        ports = [free_port() for _ in range(3)]
        backends = [self.upstream(answers(str(port)), port=port) for port in ports]
        dns = self.dns({"one.test": ["127.0.0.1"]}, services=[
            ("_http._tcp.web.test", "one.test", ports[0], 10, 3), ("_http._tcp.web.test", "one.test", ports[1], 10, 1),
            ("_http._tcp.web.test", "one.test", ports[2], 20, 1)])
        proxy = self.begin(dns, "_http._tcp.web.test", port=0, options={"concurrency": 1})
        for _ in range(40):
            get(proxy.port)
        self.assertEqual([len(b.requests) for b in backends], [30, 10, 0])
        hosts = json.loads(proxy.admin("/clusters?format=json")[1])["cluster_statuses"][0]["host_statuses"]
        self.assertEqual(sorted((h["address"]["socket_address"]["port_value"], h["weight"], h.get("priority", 0))
                                for h in hosts),
                         sorted([(ports[0], 3, 0), (ports[1], 1, 0), (ports[2], 1, 1)]))

    def test_the_dns_extension_is_the_same(self):
        port = free_port()
        self.backend("127.0.0.1", port)
        dns = self.dns({"web.test": ["127.0.0.1"]})
        nested = "\n".join("    " + line for line in resolver(dns.port).strip().split("\n"))
        cluster = f"""
name: up
cluster_type:
  name: envoy.clusters.dns
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
    dns_lookup_family: V4_ONLY
{nested}
load_assignment:
  cluster_name: up
  endpoints:
  - lb_endpoints:
    - endpoint: {{ address: {{ socket_address: {{ address: web.test, port_value: {port} }} }} }}
"""
        proxy = self.http(configs.route("up"), clusters=[cluster])
        self.assertEqual(get(proxy.port).body, b"127.0.0.1")

    def test_literal_addresses_and_hosts_files_need_no_server(self):
        server = self.upstream(answers("here"))
        dns = self.dns()
        for name in ("127.0.0.1", "localhost"):
            with self.subTest(name):
                proxy = self.begin(dns, name, port=server.port)
                self.assertEqual(self.seen(proxy), {"here"})

    def test_hosts_come_and_go_under_load_without_a_lost_request(self):
        port = free_port()
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"):
            self.backend(host, port)
        dns = self.dns({"web.test": ["127.0.0.1"]})
        proxy = self.begin(dns, "web.test", port=port, options={"concurrency": 2})
        client = self.client(proxy.port)
        sent = 0
        for turn in range(12):
            wanted = [f"127.0.0.{1 + (turn + i) % 4}" for i in range(1 + turn % 3)]
            dns.set({"web.test": wanted})
            deadline = time.monotonic() + 20
            while self.members(proxy) != sorted(wanted):
                self.assertLess(time.monotonic(), deadline)
                for _ in range(10):
                    self.assertEqual(client.request("GET", "/").status, 200)
                    sent += 1
        self.assertGreaterEqual(proxy.stat("cluster.up.membership_change"), 12)
        proxy.wait_stat("cluster.up.upstream_rq_2xx", sent)


if __name__ == "__main__":
    unittest.main()
