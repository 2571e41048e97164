"""One daemon for several network namespaces ("pods"), which may all have the same addresses: its listeners are in them,
its own connections, and this test, in its own.
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile

from support import configs
from support.captured import CAPTURE, MAPPED, ORIGINAL, OTHER, V4, V6, CaptureCase, capture_listener, inside
from support.namespaces import Namespace
from support.ports import free_port
from support.process import wait_until
from support.proxy import run

# Dials from one source port, says the name, tells when it has the answer, and waits before it closes.
HELD = """
import socket, sys
host, port, source, word = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with socket.socket() as sock:
    sock.settimeout(20)
    sock.bind(("127.0.0.1", source))
    sock.connect((host, port))
    print("connected", flush=True)
    sys.stdin.readline()
    sock.sendall(word.encode())
    print(sock.recv(4096).decode(), flush=True)
"""


def tcp(name):
    return configs.tcp_proxy("original", stat_prefix=name)


class PodsCase(CaptureCase):
    """self.pods: two more namespaces, "a" and "b", with the addresses of this one, and what the pods' clients dial."""

    def setUp(self):
        super().setUp()
        self.pods = {name: self.new_pod() for name in ("a", "b")}

    def capture_pods(self, *more, version=4, rules="", **options):
        listeners = [inside(pod, capture_listener(tcp(name), version=version, name=name))
                     for name, pod in self.pods.items()]
        return self.capture(rules, listeners=[*listeners, *more], **options)

    def dial_in(self, name, *targets):
        with self.pods[name].entered():
            return self.dial(*targets)

    def count_of(self, proxy, name):
        return proxy.stat(f"tcp.{name}.downstream_cx_total")


