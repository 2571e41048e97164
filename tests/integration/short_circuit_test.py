"""Local apps joined past the daemon's TCP proxy: the same bytes and ends with it and without."""
import json
import os
import random
import signal
import socket
import time
import unittest
import uuid

from support import configs
from support.case import ProxyCase
from support.plain import Listening, Plain
from support.process import wait_until
from support.proxy import run


class ShortCircuitTest(ProxyCase):
    def setUp(self):
        self.pins = f"/sys/fs/bpf/millrace-test-{uuid.uuid4().hex[:12]}"
        self.addCleanup(run, "fastpath", "detach", "--force", "--pin-directory", self.pins)
        self.server = self.enterContext(Listening())

    def begin(self, on=True, proxy_extra="", access_log=(), listeners=("front",), policy="FIXED", **options):
        """The daemon in front of the server; this process's cgroup is the daemon's, whose apps take part."""
        extra = f"""
            bootstrap_extensions:
            - name: millrace.fastpath
              typed_config:
                "@type": type.googleapis.com/millrace.fastpath.v1.FastPath
                pin_directory: {self.pins}
                short_circuit: {{ cgroups: [/], listeners: [{", ".join(listeners)}], policy: {policy} }}
            """
        proxy = self.start(
            [lambda port: configs.listener(port, configs.tcp_proxy("up", extra=proxy_extra, access_log=access_log)),
             lambda port: configs.listener(port, configs.tcp_proxy("other"), name="other")],
            [configs.cluster("up", self.server.port), configs.cluster("other")], extra=extra if on else "", **options)
        if on and policy != "AUTO" and not proxy.stat("fastpath.splice.joined_v4"):
            self.skipTest("this kernel fails a probe of joined pairs")
        return proxy

    def connect(self, proxy):
        """Two apps connected through the daemon."""
        client = self.enterContext(Plain.dial(proxy.port))
        return client, self.enterContext(self.server.accept())

    def ping(self, client, server, data=b"ping" * 16):
        """There and back again."""
        client.send(data)
        self.assertEqual(server.receive_exactly(len(data)), data)
        server.send(data)
        self.assertEqual(client.receive_exactly(len(data)), data)
        return len(data)

    def join(self, proxy):
        """Two apps whose messages are redirected, and the bytes that went one way until then."""
        client, server = self.connect(proxy)
        sent = 0
        deadline = time.monotonic() + 10
        while proxy.stat("fastpath.splice.redirected_joined") < 4:
            self.assertLess(time.monotonic(), deadline, proxy.admin("/fastpath")[1])
            sent += self.ping(client, server)
        return client, server, sent

    def test_apps_are_joined_and_read_the_same_bytes(self):
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(on, concurrency=2)
                client, server = self.connect(proxy)
                chance = random.Random(7)
                sent = sum(self.ping(client, server, chance.randbytes(chance.randint(1, 40_000))) for _ in range(200))
                if on:
                    self.assertGreater(proxy.stat("fastpath.splice.redirected_joined"), 100)
                    page = json.loads(proxy.admin("/fastpath?format=json")[1])["short_circuit"]
                    self.assertEqual(page["joined_pairs"], 1)
                client.close()
                self.assertEqual(server.receive_all(), b"")
                server.close()
                proxy.wait_stat("cluster.up.upstream_cx_active", 0)
                # Counted are all of them, whichever way they went.
                for name in ("tcp.tcp.downstream_cx_rx_bytes_total", "tcp.tcp.downstream_cx_tx_bytes_total",
                             "cluster.up.upstream_cx_rx_bytes_total", "cluster.up.upstream_cx_tx_bytes_total"):
                    proxy.wait_stat(name, sent)

    def test_one_side_may_end_before_the_other(self):
        proxy = self.begin()
        client, server, _ = self.join(proxy)
        client.send(b"the last of it")
        client.end()
        self.assertEqual(server.receive_all(), b"the last of it")
        server.send(b"answer" * 1000)
        server.end()
        self.assertEqual(client.receive_all(), b"answer" * 1000)
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)

    def test_closing_over_unread_bytes_resets_the_other_side(self):
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(on)
                client, server = self.join(proxy)[:2] if on else self.connect(proxy)
                server.send(b"unread")
                client.receive_exactly(1)
                client.close()
                with self.assertRaises(ConnectionResetError):
                    server.receive()
                proxy.wait_stat("cluster.up.upstream_cx_active", 0)

    def test_traffic_past_the_daemon_keeps_a_connection_from_being_idle(self):
        log = configs.file_log("a.log", "%BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS%")
        proxy = self.begin(proxy_extra="idle_timeout: 0.4s", access_log=[log],
                           flags=["--file-flush-interval-msec", "50"])
        client, server, sent = self.join(proxy)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            sent += self.ping(client, server)
        self.assertEqual(proxy.stat("tcp.tcp.idle_timeout"), 0)
        self.assertEqual(client.receive_all(), b"")  # now it is idle
        self.assertEqual(proxy.stat("tcp.tcp.idle_timeout"), 1)
        self.wait_until(lambda: os.path.exists(proxy.path("a.log")) and proxy.process.read("a.log"))
        self.assertEqual(proxy.process.read("a.log").split(), [str(sent), str(sent), "SI"])

    def test_an_app_that_blocks_is_left_alone(self):
        proxy = self.begin()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=None) as client:
            server = self.enterContext(self.server.accept())
            for _ in range(20):
                client.sendall(b"ping")
                self.assertEqual(server.receive_exactly(4), b"ping")
                server.send(b"pong")
                self.assertEqual(client.recv(4, socket.MSG_WAITALL), b"pong")
            self.assertGreater(proxy.stat("fastpath.splice.member_blocking"), 0)
            self.assertEqual(proxy.stat("fastpath.splice.redirected_joined"), 0)

    def test_nothing_is_left_of_connections_that_ended(self):
        proxy = self.begin(concurrency=2)
        for turn in range(100):
            client, server = self.connect(proxy)
            for _ in range(3):
                self.ping(client, server)
            first, second = (client, server) if turn % 2 else (server, client)
            first.close()
            self.assertEqual(second.receive_all(), b"")
            second.close()
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)
        self.assertGreater(proxy.stat("fastpath.splice.redirected_joined"), 0)
        page = json.loads(proxy.admin("/fastpath?format=json")[1])["short_circuit"]
        self.assertEqual((page["joined_pairs"], page["members"]), (0, []))

    def test_a_flow_in_one_direction_stays_with_the_daemon(self):
        proxy = self.begin()
        client, server = self.connect(proxy)
        for _ in range(100):
            client.send(b"one way")
            self.assertEqual(server.receive_exactly(7), b"one way")
        server.send(b"answer")
        self.assertEqual(client.receive_exactly(6), b"answer")
        self.assertGreater(proxy.stat("fastpath.splice.record_added"), 0)
        self.assertEqual(proxy.stat("fastpath.splice.member_added"), 0)

    def test_auto_shows_what_it_measured_and_the_rule_that_follows(self):
        proxy = self.begin(policy="AUTO")
        page = json.loads(proxy.admin("/fastpath?format=json")[1])["short_circuit"]["auto"]
        self.assertEqual(page["policy"], "AUTO")
        self.assertIn("rule: auto: hops", proxy.admin("/fastpath")[1])
        self.assertGreater(proxy.stat("fastpath.splice.turn_bytes_max"), 0)
        if "not_measured" in page:  # a machine that has no time for it: as if it paid
            self.assertRegex(page["not_measured"], "it took too long$")
            self.assertEqual((page["hops"], page["joined"]), (True, True))
            return
        self.assertEqual([row["message_bytes"] for row in page["measured"]], [64, 1024, 16384, 262144])
        for row in page["measured"]:
            for way in ("direct", "userspace", "hop", "joined"):
                self.assertGreater(row[way]["round_trip_us"], 0)
        self.assertLess(page["measured_in_us"], 2_000_000)  # a fifth of a second, on a machine that does nothing else
        self.assertEqual(proxy.stat("fastpath.splice.measured"), 1)
        # Whatever this machine measured: what is used follows from it.
        for way, used in (("hop", page["hops"]), ("joined", page["joined"])):
            pays = all(row[way]["round_trip_us"] <= 1.05 * row["userspace"]["round_trip_us"]
                       for row in page["measured"][:2])
            self.assertEqual(used, pays, page)
            self.assertEqual(proxy.stat(f"fastpath.splice.{way}_v4"), int(pays))

    def test_fixed_decides_without_measuring(self):
        proxy = self.begin()
        page = json.loads(proxy.admin("/fastpath?format=json")[1])["short_circuit"]["auto"]
        self.assertEqual((page["policy"], page["hops"], page["joined"]), ("FIXED", True, True))
        self.assertEqual((page["turns_min"], page["turn_bytes_max"], page["measured"]), (2, 1 << 20, []))
        self.assertIn("rule: fixed: hops on, joined pairs after 2 turns", proxy.admin("/fastpath")[1])
        self.assertEqual(proxy.stat("fastpath.splice.measured"), 0)

    def test_always_joins_with_the_first_bytes(self):
        proxy = self.begin(policy="ALWAYS")
        client, server = self.connect(proxy)
        client.send(b"one way ")
        self.assertEqual(server.receive_exactly(8), b"one way ")
        for _ in range(100):  # until the daemon has said that it handed the first bytes on
            client.send(b"one way ")
            self.assertEqual(server.receive_exactly(8), b"one way ")
        self.assertGreater(proxy.stat("fastpath.splice.redirected_joined"), 0)
        self.assertEqual(proxy.stat("fastpath.splice.join_offered"), 1)
        self.assertEqual(proxy.stat("fastpath.splice.pairs"), 1)
        self.assertEqual(proxy.stat("fastpath.splice.measured"), 0)
        client.close()
        self.assertEqual(server.receive_all(), b"")
        server.close()
        proxy.wait_stat("fastpath.splice.pairs", 0)
        self.assertEqual(proxy.stat("fastpath.splice.join_paid"), 1)

    def test_pairs_that_cost_make_the_next_ones_wait(self):
        proxy = self.begin(concurrency=1)
        client, server, _ = self.join(proxy)
        data, sent, got = bytes(1 << 20), 0, 0
        while not proxy.stat("fastpath.splice.join_cost"):  # the reader is behind: through the daemon
            self.assertLess(sent, 1 << 30)
            try:
                sent += client.sock.send(data)
            except BlockingIOError:
                got += len(server.receive(1 << 18))
        client.end()
        self.assertEqual(got + len(server.receive_all()), sent)
        client, server = self.connect(proxy)
        before = proxy.stat("fastpath.splice.join_offered")
        for _ in range(2):
            self.ping(client, server)
        self.assertEqual(proxy.stat("fastpath.splice.join_offered"), before)
        self.ping(client, server)
        self.assertEqual(proxy.stat("fastpath.splice.join_offered"), before + 1)

    def test_a_flood_of_small_messages_counts_as_a_pair_that_cost(self):
        proxy = self.begin(concurrency=1)
        client, server, _ = self.join(proxy)
        for _ in range(5000):
            client.send(b"small")
            self.assertEqual(server.receive_exactly(5), b"small")
        client.close()
        self.assertEqual(server.receive_all(), b"")
        server.close()
        proxy.wait_stat("fastpath.splice.join_cost", 1)
        self.assertEqual(proxy.stat("fastpath.splice.join_paid"), 0)

    def test_a_listener_that_is_not_named_joins_nobody(self):
        proxy = self.begin(listeners=("other",))
        client, server = self.connect(proxy)
        for _ in range(20):
            self.ping(client, server)
        self.assertEqual(proxy.stat("fastpath.splice.record_added"), 0)

    def test_a_dead_daemon_ends_both_connections(self):
        proxy = self.begin(expect_exit=-9)
        client, server, _ = self.join(proxy)
        proxy.signal(signal.SIGKILL)
        wait_until(lambda: not proxy.process.running(), 5, "the daemon is dead")
        for app in (client, server):
            try:
                self.assertEqual(app.receive_all(), b"")
            except ConnectionResetError:
                pass

    def test_bulk_arrives_whole_while_the_reader_is_slow(self):
        proxy = self.begin()
        client, server, _ = self.join(proxy)
        data = random.Random(9).randbytes(1 << 20)
        got = bytearray()
        for _ in range(32):  # more than sender, kernel and daemon hold before the reader begins
            view = memoryview(data)
            while view:
                try:
                    view = view[client.sock.send(view):]
                except BlockingIOError:
                    got += server.receive(1 << 18)
        client.end()
        got += server.receive_all()
        self.assertEqual(bytes(got), data * 32)


if __name__ == "__main__":
    unittest.main()
