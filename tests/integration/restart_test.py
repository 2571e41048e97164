"""A new daemon in the place of an old one, without a gap: both listen (SO_REUSEPORT), the new one takes the fast path
over, the old one drains. No connect fails meanwhile, whether it is balanced, captured or neither.
"""
import contextlib
import json
import signal
import subprocess
import sys

from support import configs
from support.captured import V4, CaptureCase, capture_listener
from support.ports import free_port
from support.process import wait_until
from support.proxy import Proxy, run

# Dials the targets in turn until its standard input ends: a line for each that failed, and their number at the end.
RUNNER = """
import errno, json, select, socket, sys
targets, number = json.loads(sys.argv[1]), 0
while not select.select([sys.stdin], [], [], 0)[0]:
    host, port, names = targets[number % len(targets)]
    word, said = f"word{number}", b""
    with socket.socket() as sock:
        sock.settimeout(20)
        try:
            sock.connect((host, port))
            sock.sendall(word.encode())
            while data := sock.recv(4096):
                said += data
            if said.decode() not in [f"{name} {word}" for name in names]:
                print(f"{host}:{port} said {said!r}", flush=True)
        except OSError as error:
            print(f"{host}:{port} {errno.errorcode.get(error.errno, error)}", flush=True)
    number += 1
print(number)
"""
SERVICE = 15100


class RestartTest(CaptureCase):
    def configuration(self, admin_port, ports, more=""):
        """A service that is balanced inside connect(), and a capture listener."""
        listeners = [capture_listener(configs.tcp_proxy("original")),
                     configs.listener(SERVICE, configs.tcp_proxy("up", stat_prefix="service"), name="service")]
        clusters = [configs.original_dst_cluster("original"), configs.cluster("up", *ports)]
        part = "capture: { listeners: [capture4] }\n                connect_time: { listeners: [service] }"
        return configs.bootstrap(admin_port, listeners, clusters, self.extension(part, more))

    def daemon(self, ports, *flags, more="worker_steering: {}", **options):
        admin_port = free_port()
        return self.enterContext(Proxy(self.configuration(admin_port, ports, more), admin_port, *flags, concurrency=2,
                                       wrapper=self.inside(), **options))

    @contextlib.contextmanager
    def clients(self, targets, counts, steered):
        """Some that dial all the while; at the end they say what went wrong."""
        said = []
        wrapper = self.inside() if steered else []
        with contextlib.ExitStack() as stack:
            runners = [stack.enter_context(subprocess.Popen(
                [*wrapper, sys.executable, "-c", RUNNER, json.dumps(targets)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True)) for _ in range(2)]
            for runner in runners:
                stack.callback(runner.kill)
            yield
            for runner in runners:
                lines = runner.communicate(timeout=60)[0].splitlines()
                said += lines[:-1]
                counts.append(int(lines[-1]))
        self.assertEqual(said, [])

    def check_switches(self, **options):
        ends = [self.server("one", "127.0.0.1"), self.server("two", "127.0.0.1")]
        captured = self.server("three")
        counts = []
        old = self.daemon(ends, drain_s=30, **options)
        with self.clients([("127.0.0.1", SERVICE, ["one", "two"]), (V4, captured, ["three"])], counts, True), \
             self.clients([("127.0.0.1", SERVICE, ["one", "two"])], counts, False):
            for _ in range(3):
                new = self.daemon(ends, "--restart-epoch", "1", drain_s=30, **options)
                self.wait_until(lambda old=old: "another daemon has taken over" in old.log(), "the old one gives up")
                self.assertEqual(old.stat("fastpath.active"), 0)
                self.assertEqual(new.stat("fastpath.active"), 1)
                seen = new.stat("fastpath.captured")
                self.wait_until(lambda: new.stat("fastpath.captured") > seen + 20, "connections of both")
                old.signal(signal.SIGTERM)
                self.assertEqual(old.wait_exit(), 0)
                seen = new.stat("fastpath.captured")
                self.wait_until(lambda: new.stat("fastpath.captured") > seen + 20, "connections of the new one")
                old = new
        self.assertGreater(min(counts), 50)
        return old

    def test_three_restarts_lose_nothing(self):
        newest = self.check_switches()
        self.assertGreater(newest.stat("fastpath.balanced_tcp"), 0)
        status = run("fastpath", "status", "--pin-directory", self.pins)
        self.assertIn("daemon alive", status.text)
        self.assertIn(f"service tcp 127.0.0.1:{SERVICE}", status.text)

    def test_links_are_adopted(self):
        old = self.daemon([self.server("one", "127.0.0.1")])
        links = self.links()
        self.assertIn("connect4", links)
        new = self.daemon([self.server("two", "127.0.0.1")], "--restart-epoch", "1")
        self.assertEqual(self.links(), links)
        page = json.loads(new.admin("/fastpath?format=json")[1])
        self.assertEqual(len(page["services"][0]["endpoints"]), 1)
        self.check(self.dial(("127.0.0.1", SERVICE)), "two", ("127.0.0.1", SERVICE))
        page = json.loads(old.admin("/fastpath?format=json")[1])
        self.assertFalse(page["active"])
        self.assertEqual(page["off"], "another daemon has taken over")

    def links(self):
        """Program to the id of its link."""
        text = run("fastpath", "status", "--pin-directory", self.pins).out
        return {line.split()[1]: line.split()[3] for line in text.splitlines() if line.startswith("program ")}

    def test_the_old_one_keeps_its_connections_while_it_drains(self):
        port = self.server("there")
        old = self.daemon([port], drain_s=60)
        with subprocess.Popen([*self.inside(), sys.executable, "-c", HELD, V4, str(port)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as client:
            self.addCleanup(client.kill)
            self.assertEqual(client.stdout.readline(), "connected\n")
            self.wait_until(lambda: old.stat("cluster.original.upstream_cx_active") == 1, "both sides are connected")
            old.signal(signal.SIGTERM)
            self.wait_until(lambda: "draining" in old.log(), "the drain")
            new = self.daemon([port])  # needs no flag: who drains has given up
            self.assertEqual(new.stat("fastpath.active"), 1)
            self.check(self.dial((V4, port)), "there", (V4, port))
            self.assertEqual(new.stat("tcp.tcp.downstream_cx_total"), 1)
            self.assertEqual(client.communicate("\n", timeout=20)[0], "there hello\n")
        self.assertEqual(old.wait_exit(), 0)
        self.check(self.dial((V4, port)), "there", (V4, port))

    def test_a_second_daemon_is_told_what_to_do(self):
        port = self.server("one", "127.0.0.1")
        old = self.daemon([port])
        admin_port = free_port()
        second = self.enterContext(Proxy(self.configuration(admin_port, [port], "worker_steering: {}"), admin_port))
        off = json.loads(second.admin("/fastpath?format=json")[1])["off"]
        self.assertIn("belongs to a living daemon: end that one", off)
        self.assertIn("--restart-epoch 1", off)
        self.assertEqual(old.stat("fastpath.active"), 1)

    def test_one_that_was_killed_leaves_its_place(self):
        port = self.server("one", "127.0.0.1")
        old = self.daemon([port], expect_exit=-9)
        old.signal(signal.SIGKILL)
        wait_until(lambda: not old.process.running(), 5, "the daemon is dead")
        self.assertEqual(self.daemon([port], "--restart-epoch", "1").stat("fastpath.active"), 1)


# Connects, waits for a line, says a word.
HELD = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as sock:
    print("connected", flush=True)
    sys.stdin.readline()
    sock.sendall(b"hello")
    print(sock.recv(4096).decode(), flush=True)
"""
