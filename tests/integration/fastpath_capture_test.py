"""Capture through the daemon: applications in a cgroup dial addresses that they know nothing about, and their
connections reach the daemon and through it the server that was dialled; or pass it by, by rule or for want of a daemon.

Every test has network namespaces of its own, whose loopback device owns the servers' addresses; the test itself runs in
the first, which the daemon inherits.
"""
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading

from support import configs
from support.captured import CAPTURE, MAPPED, OTHER, V4, V6, CaptureCase, capture_listener
from support.process import haproxy, wait_until


class CaptureTest(CaptureCase):
    def test_ipv4_ipv6_and_mapped_reach_the_server_that_was_dialled(self):
        four, six = self.server("four"), self.server("six", V6)
        proxy = self.capture(listeners=[capture_listener(), capture_listener(version=6)])
        seen = self.dial((V4, four), (V6, six), (MAPPED, four))
        self.check(seen[0], "four", (V4, four))
        self.check(seen[1], "six", (V6, six))
        self.check(seen[2], "four", (MAPPED, four))
        self.assertEqual(self.count(proxy, "captured"), 3)
        self.assertEqual(self.count(proxy, "original_lost"), 0)
        v4, v6 = f"{V4}:{four}", f"[{V6}]:{six}"
        self.assertEqual(sorted(self.log_lines(proxy, 3)), sorted([f"{v4} {v4} -", f"{v6} {v6} -", f"{v4} {v4} -"]))

    def test_one_listener_may_have_an_address_of_each_family(self):
        four, six = self.server("four"), self.server("six", V6)
        both = capture_listener() + f"""
additional_addresses:
- address: {{ socket_address: {{ address: "::", port_value: {CAPTURE} }} }}
"""
        proxy = self.capture(listeners=[both.replace('"127.0.0.1"', '"0.0.0.0"')])
        seen = self.dial((V4, four), (V6, six), (MAPPED, four))
        self.check(seen[0], "four", (V4, four))
        self.check(seen[1], "six", (V6, six))
        self.check(seen[2], "four", (MAPPED, four))
        self.assertEqual(self.count(proxy, "captured"), 3)

    def test_the_daemon_may_be_outside_of_the_cgroup(self):
        ports = [self.server("one"), self.server("two", OTHER)]
        proxy = self.capture(wrapper=())
        seen = self.dial((V4, ports[0]), (OTHER, ports[1]))
        self.check(seen[0], "one", (V4, ports[0]))
        self.check(seen[1], "two", (OTHER, ports[1]))
        self.assertEqual(proxy.stat("tcp.tcp.downstream_cx_total"), 2)
        self.assertEqual(self.count(proxy, "original_published"), 2)

    def test_an_address_without_a_listener_is_captured_as_well(self):
        proxy = self.capture()
        seen = self.dial((V4, 9), ("10.99.99.99", 80))  # nobody there; no route
        self.assertEqual([s.peer for s in seen], [(V4, 9), ("10.99.99.99", 80)])  # connect() went to the listener
        self.assertEqual([s.said for s in seen], ["", ""])
        self.assertEqual(self.count(proxy, "captured"), 2)
        self.assertEqual(sorted(self.log_lines(proxy, 2)), [f"{V4}:9 {V4}:9 UF,URX",
                                                            "10.99.99.99:80 10.99.99.99:80 UF,URX"])

    def test_the_daemons_own_connects_do_not_loop(self):
        port = self.server("server")
        proxy = self.capture()
        self.check(self.dial((V4, port)), "server", (V4, port))
        self.assertEqual(self.count(proxy, "captured"), 1)
        self.assertEqual(self.count(proxy, "pass_own"), 1)
        self.assertEqual(proxy.stat("tcp.tcp.downstream_cx_total"), 1)

    def test_a_connect_to_the_listener_itself_has_no_original(self):
        proxy = self.capture()
        seen = self.dial(("127.0.0.1", CAPTURE))
        self.assertEqual(seen.said, "")
        self.assertEqual(self.log_lines(proxy, 1), [f"127.0.0.1:{CAPTURE} - UH"])

    def test_the_same_without_capture(self):
        port = self.server("server")
        self.check(self.dial((V4, port)), "server", (V4, port))


