"""The kernel fast path through the daemon: the same bytes with it and without, and what operators see.

Everything is confined to a cgroup of its own and a pin folder of its own; both go, whatever happens.
"""
import json
import os
import signal
import socket
import subprocess
import sys

from support import configs, upstream
from support.process import wait_until
from support.proxy import BINARY, run
from support.steered import SteeredCase


class FastPathTest(SteeredCase):
    def fetch(self, port, times=1):
        """Bodies that curl gets in the cgroup, a connection each."""
        return [self.in_cgroup("curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{port}/") for _ in range(times)]

    def balanced(self, part="connect_time: { listeners: [front] }", **options):
        servers = [self.upstream(upstream.answer(body)) for body in (b"one", b"two")]
        cluster = configs.cluster("up", *[server.port for server in servers])
        proxy = self.start([lambda port: configs.listener(port, configs.tcp_proxy("up"))], [cluster],
                           extra=self.extension(part), **options)
        return proxy, servers

    def count(self, proxy, name):
        return proxy.stat(f"fastpath.{name}")

    def test_connect_goes_to_an_endpoint_and_the_daemon_sees_nothing(self):
        proxy, _ = self.balanced()
        bodies = self.fetch(proxy.port, 40)
        self.assertEqual(set(bodies), {"one", "two"})
        self.assertEqual(self.count(proxy, "balanced_tcp"), 40)
        self.assertEqual(proxy.stat("tcp.tcp.downstream_cx_total"), 0)
        # Who is not steered gets the same from the listener.
        with self.client(proxy.port) as client:
            self.assertIn(client.request().body, (b"one", b"two"))
        self.assertEqual(proxy.stat("tcp.tcp.downstream_cx_total"), 1)

    def test_getpeername_is_what_was_dialled(self):
        proxy, _ = self.balanced()
        script = f"import socket; print(socket.create_connection(('127.0.0.1', {proxy.port})).getpeername()[1])"
        self.assertEqual(int(self.in_cgroup(sys.executable, "-c", script)), proxy.port)

    def test_services_outlive_the_daemon_and_detach_leaves_nothing(self):
        proxy, _ = self.balanced(expect_exit=-9)
        proxy.signal(signal.SIGKILL)
        wait_until(lambda: not proxy.process.running(), 5, "the daemon is dead")
        self.assertEqual(set(self.fetch(proxy.port, 30)), {"one", "two"})
        status = run("fastpath", "status", "--pin-directory", self.pins)
        self.assertEqual(status.code, 0, status.text)
        self.assertIn("no daemon", status.text)
        self.assertIn(f"service tcp 127.0.0.1:{proxy.port}", status.text)
        gone = run("fastpath", "detach", "--pin-directory", self.pins)
        self.assertEqual(gone.code, 0, gone.text)
        self.assertFalse(os.path.exists(self.pins))
        with self.assertRaises(AssertionError):  # connection refused: nobody listens
            self.fetch(proxy.port)

    def test_detach_spares_a_living_daemon(self):
        self.balanced()
        refused = run("fastpath", "detach", "--pin-directory", self.pins)
        self.assertEqual(refused.code, 1)
        self.assertIn("--force", refused.text)

    def test_admin_page(self):
        proxy, servers = self.balanced()
        page = json.loads(proxy.admin("/fastpath?format=json")[1])
        self.assertTrue(page["active"])
        self.assertEqual(page["captured_cgroups"], [f"/{self.name}"])
        self.assertEqual(page["services"][0]["address"], f"127.0.0.1:{proxy.port}")
        self.assertEqual(sorted(page["services"][0]["endpoints"]),
                         sorted(f"127.0.0.1:{server.port}" for server in servers))
        self.assertIn("daemon alive", proxy.admin("/fastpath")[1])

    def test_without_the_right_to_it_the_daemon_serves_all_the_same(self):
        wrapper = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        proxy, _ = self.balanced(wrapper=[*wrapper, "--reuid=65534", "--regid=65534", "--clear-groups"],
                                 binary=self.readable_binary())
        self.assertEqual(set(self.fetch(proxy.port, 8)), {"one", "two"})
        page = json.loads(proxy.admin("/fastpath?format=json")[1])
        self.assertFalse(page["active"])
        self.assertTrue(page["off"])
        self.assertIn("off, serving without it", proxy.log())

    def test_an_ordinary_user_with_three_capabilities_has_it_all(self):
        folder = f"/run/{self.name}"
        os.mkdir(folder)
        self.addCleanup(os.rmdir, folder)
        subprocess.run(["mount", "-t", "bpf", "bpf", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", folder], check=True)
        os.chown(folder, 65534, 65534)
        self.pins = f"{folder}/pins"
        self.addCleanup(run, "fastpath", "detach", "--force", "--pin-directory", self.pins)
        capabilities = "-all,+bpf,+net_admin,+perfmon"
        proxy, _ = self.balanced(
            wrapper=["setpriv", f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}", "--reuid=65534",
                     "--regid=65534", "--clear-groups"], binary=self.readable_binary())
        self.assertEqual(set(self.fetch(proxy.port, 20)), {"one", "two"})
        self.assertEqual(self.count(proxy, "balanced_tcp"), 20)

    def readable_binary(self):
        """A copy of the daemon that other users may run."""
        folder = f"/tmp/{self.name}"
        os.mkdir(folder, 0o755)
        self.addCleanup(os.rmdir, folder)
        copy = os.path.join(folder, "millrace")
        subprocess.run(["install", "-m", "755", BINARY, copy], check=True)
        self.addCleanup(os.remove, copy)
        return copy

    def test_a_part_that_fails_takes_the_rest_along(self):
        part = "connect_time: { listeners: [front] }"
        missing = """
                inbound:
                - listener: front
                  network_namespace: /run/netns/no-such-namespace
                  addresses: [{ address_prefix: 127.7.7.0, prefix_len: 24 }]
                  ports: [{ start: 20000, end: 30000 }]
                """
        proxy, _ = self.balanced(part + missing)
        self.assertEqual(set(self.fetch(proxy.port, 8)), {"one", "two"})
        self.assertIn("no-such-namespace", json.loads(proxy.admin("/fastpath?format=json")[1])["off"])
        self.assertFalse(os.path.exists(self.pins))

    def test_it_can_be_demanded(self):
        config = configs.bootstrap(0, [configs.listener(0, configs.tcp_proxy("up"))], [configs.cluster("up", 1)],
                                   self.extension("daemon_cgroup: /", "on_unavailable: FAIL").replace(
                                       f"cgroups: [/{self.name}]", "cgroups: [/no/such/cgroup]"))
        outcome = run("--config-yaml", config)
        self.assertEqual(outcome.code, 1)
        self.assertIn("the fast path", outcome.text)
        self.assertIn("/no/such/cgroup", outcome.text)

    def test_worker_steering_loses_no_connection(self):
        server = self.upstream(upstream.answer(b"x"))
        cluster = configs.cluster("up", server.port)
        proxy = self.start([lambda port: configs.listener(port, configs.tcp_proxy("up"))], [cluster],
                           extra=self.extension("worker_steering: {}"), concurrency=2)
        for _ in range(50):
            with self.client(proxy.port) as client:
                self.assertEqual(client.request().body, b"x")
        self.assertEqual(self.count(proxy, "worker_of_cpu") + self.count(proxy, "worker_other"), 50)

    def test_selftest_names_every_probe_with_its_verdict(self):
        outcome = run("fastpath", "selftest")
        probes = [line for line in outcome.out.splitlines() if not line.startswith(("measured", "rule:"))]
        verdicts = dict(line.split(":")[0].split()[::-1] for line in probes)
        self.assertIn("joined_v4.transfer", verdicts)
        self.assertEqual(verdicts["limit.splice_read"], "limited")
        self.assertRegex(outcome.out, r"(?m)^measured 64 bytes, us: direct round trip [0-9.]+")
        self.assertRegex(outcome.out, r"(?m)^rule: auto: ")
        bad = {"failed", "skipped"} & set(verdicts.values())
        self.assertEqual(outcome.code, 1 if bad else 0, outcome.text)

    def test_admin_page_shows_the_short_circuit(self):
        proxy, _ = self.balanced(f"short_circuit: {{ cgroups: [/{self.name}], listeners: [front], policy: FIXED }}")
        short_circuit = json.loads(proxy.admin("/fastpath?format=json")[1])["short_circuit"]
        self.assertTrue(short_circuit["active"], short_circuit)
        self.assertEqual(self.count(proxy, "splice.joined_v4"), int(short_circuit["pieces"]["joined_v4"]))
        self.assertIn("limit.splice_read", [probe["probe"] for probe in short_circuit["probes_not_passed"]])
        self.assertIn("short-circuit: on", proxy.admin("/fastpath")[1])

    def test_inbound_steers_a_range_of_ports_to_one_listener(self):
        server = self.upstream(upstream.answer(b"inbound"))
        cluster = configs.cluster("up", server.port)
        log = configs.file_log("a.log", "%DOWNSTREAM_LOCAL_ADDRESS%")
        extra = self.extension("""
                inbound:
                - listener: front
                  addresses: [{ address_prefix: 127.7.7.0, prefix_len: 24 }]
                  ports: [{ start: 20000, end: 30000 }]
                  loopback: true
                """)
        proxy = self.start([lambda port: configs.listener(port, configs.tcp_proxy("up", access_log=[log]))], [cluster],
                           extra=extra, flags=["--file-flush-interval-msec", "50"])
        for address in (("127.7.7.1", 20000), ("127.7.7.99", 29999)):
            with socket.create_connection(address, timeout=5) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                self.assertTrue(sock.recv(4096))
        with self.assertRaises(OSError):
            socket.create_connection(("127.7.7.1", 30000), timeout=5)
        self.wait_until(lambda: os.path.exists(proxy.path("a.log")) and proxy.process.read("a.log").count("\n") == 2)
        self.assertEqual(sorted(proxy.process.read("a.log").split()), ["127.7.7.1:20000", "127.7.7.99:29999"])