class CaptureTest(PodsCase):
    def test_each_pods_connections_come_by_its_own_listener(self):
        one, two = self.server("one"), self.server("two", OTHER)
        proxy = self.capture_pods(concurrency=2)
        self.check(self.dial_in("a", (V4, one)), "one", (V4, one))
        self.assertEqual((self.count_of(proxy, "a"), self.count_of(proxy, "b")), (1, 0))
        seen = self.dial_in("b", (V4, one), (OTHER, two))
        self.check(seen[0], "one", (V4, one))
        self.check(seen[1], "two", (OTHER, two))
        self.assertEqual((self.count_of(proxy, "a"), self.count_of(proxy, "b")), (1, 2))
        self.assertEqual(self.count(proxy, "captured"), 3)
        self.assertEqual(self.count(proxy, "original_lost"), 0)

    def test_the_daemons_own_namespace_may_be_captured_as_well(self):
        port = self.server("one")
        proxy = self.capture_pods(capture_listener(tcp("own"), name="-own"))
        self.check(self.dial((V4, port)), "one", (V4, port))
        self.check(self.dial_in("b", (V4, port)), "one", (V4, port))
        self.assertEqual([self.count_of(proxy, name) for name in ("own", "a", "b")], [1, 0, 1])

    def test_one_that_has_no_listener_passes_it_by(self):
        port = self.server("outside")
        proxy = self.capture_pods()
        self.check(self.dial((V4, port)), "outside", (V4, port))
        self.assertEqual(self.count(proxy, "capture_bypassed"), 1)

    def test_ipv6_and_mapped_addresses(self):
        four, six = self.server("four"), self.server("six", V6)
        proxy = self.capture_pods(*[inside(pod, capture_listener(tcp(name + "6"), version=6, name=name + "6"))
                                    for name, pod in self.pods.items()])
        for name in self.pods:
            seen = self.dial_in(name, (V6, six), (MAPPED, four))
            self.check(seen[0], "six", (V6, six))
            self.check(seen[1], "four", (MAPPED, four))
        self.assertEqual([self.count_of(proxy, name) for name in ("a", "a6", "b", "b6")], [1, 1, 1, 1])

    def test_clients_with_the_same_addresses_and_ports_at_the_same_time(self):
        targets = {"a": (V4, self.server("one")), "b": (OTHER, self.server("two", OTHER))}
        self.capture_pods()
        source = free_port()
        clients = {}
        for name, (host, port) in targets.items():
            with self.pods[name].entered():
                clients[name] = self.enterContext(subprocess.Popen(
                    [*self.inside(), sys.executable, "-c", HELD, host, str(port), str(source), name],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            self.addCleanup(clients[name].kill)
        for client in clients.values():  # both are connected before either says anything
            self.assertEqual(client.stdout.readline(), "connected\n")
        self.assertEqual(clients["b"].communicate("\n", timeout=20)[0], "two b\n")
        self.assertEqual(clients["a"].communicate("\n", timeout=20)[0], "one a\n")

    def test_a_dead_daemon_is_missed_in_every_pod(self):
        with self.pods["a"].entered():
            port = self.server("of the pod")
        self.server("outside", port=port)
        proxy = self.capture_pods(expect_exit=-9)
        self.check(self.dial_in("a", (V4, port)), "outside", (V4, port))
        proxy.signal(signal.SIGKILL)
        wait_until(lambda: not proxy.process.running(), 5, "the daemon is dead")
        self.check(self.dial_in("a", (V4, port)), "of the pod", (V4, port))
        self.capture_pods()
        self.check(self.dial_in("a", (V4, port)), "outside", (V4, port))

    def test_listeners_without_a_socket_answer_for_their_pod_or_for_all(self):
        def says(name, address, pod=None):
            text = configs.listener(80, configs.hcm(configs.direct(body=name), stat_prefix=name), name=name,
                                    address=address, extra="bind_to_port: false")
            return inside(self.pods[pod], text) if pod else text

        listeners = [inside(pod, capture_listener(configs.hcm(configs.direct(body="kept " + name)), name=name,
                                                  extra="use_original_dst: true")) for name, pod in self.pods.items()]
        self.capture(listeners=[*listeners, says("of a", V4, "a"), says("of b", V4, "b"), says("of all", OTHER),
                                says("any of b", "0.0.0.0", "b")], clusters=[])
        for name, host, body in (("a", V4, "of a"), ("b", V4, "of b"), ("a", OTHER, "of all"), ("b", OTHER, "of all"),
                                 ("a", "10.88.0.3", "kept a"), ("b", "10.88.0.3", "any of b")):
            with self.pods[name].entered():
                self.assertEqual(self.in_cgroup("curl", "-sS", "--max-time", "10", f"http://{host}/"), body)

    def test_workers_share_a_pods_connections(self):
        port = self.server("one")
        proxy = self.capture_pods(more="worker_steering: {}", concurrency=2)
        for name in self.pods:
            for seen in self.dial_in(name, *[(V4, port)] * 20):
                self.check(seen, "one", (V4, port))
        self.assertEqual(self.count(proxy, "worker_of_cpu") + self.count(proxy, "worker_other"), 40)


class InboundTest(PodsCase):
    def start_inbound(self, **options):
        listeners = [inside(pod, configs.listener(15006, configs.hcm(configs.direct(body="pod " + name),
                                                                     stat_prefix=name),
                                                  name=name, address="0.0.0.0")) for name, pod in self.pods.items()]
        part = "inbound:" + "".join(f"""
                - listener: {name}
                  addresses: [{{ address_prefix: 0.0.0.0, prefix_len: 0 }}]
                  ports: [{{ start: 20000, end: 30000 }}]
                  loopback: {str(options.get("loopback", True)).lower()}""" for name in self.pods)
        return self.start([lambda _, text=text: text for text in listeners], extra=self.extension(part))

    def fetch(self, url):
        return self.in_cgroup("curl", "-sS", "--max-time", "10", url)

    def test_the_same_address_leads_to_the_listener_of_each_pod(self):
        proxy = self.start_inbound()
        for name, pod in self.pods.items():
            with pod.entered():
                self.assertEqual(self.fetch(f"http://{V4}:20000/"), "pod " + name)
                self.assertEqual(self.fetch("http://127.7.7.7:29999/"), "pod " + name)
        self.assertEqual(self.count(proxy, "inbound_steered"), 4)
        with self.assertRaises(OSError):  # nobody asked for it here
            socket.create_connection((V4, 20000), timeout=5)

    def test_what_comes_from_outside_is_steered(self):
        self.pods["a"].connect("eth0", self.pod, "pod", ["10.77.1.2/24"], ["10.77.1.1/24"])
        self.start_inbound(loopback=False)
        self.assertEqual(self.fetch("http://10.77.1.2:25000/"), "pod a")

    def test_a_listener_of_another_namespace_is_refused(self):
        front = configs.listener(free_port(), configs.hcm(configs.direct()))
        extra = self.extension(f"""
                on_unavailable: FAIL
                inbound:
                - listener: front
                  network_namespace: {self.pods["a"].path}
                  addresses: [{{ address_prefix: 0.0.0.0, prefix_len: 0 }}]
                  ports: [{{ start: 20000, end: 30000 }}]
                """)
        outcome = run("--config-yaml", configs.bootstrap(free_port(), [front], [], extra))
        self.assertEqual(outcome.code, 1)
        self.assertIn(f"listener 'front' gets no connections of the network namespace '{self.pods['a'].path}'",
                      outcome.err)


class ListenerTest(PodsCase):
    """Without the fast path."""

    def refused(self, path, wrapper=(), port=None):
        listener = configs.listener(port or free_port(), configs.hcm(configs.direct())).replace(
            "socket_address: {", f"socket_address: {{ network_namespace_filepath: {path},")
        outcome = run("--config-yaml", configs.bootstrap(free_port(), [listener]), wrapper=wrapper)
        self.assertEqual(outcome.code, 1)
        return outcome.err

    def serve(self, *pods):
        port = free_port()
        listeners = [inside(self.pods[name], configs.listener(
            port, configs.hcm(configs.direct(body=name), stat_prefix=name), name=name)) for name in pods]
        return self.start([lambda _, text=text: text for text in listeners], ports=[port] * len(listeners))

    def test_two_pods_may_have_the_same_port(self):
        proxy = self.serve("a", "b")
        for name, pod in self.pods.items():
            with pod.entered():
                self.assertEqual(self.client(proxy.port).request().body, name.encode())
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=5)

    def test_a_pod_that_ends_takes_nothing_along(self):
        proxy = self.serve("a", "b")
        with self.pods["b"].entered():
            client = self.client(proxy.port)
        self.pods["a"].close()
        self.assertEqual(client.request().body, b"b")
        with self.pods["b"].entered():
            self.assertEqual(self.client(proxy.port).request().body, b"b")

    def test_a_namespace_that_is_not_there(self):
        self.assertIn("listener 'front': cannot open the network namespace '/run/netns/none': make it first, or take "
                      "out what is to be in it: No such file", self.refused("/run/netns/none"))

    def test_a_name_whose_namespace_is_gone(self):
        with tempfile.NamedTemporaryFile() as name:
            self.assertIn(f"'{name.name}' is no network namespace, or its namespace is gone", self.refused(name.name))

    def test_a_namespace_of_another_kind(self):
        self.assertIn("is no network namespace", self.refused("/proc/self/ns/uts"))

    def test_entering_needs_a_right(self):
        rights = "-sys_admin"
        error = self.refused(self.pods["a"].path, ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"])
        self.assertIn("it needs CAP_SYS_ADMIN at start, which the daemon then drops", error)

    def test_two_paths_to_one_namespace_are_found_out(self):
        other = os.open(self.pods["a"].path, os.O_RDONLY)
        self.addCleanup(os.close, other)
        port = free_port()
        listeners = [configs.listener(port, configs.hcm(configs.direct()), name=name).replace(
            "socket_address: {", f"socket_address: {{ network_namespace_filepath: {path},")
            for name, path in (("one", self.pods["a"].path), ("two", f"/proc/{os.getpid()}/fd/{other}"))]
        outcome = run("--config-yaml", configs.bootstrap(free_port(), listeners))
        self.assertEqual(outcome.code, 1)
        self.assertIn(f"listener 'two': listener 'one' has the address 127.0.0.1:{port} already", outcome.err)

    def test_the_daemons_own_namespace_by_its_path(self):
        port = free_port()
        listener = configs.listener(port, configs.hcm(configs.direct(body="own"))).replace(
            "socket_address: {", "socket_address: { network_namespace_filepath: /proc/self/ns/net,")
        self.start([lambda _: listener], ports=[port])
        self.assertEqual(self.client(port).request().body, b"own")

    def test_the_rights_are_gone_once_it_has_started(self):
        proxy = self.capture_pods()
        with open(f"/proc/{proxy.process.pid}/status", encoding="ascii") as status:
            effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
        self.assertFalse(effective & 1 << 21, "CAP_SYS_ADMIN is left")


# Connects, waits for a byte or the end, and says which it was.
WAITER = """
import errno, socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60) as sock:
    print("connected", flush=True)
    try:
        print("end" if not sock.recv(1) else "byte")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


class ResetsTest(PodsCase):
    """A connect-time service of which an endpoint is taken out, with clients in several namespaces."""

    def start_service(self, port, endpoint, **options):
        own = configs.listener(port, configs.tcp_proxy("up"))
        front = inside(self.pods["a"], configs.listener(port, configs.tcp_proxy("up"), name="a"))
        part = "connect_time: { listeners: [front, a], reset_connections: true }"
        return self.start([lambda _: own, lambda _: front], [configs.cluster("up", endpoint)], ports=[port] * 2,
                          extra=self.extension(part), **options)

    def waiter(self, port):
        child = self.enterContext(subprocess.Popen([*self.inside(), sys.executable, "-c", WAITER, str(port)],
                                                   stdout=subprocess.PIPE, text=True))
        self.addCleanup(child.kill)
        self.assertEqual(child.stdout.readline(), "connected\n")
        return child

    def test_connections_are_reset_where_a_listener_is_and_counted_elsewhere(self):
        endpoint, service = free_port(), free_port()
        places = [self.pod, *self.pods.values()]  # no listener is in the last
        for place in places:
            with place.entered():  # the endpoint, which never says a word
                self.enterContext(socket.create_server(("127.0.0.1", endpoint)))
        old = self.start_service(service, endpoint)
        clients = []
        for place in places:
            with place.entered():
                clients.append(self.waiter(service))
        self.assertEqual(self.count(old, "balanced_tcp"), 3)
        old.signal(signal.SIGTERM)
        self.assertEqual(old.wait_exit(), 0)
        new = self.start_service(service, free_port())
        for client in clients[:2]:
            self.assertEqual(client.stdout.readline(), "ECONNABORTED\n")
        self.assertEqual(self.count(new, "connections_reset"), 2)
        self.assertEqual(self.count(new, "connections_not_reset"), 1)
        self.assertIn(f"1 connections to 127.0.0.1:{endpoint} stay", new.log())
        self.assertIsNone(clients[2].poll())


class DrainTest(PodsCase):
    def test_workers_that_end_lose_no_connection_of_a_pod(self):
        proxy = self.capture_pods(more="worker_steering: {}", concurrency=2, drain_s=30)
        port = self.server("one")
        with self.pods["a"].entered(), subprocess.Popen(
                [*self.inside(), sys.executable, "-c", HELD, V4, str(port), str(free_port()), "word"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            self.assertEqual(client.stdout.readline(), "connected\n")
            proxy.signal(signal.SIGTERM)
            self.wait_until(lambda: "drain" in proxy.log(), "the drain")
            self.assertEqual(client.communicate("\n", timeout=20)[0], "one word\n")
        self.assertEqual(proxy.wait_exit(), 0)
