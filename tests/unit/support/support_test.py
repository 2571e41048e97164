"""Tests of tests/support: what the integration tests trust must itself notice a wrong byte."""
import socket
import unittest

import yaml

from support import configs, upstream
from support.http1 import Client, Closed, get
from support.ports import free_port
from support.process import Process, haproxy, nginx
from support.upstream import Upstream


class ClientAndUpstreamTest(unittest.TestCase):
    def upstream(self, script):
        return self.enterContext(Upstream(script))

    def test_request_and_response_are_read_whole(self):
        server = self.upstream(upstream.echo_http)
        with Client(server.port) as client:
            for body in (b"x", b"y" * 3_000_000):
                self.assertEqual(client.request("POST", "/p", [("A", "1")], body).body, body)
        self.assertEqual((server.requests[0].target, server.requests[0]["a"], server.connections), ("/p", "1", 1))

    def test_chunks_and_trailers_are_read(self):
        server = self.upstream(upstream.fixed(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: 1\r\n\r\n"))
        response = get(server.port)
        self.assertEqual((response.body, response.trailers, response.chunked), (b"abc", [("t", "1")], True))

    def test_a_response_cut_short_raises(self):
        server = self.upstream(upstream.fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", close=True))
        with self.assertRaises(Closed):
            get(server.port)

    def test_a_header_given_twice_is_noticed(self):
        server = self.upstream(upstream.fixed(b"HTTP/1.1 200 OK\r\nx: 1\r\nx: 2\r\nContent-Length: 0\r\n\r\n"))
        with self.assertRaises(AssertionError):
            get(server.port)["x"]  # pylint: disable=expression-not-assigned

    def test_a_reset_and_a_close_are_seen(self):
        for script in (upstream.reset_after_request, lambda peer: peer.read_request()):
            server = self.upstream(script)
            with Client(server.port) as client:
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertTrue(client.is_closed())

    def test_an_open_or_talking_connection_is_not_closed(self):
        with Client(self.upstream(upstream.never_answer).port) as client:
            self.assertFalse(client.is_closed(timeout_s=0.1))
        server = self.upstream(upstream.answer())
        with Client(server.port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertFalse(client.is_closed())

    def test_a_violation_fails_the_test_that_uses_the_upstream(self):
        with self.assertRaises(AssertionError):
            with Upstream(upstream.answer()) as server, Client(server.port) as client:
                client.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
                client.reader.rest()


class ProcessTest(unittest.TestCase):
    def test_free_ports_differ_and_can_be_bound(self):
        ports = [free_port() for _ in range(50)]
        self.assertEqual(len(set(ports)), 50)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
            sock.bind(("127.0.0.1", ports[0]))

    def test_nginx_and_haproxy_serve_and_end(self):
        port, front = free_port(), free_port()
        with nginx(port, 'location / { return 200 "from nginx"; }') as one:
            with haproxy(front, f"frontend f\n  mode http\n  bind 127.0.0.1:{front}\n  default_backend b\n"
                                f"backend b\n  mode http\n  server s 127.0.0.1:{port}\n") as two:
                self.assertEqual(get(front).body, b"from nginx")
                self.assertGreater(two.rss_kib(), 1000)
            self.assertFalse(two.running())
        self.assertFalse(one.running())

    def test_output_and_exit_code_are_kept(self):
        with Process(["sh", "-c", "echo out; echo err >&2; exit 3"]) as process:
            self.assertEqual(process.wait_exit(), 3)
            self.assertEqual((process.read("stdout"), process.read("stderr")), ("out\n", "err\n"))


class ConfigsTest(unittest.TestCase):
    def test_pieces_make_yaml(self):
        text = configs.bootstrap(1, [
            configs.listener(2, configs.hcm(configs.route("a"), configs.direct(), extra="via: x",
                                            access_log=[configs.file_log("a.log", "%REQ(X)% 'q'")])),
            configs.listener(3, configs.tcp_proxy("a", extra="idle_timeout: 1s"), name="tcp")],
            [configs.cluster("a", 1, (2, 3), extra="lb_policy: RANDOM"), configs.cluster("empty")])
        tree = yaml.safe_load(text)
        front, tcp = tree["static_resources"]["listeners"]
        manager = front["filter_chains"][0]["filters"][0]["typed_config"]
        self.assertEqual(manager["via"], "x")
        self.assertEqual(len(manager["route_config"]["virtual_hosts"][0]["routes"]), 2)
        self.assertEqual(manager["access_log"][0]["typed_config"]["log_format"]["text_format_source"],
                         {"inline_string": "%REQ(X)% 'q'\n"})
        self.assertEqual(tcp["filter_chains"][0]["filters"][0]["typed_config"]["idle_timeout"], "1s")
        cluster, empty = tree["static_resources"]["clusters"]
        self.assertEqual(cluster["lb_policy"], "RANDOM")
        self.assertEqual(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][1]["load_balancing_weight"], 3)
        self.assertEqual(empty["load_assignment"]["endpoints"], [])


if __name__ == "__main__":
    unittest.main()
