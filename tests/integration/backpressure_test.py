"""A slow reader on one side stops the read of the other: memory stays bounded, no byte is lost."""
import hashlib
import threading
import time

from support import upstream
from support.case import ProxyCase
from support.http1 import Client

GIB = 1 << 30
# What the daemon may grow by: two buffers of the 1 MiB default limit per direction, the rings, and slack for malloc.
GROWTH_KIB_MAX = 16 * 1024


class BackpressureTest(ProxyCase):
    def grows_at_most(self, proxy, seconds, before, progress=lambda: None):
        """Watches the resident memory for a while."""
        highest = before
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            progress()
            highest = max(highest, proxy.rss_kib())
        self.assertLess(highest - before, GROWTH_KIB_MAX, f"from {before} to {highest} KiB")

    @staticmethod
    def send_a_gib(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
        block = bytes(range(256)) * 4096
        peer.server.sent = 0
        while peer.server.sent < GIB:
            peer.send(block)
            peer.server.sent += len(block)

    def slow_reads(self, client):
        """One megabyte a second, in pieces."""
        def read():
            client.sock.recv(50000)
            time.sleep(0.05)
        return read

    def test_a_client_that_reads_a_megabyte_a_second_of_a_gib(self):
        server = self.upstream(self.send_a_gib)
        proxy = self.http_to(server)
        warm = Client(proxy.port)
        self.addCleanup(warm.close)
        before = proxy.rss_kib()
        client = self.client(proxy.port, receive_buffer=65536, timeout_s=30)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.grows_at_most(proxy, 5, before, self.slow_reads(client))
        # Loopback sockets hold some megabytes; the rest of the gibibyte must still be with the upstream.
        self.assertLess(server.sent, 64 << 20)

    def test_the_same_through_tcp_proxy(self):
        server = self.upstream(self.send_a_gib)
        proxy = self.tcp_to(server)
        before = proxy.rss_kib()
        client = self.client(proxy.port, receive_buffer=65536, timeout_s=30)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.grows_at_most(proxy, 5, before, self.slow_reads(client))
        self.assertLess(server.sent, 64 << 20)

    def test_an_upstream_that_does_not_read(self):
        arrived, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def script(peer):
            peer.read_head()
            arrived.set()
            go_on.wait(60)
            peer.reset()
        proxy = self.http_to(self.upstream(script, receive_buffer=65536))
        before = proxy.rss_kib()
        client = self.client(proxy.port)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % GIB)
        self.assertTrue(arrived.wait(10))
        client.sock.settimeout(2)
        sent = 0
        try:
            while sent < GIB:
                sent += client.sock.send(b"x" * 65536)
        except TimeoutError:
            pass  # nobody takes more: the stop has reached the client
        self.assertLess(sent, 64 << 20)
        self.grows_at_most(proxy, 0.5, before)

    def test_a_large_body_at_full_speed_arrives_unchanged(self):
        block = bytes(range(256)) * 4096
        total = 128

        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(total):
                peer.send(b"%x\r\n" % len(block) + block + b"\r\n")
            peer.send(b"0\r\n\r\n")
            peer.reader.rest()
        proxy = self.http_to(self.upstream(script))
        response = self.client(proxy.port, timeout_s=60).request()
        expected = hashlib.sha256(block * total).hexdigest()
        self.assertEqual(hashlib.sha256(response.body).hexdigest(), expected)
