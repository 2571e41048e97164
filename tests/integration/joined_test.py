"""Joined pairs through the real daemon, at the edges: families, apps and daemons that die, drains, readers that sleep,
and a soak: MILLRACE_SOAK_S=180 makes it last minutes.
"""
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time

from support import configs
from support.captured import V4, V6
from support.joined import Duplex, JoinedCase
from support.namespaces import Namespace
from support.plain import Listening, Plain
from support.process import wait_until

SOAK_S = float(os.environ.get("MILLRACE_SOAK_S", "4"))
MIB = 1 << 20


def tcp_memory():
    """Bytes that TCP holds on this machine."""
    with open("/proc/net/sockstat", encoding="ascii") as f:
        line = next(line.split() for line in f if line.startswith("TCP:"))
    return int(line[line.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE")


def unreclaimable():
    """Bytes of the kernel's own objects."""
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("SUnreclaim:"))


def listens(port):
    """Whether an IPv4 socket of this namespace listens on the port."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        sockets = [line.split() for line in f][1:]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in sockets)


class FamiliesTest(JoinedCase):
    def check(self, address, family=4, **options):
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(on=on, family=family, **options)
                client, server = self.connect(proxy, address)
                if on:
                    self.join(proxy, client, server)
                seed = random.randrange(1 << 32)
                with self.subTest(seed=seed):
                    Duplex(client, server).talk(random.Random(seed), 0.5)
                client.end()
                self.assertEqual(server.receive_all(), b"")
                server.close()
                self.assertEqual(client.receive_all(), b"")
                client.close()
                proxy.wait_stat("cluster.up.upstream_cx_active", 0)

    def test_ipv6(self):
        self.check("::1", 6, listen="::1", server="::1")

    def test_a_client_that_dials_a_mapped_address(self):
        self.check("::ffff:127.0.0.1")

    def test_a_listener_of_both_families(self):
        self.check("127.0.0.1", listen="::", both_families=True)

    def test_a_server_whose_ipv4_clients_are_mapped(self):
        self.check("127.0.0.1", server="::")

    def test_a_client_of_ipv4_and_a_server_of_ipv6(self):
        self.check("127.0.0.1", server="::1")

    def test_a_client_of_ipv6_and_a_server_of_ipv4(self):
        self.check("::1", listen="::1")


class EndsTest(JoinedCase):
    def test_a_server_that_is_killed_ends_its_client(self):
        proxy = self.begin()
        script = ("import socket, sys, time\n"
                  "sock = socket.socket(fileno=0)\n"
                  "sock.setblocking(False)\n"
                  "print('ready', flush=True)\n"
                  "time.sleep(60)\n")
        for unread in (b"", b"never read"):
            with self.subTest(unread=unread):
                client, server = self.joined(proxy)
                server.send(b"the last words")
                with subprocess.Popen([sys.executable, "-c", script], stdin=server.sock, stdout=subprocess.PIPE) as app:
                    server.close()  # the other process has it alone
                    self.assertEqual(app.stdout.readline(), b"ready\n")
                    if unread:
                        client.send(unread)
                    app.kill()
                said = b""
                try:
                    while piece := client.receive():
                        said += piece
                except ConnectionResetError:
                    pass
                # A reset may overtake what was not read yet; an orderly end may not.
                self.assertIn(said, (b"the last words",) if not unread else (b"the last words", b""))
                client.close()
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)

    def test_a_server_that_resets_resets_its_client(self):
        proxy = self.begin()
        client, server = self.joined(proxy)
        server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        with self.assertRaises(ConnectionResetError):
            client.receive()
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)

    def test_a_joined_pair_outlives_its_endpoints_listener(self):
        proxy = self.begin()
        client, server = self.joined(proxy)
        self.server.sock.close()
        for _ in range(20):
            self.ping(client, server)
        late = self.enterContext(Plain.dial(proxy.port))  # nobody listens there any more
        self.assertEqual(late.receive_all(), b"")
        self.ping(client, server)

    def test_a_drain_waits_for_joined_pairs(self):
        proxy = self.begin(drain_s=60)
        client, server = self.joined(proxy)
        self.assertTrue(listens(proxy.port))
        proxy.signal(signal.SIGTERM)
        # Not by dialling, which would begin a session that the drain waits for.
        wait_until(lambda: not listens(proxy.port), what="the listener closes")
        with self.assertRaises(ConnectionRefusedError):
            Plain.dial(proxy.port)
        before = self.redirected(proxy)
        for _ in range(50):
            self.ping(client, server)
        self.assertGreater(self.redirected(proxy), before)
        self.assertTrue(proxy.process.running())
        client.end()
        self.assertEqual(server.receive_all(), b"")
        server.close()
        self.assertEqual(proxy.wait_exit(), 0)

    def test_a_drain_that_takes_too_long_ends_joined_pairs(self):
        proxy = self.begin(drain_s=1)
        client, server = self.joined(proxy)
        proxy.signal(signal.SIGTERM)
        self.assertEqual(proxy.wait_exit(), 0)
        for app in (client, server):
            try:
                self.assertEqual(app.receive_all(), b"")
            except ConnectionResetError:
                pass

    def test_sighup_and_sigusr1_change_nothing(self):
        proxy = self.begin()
        client, server = self.joined(proxy)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            proxy.signal(number)
            for _ in range(20):
                self.ping(client, server)
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_active"), 1)

    def test_a_thousand_connections_while_the_daemon_is_killed(self):
        """Each is answered whole, or ends; nobody waits for ever, nobody reads what another one was sent."""
        whole = broken = 0
        proxy = self.begin(expect_exit=-9, concurrency=2)
        for turn in range(1000):
            if turn % 100 == 50:
                open_ones = [self.connect(proxy) for _ in range(5)]
                for number, (client, server) in enumerate(open_ones):
                    for _ in range(number):  # some are joined by now, some are not
                        self.ping(client, server)
                proxy.signal(signal.SIGKILL)
                wait_until(lambda: not proxy.process.running(), 5, "the daemon is dead")
                for app in (app for pair in open_ones for app in pair):
                    try:
                        self.assertEqual(app.receive_all(), b"")
                    except ConnectionResetError:
                        pass
                    app.close()
                broken += len(open_ones)
                with self.assertRaises(OSError):
                    Plain.dial(proxy.port)
                self.server.sock.close()
                proxy = self.begin(expect_exit=-9 if turn < 900 else 0, concurrency=2)
            with Plain.dial(proxy.port) as client, self.server.accept() as server:
                for size in (10, 1000, 5000):
                    self.ping(client, server, f"{turn}".encode() * size)
                whole += 1
        self.assertEqual((whole, broken), (1000, 50))
        self.assertGreater(self.redirected(proxy), 0)


class SleepingReaderTest(JoinedCase):
    def check_sleeper(self, proxy, client, server, size):
        """A writer of 2 GiB whose reader sleeps at first: send blocks, little waits, then all of it arrives."""
        duplex = Duplex(client, server)
        before = tcp_memory()
        blocked_since = time.monotonic()
        while time.monotonic() < blocked_since + 1.0:  # nothing has been taken for a second
            if duplex.send(0, size):
                blocked_since = time.monotonic()
            else:
                time.sleep(0.001)
        accepted, grown = duplex.ways[0][2].sent, tcp_memory() - before
        self.assertLess(accepted, 64 * MIB)
        self.assertLess(grown, 64 * MIB)
        self.ping_back(duplex)
        total = 2048 * MIB if size > 4096 else 8 * MIB
        deadline = time.monotonic() + 100
        while duplex.ways[0][2].sent < total:
            self.assertLess(time.monotonic(), deadline)
            if duplex.send(0, 4 * size) + duplex.receive(0, MIB) == 0:
                time.sleep(0.0002)
        duplex.settle()
        self.assertLess(tcp_memory() - before, 64 * MIB)
        return accepted

    def ping_back(self, duplex):
        """The other direction does not wait for this one."""
        stream = duplex.ways[1][2]
        duplex.send(1, 1000)
        wait_until(lambda: duplex.receive(1, 1000) or not stream.waiting, 10, "the way back")

    def test_two_gibibytes(self):
        proxy = self.begin()
        client, server = self.joined(proxy)
        self.check_sleeper(proxy, client, server, 256 << 10)
        self.assertGreater(proxy.stat("fastpath.splice.demoted_slow"), 0)

    def test_small_messages(self):
        proxy = self.begin()
        client, server = self.joined(proxy)
        before = unreclaimable()
        self.check_sleeper(proxy, client, server, 100)
        self.assertLess(unreclaimable() - before, 64 * MIB)

    def test_messages_of_a_byte_do_not_fill_the_kernel(self):
        # Each takes a kilobyte there that no limit of bytes sees.
        proxy = self.begin()
        duplex = Duplex(*self.joined(proxy))
        before, redirected = unreclaimable(), self.redirected(proxy)
        for _ in range(200_000):
            if not duplex.send(0, 1):
                break
        self.assertLess(self.redirected(proxy) - redirected, 4096)
        self.assertLess(unreclaimable() - before, 64 * MIB)
        duplex.settle()
        redirected = self.redirected(proxy)
        for _ in range(100):
            for way in (0, 1):
                duplex.send(way, 1)
                duplex.settle()
        self.assertGreater(self.redirected(proxy), redirected)  # and it goes on as before


class LeavingTest(JoinedCase):
    """Pairs that cost more than they bring: their sockets are TCP's alone again."""

    def fall_behind(self, proxy, duplex):
        """Sends until the daemon has seen that the reader does not keep up."""
        while not proxy.stat("fastpath.splice.join_cost"):
            self.assertLess(duplex.ways[0][2].sent, 1 << 30)
            if not duplex.send(0, MIB):
                duplex.receive(0, 1 << 18)

    def seen(self, proxy):
        """Messages that the message program has seen."""
        names = ("redirected_", "pass_", "demoted_")
        return sum(value for name, value in proxy.stats().items()
                   if name.startswith("fastpath.splice.") and name.rpartition(".")[2].startswith(names)
                   and not name.endswith("_bytes"))

    def check(self, address, family, **options):
        proxy = self.begin(family=family, concurrency=1, **options)
        client, server = self.joined(proxy, address)
        duplex = Duplex(client, server)
        self.fall_behind(proxy, duplex)
        duplex.settle()
        proxy.wait_stat("fastpath.splice.member_left", 2)
        proxy.wait_stat("fastpath.splice.pairs", 0)
        before = self.seen(proxy)
        for way in (0, 1, 0, 1):
            duplex.send(way, 3 * MIB)
            duplex.settle()
        self.assertEqual(self.seen(proxy), before)
        self.join(proxy, client, server)
        client.end()
        self.assertEqual(server.receive_all(), b"")
        server.close()
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)

    def test_a_reader_that_fell_behind_ipv4(self):
        self.check("127.0.0.1", 4)

    def test_a_reader_that_fell_behind_ipv6(self):
        self.check("::1", 6, listen="::1", server="::1")

    def test_a_flood_of_small_messages(self):
        proxy = self.begin(concurrency=1)
        client, server = self.joined(proxy)
        for _ in range(5000):
            client.send(b"small")
            self.assertEqual(server.receive_exactly(5), b"small")
        proxy.wait_stat("fastpath.splice.member_left", 2)
        self.assertEqual(proxy.stat("fastpath.splice.join_cost"), 1)
        before = self.seen(proxy)
        self.ping(client, server)
        self.assertEqual(self.seen(proxy), before)

    def test_a_client_that_ends_while_its_reader_is_behind_ends_in_order(self):
        proxy = self.begin(concurrency=1)
        client, server = self.joined(proxy)
        duplex = Duplex(client, server)
        self.fall_behind(proxy, duplex)
        client.end()
        duplex.ways[0][2].check(server.receive_all())
        self.assertEqual(duplex.ways[0][2].waiting, 0)
        server.send(b"the answer")
        server.close()
        self.assertEqual(client.receive_all(), b"the answer")
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)