class RulesTest(CaptureCase):
    def check_rule(self, rule, inside, outside, **outsider):
        """The first target is captured, the second is not; both reach their server."""
        proxy = self.capture(rule)
        self.check(self.dial(inside), "inside", inside)
        self.assertEqual(self.count(proxy, "captured"), 1)
        self.check(self.dial(outside, **outsider), "outside", outside)
        self.assertEqual(self.count(proxy, "captured"), 1)
        self.assertEqual(proxy.stat("tcp.tcp.downstream_cx_total"), 1)

    def test_an_excluded_port(self):
        inside, outside = self.server("inside"), self.server("outside")
        self.check_rule(f", exclude_ports: [{{ start: {outside}, end: {outside + 1} }}]", (V4, inside), (V4, outside))

    def test_only_the_included_port(self):
        inside, outside = self.server("inside"), self.server("outside")
        self.check_rule(f", include_ports: [{{ start: {inside}, end: {inside + 1} }}]", (V4, inside), (V4, outside))

    def test_an_excluded_address(self):
        inside, outside = self.server("inside"), self.server("outside", OTHER)
        self.check_rule(f", exclude_addresses: [{{ address_prefix: {OTHER}, prefix_len: 32 }}]",
                        (V4, inside), (OTHER, outside))

    def test_an_excluded_user(self):
        inside, outside = self.server("inside"), self.server("outside")
        self.check_rule(", exclude_users: [54321]", (V4, inside), (V4, outside),
                        wrapper=["setpriv", "--reuid=54321", "--clear-groups"])

    def test_an_excluded_cgroup(self):
        below = self.new_cgroup(f"{self.name}/left-alone")
        inside, outside = self.server("inside"), self.server("outside")
        self.check_rule(f", exclude_cgroups: [/{self.name}/left-alone]", (V4, inside), (V4, outside), cgroup=below)

    def test_loopback_is_left_alone_unless_asked_for(self):
        inside, outside = self.server("inside"), self.server("outside", "127.0.0.1")
        self.check_rule("", (V4, inside), ("127.0.0.1", outside))

    def test_loopback_if_asked_for(self):
        port = self.server("server", "127.0.0.1")
        proxy = self.capture(", loopback: true")
        self.check(self.dial(("127.0.0.1", port)), "server", ("127.0.0.1", port))
        self.assertEqual(self.count(proxy, "captured"), 1)

    def test_a_family_without_a_listener(self):
        inside, outside = self.server("inside"), self.server("outside", V6)
        self.check_rule("", (V4, inside), (V6, outside))


class HandOverTest(CaptureCase):
    def test_a_listener_without_a_socket_takes_what_was_dialled(self):
        answers = [configs.listener(port, configs.hcm(configs.direct(body=name), stat_prefix=name), name=name,
                                    address=address, extra="bind_to_port: false")
                   for name, address, port in (("exact", V4, 80), ("any", "0.0.0.0", 80))]
        keeps = capture_listener(configs.hcm(configs.direct(body="kept"), stat_prefix="kept"),
                                 extra="use_original_dst: true")
        self.capture(listeners=[keeps, *answers], clusters=[])
        for host, port, body in ((V4, 80, "exact"), (OTHER, 80, "any"), (V4, 81, "kept")):
            self.assertEqual(self.in_cgroup("curl", "-sS", "--max-time", "10", f"http://{host}:{port}/"), body)


class DeadDaemonTest(CaptureCase):
    def killed(self, rules=""):
        port = self.server("server")
        proxy = self.capture(rules, expect_exit=-9)
        self.check(self.dial((V4, port)), "server", (V4, port))
        proxy.signal(signal.SIGKILL)
        wait_until(lambda: not proxy.process.running(), 5, "the daemon is dead")
        return port

    def test_bypass(self):
        port = self.killed()
        self.check(self.dial((V4, port)), "server", (V4, port))

    def test_refuse(self):
        port = self.killed(", on_dead_listener: REFUSE")
        self.check_refused(self.dial((V4, port)))

    def test_the_next_daemon_captures_again(self):
        port = self.killed(", on_dead_listener: REFUSE")
        proxy = self.capture(", on_dead_listener: REFUSE")
        before = self.count(proxy, "captured")
        self.check(self.dial((V4, port)), "server", (V4, port))
        self.assertEqual(self.count(proxy, "captured"), before + 1)
        self.assertEqual(proxy.stat("tcp.tcp.downstream_cx_total"), 1)


