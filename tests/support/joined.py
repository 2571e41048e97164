"""What tests of joined pairs share: the daemon with a short-circuited TCP proxy, two apps connected through it, and
traffic whose every byte is checked where it arrives.
"""
import random
import time

from support import configs
from support.plain import Listening, Plain
from support.steered import SteeredCase


class Stream:
    """Bytes that tell their position: what arrives is compared with what has to come next."""

    _BLOCK = random.Random(3).randbytes((1 << 20) + 7)

    def __init__(self):
        self.sent = self.received = 0

    def piece(self, size):
        """The next bytes to send, at most `size`."""
        at = self.sent % len(self._BLOCK)
        return memoryview(self._BLOCK)[at:at + size]

    def check(self, data):
        """Takes what arrived; raises AssertionError at the first byte that is wrong."""
        view = memoryview(data)
        while view:
            at = self.received % len(self._BLOCK)
            wanted = memoryview(self._BLOCK)[at:at + len(view)]
            if view[:len(wanted)] != wanted:
                wrong = next(i for i in range(len(wanted)) if view[i] != wanted[i])
                raise AssertionError(f"byte {self.received + wrong} is {view[wrong]:#x} instead of {wanted[wrong]:#x}")
            self.received += len(wanted)
            view = view[len(wanted):]

    @property
    def waiting(self):
        return self.sent - self.received


class Duplex:
    """Two connected Plain sockets that talk both ways."""

    def __init__(self, first, second):
        self.ways = [(first, second, Stream()), (second, first, Stream())]

    def send(self, way, size):
        """What the kernel takes of it at once; 0: nothing."""
        source, _, stream = self.ways[way]
        try:
            taken = source.sock.send(stream.piece(size))
        except BlockingIOError:
            return 0
        stream.sent += taken
        return taken

    def receive(self, way, size):
        """What is there, up to that; 0: nothing."""
        _, target, stream = self.ways[way]
        try:
            data = target.sock.recv(size)
        except BlockingIOError:
            return 0
        if not data:
            raise EOFError(f"the stream ended after {stream.received} of {stream.sent} bytes")
        stream.check(data)
        return len(data)

    def settle(self, limit_s=20.0):
        """Receives all that was sent."""
        deadline = time.monotonic() + limit_s
        while any(stream.waiting for _, _, stream in self.ways):
            got = sum(self.receive(way, 1 << 20) for way in (0, 1) if self.ways[way][2].waiting)
            if not got:
                time.sleep(0.0005)
            if time.monotonic() > deadline:
                raise AssertionError(f"{[stream.waiting for _, _, stream in self.ways]} bytes did not arrive")

    def talk(self, chance, limit_s):
        """Pieces of random sizes in random order, in turns with manners of their own: questions and answers, bulk, a
        reader that pauses, drips. Returns the bytes that went each way."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            manner = chance.choice((self._questions, self._bulk, self._pause, self._drip, self._questions))
            manner(chance, min(deadline, time.monotonic() + chance.uniform(0.02, 0.5)))
        self.settle()
        return [stream.received for _, _, stream in self.ways]

    def _questions(self, chance, deadline):
        while time.monotonic() < deadline:
            for way in (0, 1):
                self.send(way, chance.choice((1, 64, chance.randint(1, 5000), chance.randint(1, 300_000))))
                self.settle()

    def _bulk(self, chance, deadline):
        ways = chance.choice(((0,), (1,), (0, 1)))
        while time.monotonic() < deadline:
            for way in ways:
                self.send(way, chance.randint(1, 1 << 20))
                self.receive(way, chance.randint(1, 1 << 20))

    def _pause(self, chance, deadline):
        way = chance.randrange(2)
        while time.monotonic() < deadline:
            if not self.send(way, chance.randint(1, 1 << 18)):
                break
            self.send(1 - way, chance.randint(1, 100))
        time.sleep(max(0.0, min(0.05, deadline - time.monotonic())))
        self.settle()

    def _drip(self, chance, deadline):
        while time.monotonic() < deadline:
            for way in (0, 1):
                for _ in range(chance.randint(1, 20)):
                    self.send(way, chance.randint(1, 9))
                self.receive(way, chance.randint(1, 64))


class JoinedCase(SteeredCase):
    """This process's cgroup is the daemon's, and that of the apps."""

    def begin(self, *, on=True, listen="127.0.0.1", server="127.0.0.1", both_families=False, family=4, **options):
        """The daemon between `listen` and a server at an address."""
        self.server = self.enterContext(Listening(server))
        cluster = configs.cluster("up", self.server.port)
        if server != "::":  # which takes IPv4 too
            cluster = cluster.replace("127.0.0.1", f'"{server}"')

        def front(port):
            text = configs.listener(port, configs.tcp_proxy("up"), address=listen)
            return text.replace("socket_address: {", "socket_address: { ipv4_compat: true,") if both_families else text

        part = "short_circuit: { cgroups: [/], listeners: [front], policy: FIXED }"
        proxy = self.start_with([front], [cluster], part if on else "", **options)
        if on and not proxy.stat(f"fastpath.splice.joined_v{family}"):
            self.skipTest("this kernel fails a probe of joined pairs")
        return proxy

    def start_with(self, listeners, clusters, part, **options):
        return self.start(listeners, clusters, extra=self.extension(part) if part else "", **options)

    def connect(self, proxy, address="127.0.0.1"):
        client = self.enterContext(Plain.dial(proxy.port, address))
        return client, self.enterContext(self.server.accept())

    def ping(self, client, server, data=b"ping" * 16):
        client.send(data)
        self.assertEqual(server.receive_exactly(len(data)), data)
        server.send(data)
        self.assertEqual(client.receive_exactly(len(data)), data)

    def redirected(self, proxy):
        return proxy.stat("fastpath.splice.redirected_joined")

    def join(self, proxy, client, server):
        """Talks until the two are joined."""
        before, deadline = self.redirected(proxy), time.monotonic() + 10
        while self.redirected(proxy) < before + 4:
            self.assertLess(time.monotonic(), deadline, proxy.admin("/fastpath")[1])
            self.ping(client, server)
        return client, server

    def joined(self, proxy, address="127.0.0.1"):
        return self.join(proxy, *self.connect(proxy, address))
