"""What many, slow and unwilling TLS clients cost the others: big RSA keys, ClientHellos in pieces, handshakes that
never end.
"""
import signal
import socket
import ssl
import struct

from support import configs
from support.certificates import rsa
from support.process import all_stopped, unread_bytes
from support.tls import TlsCase

SO_TIMESTAMPNS = 35
HELLO_RECORD_BYTES = 16384


def when_received(sock, size):
    """(bytes, when the kernel got the last of them in nanoseconds): the order of arrival, whoever looks when."""
    data, ancillary, _, _ = sock.recvmsg(size, socket.CMSG_SPACE(16))
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("@qq", value)
            return data, seconds * 1_000_000_000 + nanoseconds
    raise AssertionError(f"no time stamp with {data!r}")


class ManualClient:
    """A TLS client whose bytes are the test's to send."""

    def __init__(self, case, port):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=case.authority.file)
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.sock = case.enterContext(socket.create_connection(("127.0.0.1", port), timeout=60))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def hello(self):
        """The first flight."""
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def finish(self):
        """The rest of the handshake."""
        while True:
            try:
                self.session.do_handshake()
                self.sock.sendall(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                self.incoming.write(self.sock.recv(65536))

    def get(self):
        """An answer to a request, as plain bytes."""
        self.session.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.sock.sendall(self.outgoing.read())
        answer = b""
        while True:
            try:
                part = self.session.read(65536)
                if not part:  # close_notify
                    return answer
                answer += part
            except ssl.SSLWantReadError:
                received = self.sock.recv(65536)
                if not received:
                    raise AssertionError("the end was not announced") from None
                self.incoming.write(received)


class BigKeyTest(TlsCase):
    def test_a_burst_of_rsa_4096_handshakes_lets_others_through(self):
        # All the bytes are there when the worker goes on, the request's behind those of the handshakes. A turn of its
        # loop takes one handshake step, or two where a signature takes less than half of their millisecond; the
        # request may have to wait for a few turns. Without the limit it would wait for all handshakes.
        handshakes, steps_per_turn, turns_max = 100, 2, 8
        pair = self.authority.issue("localhost", key=rsa(4096))
        plain = configs.hcm(configs.direct(body="plain"), stat_prefix="plain")
        secured = configs.hcm(configs.direct())
        proxy = self.start([
            lambda port: configs.listener(port, plain, name="plain"),
            lambda port: configs.listener(port, secured, name="secured", chain=configs.downstream_tls(pair))])
        other = self.client(proxy.port)
        self.assertEqual(other.request().status, 200)
        other.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        clients = [ManualClient(self, proxy.ports[1]) for _ in range(handshakes)]
        active = f"listener.127.0.0.1_{proxy.ports[1]}.downstream_cx_active"
        proxy.wait_stat(active, handshakes)
        proxy.signal(signal.SIGSTOP)
        self.wait_until(lambda: all_stopped(proxy.process.pid), "the daemon has stopped")
        for client in clients:
            client.sock.sendall(client.hello())
        other.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.signal(signal.SIGCONT)
        answer, answered = when_received(other.sock, 65536)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)
        before = 0
        for client in clients:
            flight, arrived = when_received(client.sock, 5)
            client.incoming.write(flight)
            before += arrived < answered
        self.assertLessEqual(before, steps_per_turn * turns_max)
        for client in clients:
            client.finish()
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.ports[1]}.ssl.handshake", handshakes)


class SlowClientTest(TlsCase):
    def test_a_client_hello_may_come_byte_by_byte(self):
        inspector = ("listener_filters:\n- name: envoy.filters.listener.tls_inspector\n  typed_config:\n    \"@type\": "
                     f"{configs.TYPES}.extensions.filters.listener.tls_inspector.v3.TlsInspector\n")
        for extra in ("", inspector):
            proxy = self.https(configs.direct(body="at last"), listener_extra=extra)
            client = ManualClient(self, proxy.port)
            for byte in client.hello():
                client.sock.sendall(bytes([byte]))
            client.finish()
            self.assertTrue(client.get().endswith(b"at last"))

    def test_the_timeout_of_handshakes_is_not_put_off_by_bytes_that_drip_in(self):
        proxy = self.https(configs.direct(), chain="transport_socket_connect_timeout: 0.3s")
        sock = self.client(proxy.port).sock
        sock.settimeout(0.02)
        sock.sendall(b"\x16\x03\x01\x40\x00")
        self.assertTrue(self.drip_until_closed(sock, HELLO_RECORD_BYTES - 1), "it was not closed")
        prefix = f"listener.127.0.0.1_{proxy.port}."
        proxy.wait_stat(prefix + "downstream_cx_transport_socket_connect_timeout", 1)
        proxy.wait_stat(prefix + "downstream_cx_active", 0)

    def drip_until_closed(self, sock, bytes_max):
        """Sends a byte whenever none comes back; False: it could send that many."""
        for _ in range(bytes_max):
            try:
                sock.sendall(b"\x01")
                return sock.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                return True
        return False

    def test_a_thousand_unfinished_handshakes_cost_bounded_memory_and_nobody_else(self):
        clients, kib_each = 1000, 96  # 16 KiB of them are bytes that were sent; sanitizers take their share
        proxy = self.https(configs.direct(body="served"), nofile=8192)
        self.curl(proxy.port)
        before = proxy.rss_kib()
        record = b"\x16\x03\x01" + struct.pack("!H", HELLO_RECORD_BYTES) + b"\x01" * (HELLO_RECORD_BYTES - 1)
        socks = [self.enterContext(socket.create_connection(("127.0.0.1", proxy.port), timeout=60))
                 for _ in range(clients)]
        for sock in socks:
            sock.sendall(record)
        self.wait_until(lambda: unread_bytes(proxy.port) == 0, "the daemon has read it all", timeout_s=60)
        active = f"listener.127.0.0.1_{proxy.port}.downstream_cx_active"
        proxy.wait_stat(active, clients)
        grown = proxy.rss_kib() - before
        self.assertLess(grown, clients * kib_each)
        self.assertEqual(self.curl(proxy.port), "served")
        for sock in socks:
            sock.close()
        proxy.wait_stat(active, 0, timeout_s=60)