class SoakTest(JoinedCase):
    def soak(self, address, family, **options):
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        proxy = self.begin(family=family, concurrency=2, **options)
        pairs = [Duplex(*self.joined(proxy, address)) for _ in range(3)]
        deadline = time.monotonic() + SOAK_S
        with self.subTest(seed=seed):
            while time.monotonic() < deadline:
                chance.choice(pairs).talk(chance, chance.uniform(0.1, min(2.0, SOAK_S)))
                for pair in pairs:
                    pair.settle()
        total = sum(stream.received for pair in pairs for _, _, stream in pair.ways)
        stats = {name.rpartition(".")[2]: value for name, value in proxy.stats().items()
                 if name.startswith("fastpath.splice.") and value}
        print(f"\nsoak to {address}, seed {seed}: {total / MIB:.0f} MiB in {SOAK_S:.0f} s, {stats}")
        self.assertGreater(total, MIB)
        self.assertGreater(stats["redirected_joined"], 100)
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_active"), 3)

    def test_ipv4(self):
        self.soak("127.0.0.1", 4)

    def test_ipv6(self):
        self.soak("::1", 6, listen="::1", server="::1")


class CapturedTest(JoinedCase):
    """Apps that know of no proxy: captured, passed on to where they were going, joined with the server there."""

    def setUp(self):
        super().setUp()
        pod = self.enterContext(Namespace())
        pod.ip("address", "add", f"{V4}/32", "dev", "lo")
        pod.ip("address", "add", f"{V6}/128", "dev", "lo", "nodad")
        self.enterContext(pod.entered())
        with open(f"{self.cgroup}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(os.getpid()))
        self.addCleanup(self.leave_cgroup)

    def leave_cgroup(self):
        with open(f"{os.path.dirname(self.cgroup)}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(os.getpid()))

    def check(self, address, family):
        self.server = self.enterContext(Listening(address))
        loopback = {4: "127.0.0.1", 6: "::1"}[family]
        proxy = self.start_with(
            [lambda port: configs.listener(port, configs.tcp_proxy("original"), address=loopback,
                                           extra=configs.ORIGINAL_DST_FILTER)],
            [configs.original_dst_cluster("original")],
            "capture: { listeners: [front] }\n"
            f"                short_circuit: {{ cgroups: [/{self.name}], listeners: [front], policy: FIXED }}",
            wrapper=self.inside())
        if not proxy.stat(f"fastpath.splice.joined_v{family}"):
            self.skipTest("this kernel fails a probe of joined pairs")
        client = self.enterContext(Plain.dial(self.server.port, address))
        server = self.enterContext(self.server.accept())
        self.assertEqual(client.sock.getpeername()[:2], (address, self.server.port))
        self.join(proxy, client, server)
        self.assertEqual(proxy.stat("fastpath.captured"), 1)
        Duplex(client, server).talk(random.Random(5), 0.5)
        client.close()
        self.assertEqual(server.receive_all(), b"")

    def test_ipv4(self):
        self.check(V4, 4)

    def test_ipv6(self):
        self.check(V6, 6)