class DrainTest(CaptureCase):
    def test_a_captured_connection_goes_on_while_the_daemon_drains(self):
        port = self.server("server")
        proxy = self.capture(drain_s=30)
        script = ("import socket, sys\n"
                  f"sock = socket.create_connection(('{V4}', {port}), timeout=20)\n"
                  "print('connected', flush=True)\n"
                  "sys.stdin.readline()\n"
                  "sock.sendall(b'hello')\n"
                  "print(sock.recv(4096).decode())\n")
        with subprocess.Popen([*self.inside(), sys.executable, "-c", script], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as client:
            self.assertEqual(client.stdout.readline(), "connected\n")
            self.wait_until(lambda: proxy.stat("cluster.original.upstream_cx_active") == 1, "both sides are connected")
            proxy.signal(signal.SIGTERM)
            self.wait_until(lambda: "drain" in proxy.log(), "the drain")
            # Another one comes by the daemon or past it, but it comes.
            self.check(self.dial((V4, port)), "server", (V4, port))
            self.assertEqual(client.communicate("now\n", timeout=20)[0], "server hello\n")
        self.assertEqual(proxy.wait_exit(), 0)


class ThirdPartyTest(CaptureCase):
    """Another proxy in the place of the daemon's capture listener, in a cgroup that is answered SO_ORIGINAL_DST."""

    def setUp(self):
        super().setUp()
        self.proxies = self.new_cgroup(self.name + "-proxies")

    def capture_for(self, answered=True):
        """The listeners have no socket of the daemon's: the other proxy listens there."""
        listeners = [capture_listener(configs.tcp_proxy("original"), version=version, extra="bind_to_port: false")
                     for version in (4, 6)]
        rules = f", on_dead_listener: REFUSE, so_original_dst_cgroups: [/{self.name}-proxies]" if answered else ""
        return self.capture(rules, listeners=listeners)

    def haproxy(self):
        """HAProxy's server 0.0.0.0 is where the client was going, which it asks of the socket."""
        self.enterContext(haproxy(CAPTURE, f"""
listen captured
  mode tcp
  bind 127.0.0.1:{CAPTURE}
  server where_it_was_going 0.0.0.0:0
""", wrapper=self.inside(self.proxies)))

    def test_haproxy_learns_where_connections_were_going(self):
        one, two = self.server("one"), self.server("two", OTHER)
        proxy = self.capture_for()
        self.haproxy()
        seen = self.dial((V4, one), (OTHER, two))
        self.check(seen[0], "one", (V4, one))
        self.check(seen[1], "two", (OTHER, two))
        self.assertEqual(self.count(proxy, "captured"), 2)
        self.assertGreaterEqual(self.count(proxy, "original_asked"), 2)
        self.assertEqual(proxy.stat("tcp.tcp.downstream_cx_total"), 0)

    def test_while_it_is_not_there_the_policy_holds(self):
        port = self.server("one")
        self.capture_for()
        self.check_refused(self.dial((V4, port)))
        self.haproxy()
        self.check(self.dial((V4, port)), "one", (V4, port))

    def asked(self, host):
        """What a script in the place of the proxy is answered, as after iptables."""
        v6 = ":" in host
        with subprocess.Popen([*self.inside(self.proxies), sys.executable, "-c", ASKER, str(CAPTURE), str(int(v6))],
                              stdout=subprocess.PIPE, text=True) as asker:
            self.addCleanup(asker.kill)
            self.assertEqual(asker.stdout.readline(), "ready\n")
            return self.dial((host, 4711)).said

    def test_the_answer_has_the_form_of_netfilters(self):
        self.capture_for()
        self.assertEqual(self.asked(V4), f"{V4} 4711")
        self.assertEqual(self.asked(V6), f"{V6} 4711")

    def test_it_is_for_the_cgroups_that_are_named(self):
        self.capture_for(answered=False)
        self.assertIn(self.asked(V4), ("ENOENT", "ENOPROTOOPT"))


# Answers each connection with what SO_ORIGINAL_DST or IP6T_SO_ORIGINAL_DST (both 80) says, once.
ASKER = """
import errno, socket, struct, sys
port, v6 = int(sys.argv[1]), sys.argv[2] == "1"
family = socket.AF_INET6 if v6 else socket.AF_INET
with socket.create_server(("::1" if v6 else "127.0.0.1", port), family=family) as server:
    print("ready", flush=True)
    with server.accept()[0] as sock:
        try:
            raw = sock.getsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, 80, 28)
            host = socket.inet_ntop(family, raw[8:24] if v6 else raw[4:8])
            said = f"{host} {struct.unpack('!H', raw[2:4])[0]}"
        except OSError as error:
            said = errno.errorcode[error.errno]
        sock.recv(100)
        sock.sendall(said.encode())
"""


class PodsTest(CaptureCase):
    """Two network namespaces with the same addresses and ports."""

    def setUp(self):
        super().setUp()
        self.second = self.new_pod()
        self.port = self.server("first")
        with self.second.entered():
            self.server("second", port=self.port)

    def test_each_with_a_daemon_and_a_cgroup_of_its_own(self):
        first = self.capture()
        cgroup = self.new_cgroup(self.name + "-2")
        with self.second.entered():
            second = self.capture(where=f"{self.name}-2", pins=self.new_pins(self.name + "-2"),
                                  wrapper=self.inside(cgroup))
            self.check(self.dial((V4, self.port), cgroup=cgroup), "second", (V4, self.port))
            self.assertEqual(self.count(second, "captured"), 1)
        self.check(self.dial((V4, self.port)), "first", (V4, self.port))
        self.assertEqual(self.count(first, "captured"), 1)

    def test_one_without_a_capture_listener_goes_where_it_was_going(self):
        # The daemon listens in its own namespace only; a client elsewhere meets a dead listener.
        proxy = self.capture()
        with self.second.entered():
            seen = self.dial((V4, self.port))
        self.check(seen, "second", (V4, self.port))
        self.assertEqual(self.count(proxy, "captured"), 0)
        self.assertEqual(self.count(proxy, "capture_bypassed"), 1)

    def test_one_without_a_capture_listener_may_be_refused(self):
        self.capture(", on_dead_listener: REFUSE")
        with self.second.entered():
            seen = self.dial((V4, self.port))
        self.check_refused(seen)


# Dials the targets in turn until its standard input ends; a line for each connection.
RUNNER = """
import errno, json, select, socket, sys
targets, number = json.loads(sys.argv[1]), 0
while not select.select([sys.stdin], [], [], 0)[0]:
    host, port, name = targets[number % len(targets)]
    word, said, failed = f"word{number}", b"", ""
    with socket.socket() as sock:
        sock.settimeout(20)
        try:
            sock.connect((host, port))
            sock.sendall(word.encode())
            while data := sock.recv(4096):
                said += data
        except OSError as error:
            failed = errno.errorcode.get(error.errno, str(error))
    wanted = f"{name} {word}"
    verdict = "ok" if said.decode() == wanted and not failed else "none" if not said else f"WRONG:{said!r}"
    print(verdict, failed or "-", flush=True)
    number += 1
"""


CLIENTS, KILLS = 4, 5


class RestartTest(CaptureCase):
    def test_connections_work_or_fail_cleanly_while_the_daemon_is_killed_and_restarted(self):
        self.check_restarts()

    def test_the_same_with_the_daemon_outside_of_the_cgroup(self):
        self.check_restarts(wrapper=())

    def check_restarts(self, **options):
        targets = [(V4, self.server("one"), "one"), (OTHER, self.server("two", OTHER), "two")]
        lines = []

        def follow(stream):
            for line in stream:
                lines.append(line.split())

        def more(number):
            wanted = len(lines) + number
            wait_until(lambda: len(lines) >= wanted, 60, "connections")

        proxy = self.capture(expect_exit=-9, concurrency=2, **options)
        with contextlib.ExitStack() as stack:
            runners = [stack.enter_context(subprocess.Popen(
                [*self.inside(), sys.executable, "-c", RUNNER, json.dumps(targets)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True)) for _ in range(CLIENTS)]
            readers = [threading.Thread(target=follow, args=(runner.stdout,)) for runner in runners]
            for runner, reader in zip(runners, readers):
                self.addCleanup(runner.kill)
                reader.start()
            for kill in range(KILLS):
                more(120)
                proxy.signal(signal.SIGKILL)
                wait_until(lambda proxy=proxy: not proxy.process.running(), 5, "the daemon is dead")
                more(60)
                proxy = self.capture(expect_exit=0 if kill + 1 == KILLS else -9, concurrency=2, **options)
            more(120)
            for runner, reader in zip(runners, readers):
                runner.stdin.close()
                reader.join()
                self.assertEqual(runner.wait(), 0)
        verdicts = [line[0] for line in lines]
        self.assertGreaterEqual(len(lines), 1000)
        self.assertEqual(set(verdicts) - {"ok", "none"}, set())
        self.assertLessEqual({line[1] for line in lines}, {"-", "ECONNREFUSED", "ECONNRESET", "EPIPE"})
        # A kill takes along what it was serving: of each client a connection or two.
        self.assertLessEqual(verdicts.count("none"), 2 * CLIENTS * KILLS)
        self.assertEqual(verdicts[-10:], ["ok"] * 10)


# Asks a UDP service from sockets of its own, connected or not: who answered, and from which address.
UDP_CLIENT = """
import json, socket, sys
host, port, connected, sockets, words = json.loads(sys.argv[1])
for _ in range(sockets):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        if connected:
            sock.connect((host, port))
        said = []
        for word in range(words):
            sock.send(b"word") if connected else sock.sendto(b"word", (host, port))
            data, source = sock.recvfrom(4096)
            said.append([data.decode(), *source[:2]])
        peer = sock.getpeername()[:2] if connected else None
        print(json.dumps({"said": said, "peer": peer}))
"""


class UdpServiceTest(CaptureCase):
    def udp_server(self, name, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((host, 0))

        def serve():
            while True:
                word, client = sock.recvfrom(4096)
                if word == b"":
                    sock.close()
                    return
                sock.sendto(name.encode(), client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = sock.getsockname()

        def stop():
            with socket.socket(family, socket.SOCK_DGRAM) as last:
                last.sendto(b"", address)
            thread.join()

        self.addCleanup(stop)
        return address[1]

    def start_service(self, *ports, host="127.0.0.1", service="10.88.0.53"):
        cluster = configs.cluster("dns", *ports).replace("127.0.0.1", f'"{host}"')
        part = ("connect_time: { udp_services: [{ cluster: dns, address: "
                f'{{ address: "{service}", port_value: 53 }} }}] }}')
        front = configs.listener(CAPTURE, configs.tcp_proxy("dns"))
        return self.start([lambda _: front], [cluster], extra=self.extension(part), ports=[CAPTURE])

    def ask(self, connected, sockets, words=1, host="10.88.0.53"):
        out = self.in_cgroup(sys.executable, "-c", UDP_CLIENT, json.dumps([host, 53, connected, sockets, words]))
        return [json.loads(line) for line in out.splitlines()]

    def test_connected_sockets_are_balanced_and_see_the_service(self):
        proxy = self.start_service(self.udp_server("one"), self.udp_server("two"))
        seen = self.ask(True, 40, words=2)
        self.assertEqual({answers["said"][0][0] for answers in seen}, {"one", "two"})
        for answers in seen:
            self.assertEqual(answers["said"][0], answers["said"][1])  # a connected socket keeps to its endpoint
            self.assertEqual(answers["said"][0][1:], ["10.88.0.53", 53])
            self.assertEqual(answers["peer"], ["10.88.0.53", 53])
        self.assertEqual(self.count(proxy, "balanced_udp"), 40)

    def test_unconnected_sockets_are_balanced_and_see_the_service(self):
        proxy = self.start_service(self.udp_server("one"), self.udp_server("two"))
        seen = self.ask(False, 40, words=2)
        self.assertEqual({answers["said"][0][0] for answers in seen}, {"one", "two"})
        for answers in seen:
            self.assertEqual(answers["said"][0], answers["said"][1])
            self.assertEqual(answers["said"][0][1:], ["10.88.0.53", 53])
        self.assertEqual(self.count(proxy, "balanced_datagram"), 80)
        self.assertEqual(self.count(proxy, "datagram_answered"), 80)

    def test_sockets_of_ipv6_may_ask_a_mapped_address(self):
        self.start_service(self.udp_server("one"))
        for connected in (True, False):
            answers = self.ask(connected, 1, host="::ffff:10.88.0.53")[0]["said"]
            self.assertEqual(answers, [["one", "::ffff:10.88.0.53", 53]])

    def test_ipv6(self):
        self.start_service(*[self.udp_server(name, "::1") for name in ("one", "two")], host="::1", service="fd88::53")
        for connected in (True, False):
            said = [answers["said"][0] for answers in self.ask(connected, 40, host="fd88::53")]
            self.assertEqual({name for name, *_ in said}, {"one", "two"})
            self.assertEqual({tuple(source) for _, *source in said}, {("fd88::53", 53)})
