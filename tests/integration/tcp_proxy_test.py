"""tcp_proxy: bytes both ways, half-closes, connect attempts, weights, timeouts, counters."""
import os
import threading

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import Closed
from support.ports import free_port


def read_all(client):
    return client.reader.rest()


class TcpProxyTest(ProxyCase):
    def test_carries_bytes_both_ways(self):
        proxy = self.tcp_to(self.upstream(upstream.echo_tcp))
        client = self.client(proxy.port)
        client.send(b"hello")
        self.assertEqual(client.reader.exactly(5), b"hello")
        client.send(b"again")
        self.assertEqual(client.reader.exactly(5), b"again")

    def test_carries_megabytes_unchanged(self):
        proxy = self.tcp_to(self.upstream(upstream.echo_tcp))
        client = self.client(proxy.port, timeout_s=30)
        data = os.urandom(8 << 20)

        def send():
            client.send(data)
            client.half_close()
        sender = threading.Thread(target=send)
        sender.start()
        received = read_all(client)
        sender.join()
        self.assertEqual(len(received), len(data))
        self.assertTrue(received == data, "bytes changed on the way")

    def test_a_client_may_half_close_and_still_read(self):
        def script(peer):
            received = peer.reader.rest()
            peer.send(b"got " + received)
        proxy = self.tcp_to(self.upstream(script))
        client = self.client(proxy.port)
        client.send(b"request")
        client.half_close()
        self.assertEqual(read_all(client), b"got request")

    def test_an_upstream_may_half_close_and_still_read(self):
        received = []

        def script(peer):
            peer.send(b"banner")
            peer.half_close()
            received.append(peer.reader.rest())
        proxy = self.tcp_to(self.upstream(script))
        client = self.client(proxy.port)
        self.assertEqual(read_all(client), b"banner")
        client.send(b"late words")
        client.half_close()
        self.wait_until(lambda: received, "the upstream reads to the end")
        self.assertEqual(received, [b"late words"])

    def test_an_upstream_that_speaks_first_is_heard(self):
        def script(peer):
            peer.send(b"220 ready\r\n")
            peer.reader.rest()
        proxy = self.tcp_to(self.upstream(script))
        self.assertEqual(self.client(proxy.port).reader.until(b"\r\n"), b"220 ready")

    def test_a_reset_by_the_upstream_resets_the_client(self):
        def script(peer):
            peer.reader.exactly(4)
            peer.reset()
        proxy = self.tcp_to(self.upstream(script))
        client = self.client(proxy.port)
        client.send(b"ping")
        self.assertEqual(client.end(), "reset")
        proxy.wait_stat("tcp.tcp.downstream_cx_active" if "tcp.tcp.downstream_cx_active" in proxy.stats()
                        else f"listener.127.0.0.1_{proxy.port}.downstream_cx_active", 0)

    def test_an_orderly_end_of_the_upstream_does_not_reset_the_client(self):
        def script(peer):
            peer.reader.exactly(4)
        proxy = self.tcp_to(self.upstream(script))
        client = self.client(proxy.port)
        client.send(b"ping")
        self.assertEqual(client.end(), "fin")

    def test_a_reset_by_the_client_resets_the_upstream(self):
        ends = []

        def script(peer):
            peer.send(peer.reader.exactly(4))
            try:
                ends.append(peer.sock.recv(1))
            except ConnectionResetError:
                ends.append("reset")
        server = self.upstream(script)
        proxy = self.tcp_to(server)
        client = self.client(proxy.port)
        client.send(b"ping")
        client.reader.exactly(4)
        client.reset()
        self.wait_until(lambda: ends, "the upstream's connection ends")
        self.assertEqual(ends, ["reset"])
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)

    def test_closes_the_client_when_no_upstream_answers(self):
        proxy = self.start([lambda port: configs.listener(port, configs.tcp_proxy("up"))],
                           [configs.cluster("up", free_port())])
        self.assertTrue(self.client(proxy.port).is_closed())
        proxy.wait_stat("cluster.up.upstream_cx_connect_fail", 1)

    def test_tries_the_next_host_up_to_max_connect_attempts(self):
        server = self.upstream(upstream.echo_tcp)
        dead = free_port()
        proxy = self.start([lambda port: configs.listener(port, configs.tcp_proxy(
            "up", extra="max_connect_attempts: 2"))], [configs.cluster("up", dead, server.port)])
        for _ in range(4):
            client = self.client(proxy.port)
            client.send(b"ping")
            self.assertEqual(client.reader.exactly(4), b"ping")
        self.assertGreaterEqual(proxy.stat("cluster.up.upstream_cx_connect_fail"), 1)

    def test_closes_the_client_when_the_cluster_is_empty(self):
        proxy = self.start([lambda port: configs.listener(port, configs.tcp_proxy("up"))], [configs.cluster("up")])
        self.assertTrue(self.client(proxy.port).is_closed())
        proxy.wait_stat("cluster.up.upstream_cx_none_healthy", 1)

    def test_weighted_clusters_share_connections(self):
        def greet(word):
            def script(peer):
                peer.send(word)
            return script
        one, two = self.upstream(greet(b"one")), self.upstream(greet(b"two"))
        weighted = """
            weighted_clusters:
              clusters:
              - { name: one, weight: 1 }
              - { name: two, weight: 3 }
        """
        proxy = self.start([lambda port: configs.listener(port, configs.tcp_proxy(extra=weighted))],
                           [configs.cluster("one", one.port), configs.cluster("two", two.port)])
        seen = [read_all(self.client(proxy.port)) for _ in range(200)]
        # 200 draws at 3/4: mean 150, standard deviation 6; ten of them on either side.
        self.assertLess(abs(seen.count(b"two") - 150), 60)
        self.assertEqual(seen.count(b"one") + seen.count(b"two"), 200)

    def test_idle_timeout_closes_both_sides(self):
        server = self.upstream(upstream.echo_tcp)
        proxy = self.tcp_to(server, extra="idle_timeout: 0.3s")
        client = self.client(proxy.port)
        client.send(b"ping")
        client.reader.exactly(4)
        self.assertTrue(client.is_closed())
        self.wait_until(lambda: server.open_connections == 0, "the upstream's connection ends")
        proxy.wait_stat("tcp.tcp.idle_timeout", 1)

    def test_counts_connections_and_bytes(self):
        proxy = self.tcp_to(self.upstream(upstream.echo_tcp))
        client = self.client(proxy.port)
        client.send(b"x" * 1000)
        client.reader.exactly(1000)
        client.close()
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)
        for name, value in {"tcp.tcp.downstream_cx_total": 1, "tcp.tcp.downstream_cx_rx_bytes_total": 1000,
                            "tcp.tcp.downstream_cx_tx_bytes_total": 1000, "cluster.up.upstream_cx_total": 1,
                            "cluster.up.upstream_cx_tx_bytes_total": 1000,
                            "cluster.up.upstream_cx_rx_bytes_total": 1000,
                            f"listener.127.0.0.1_{proxy.port}.downstream_cx_total": 1}.items():
            with self.subTest(name):
                proxy.wait_stat(name, value)

    def test_writes_an_access_log_line_per_connection(self):
        server = self.upstream(upstream.echo_tcp)
        log = configs.file_log("tcp.log", "%PROTOCOL% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST% "
                               "%UPSTREAM_CLUSTER% %RESPONSE_FLAGS%")
        proxy = self.tcp_to(server, access_log=[log], flags=["--file-flush-interval-msec", "50"])
        client = self.client(proxy.port)
        client.send(b"12345")
        client.reader.exactly(5)
        client.close()
        self.wait_until(lambda: os.path.exists(proxy.path("tcp.log")) and proxy.process.read("tcp.log"), "a log line")
        self.assertEqual(proxy.process.read("tcp.log"), f"- 5 5 127.0.0.1:{server.port} up -\n")

    def test_many_connections_come_and_go(self):
        proxy = self.tcp_to(self.upstream(upstream.echo_tcp), concurrency=2)
        for round_number in range(10):
            clients = [self.client(proxy.port) for _ in range(50)]
            for i, client in enumerate(clients):
                client.send(b"%d %d;" % (round_number, i))
            for i, client in enumerate(clients):
                try:
                    self.assertEqual(client.reader.until(b";"), b"%d %d" % (round_number, i))
                except Closed as error:
                    self.fail(f"connection {i} of round {round_number}: {error}")
                client.close()
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)
        proxy.wait_stat("cluster.up.upstream_cx_total", 500)
