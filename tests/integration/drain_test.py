"""Signals: a graceful end under load, a second signal, the drain time."""
import asyncio
import signal
import threading
import time

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import Client


class Clients:
    """Many keep-alive clients in one event loop of their own; a request counts as lost when bytes of it were accepted
    on a connection that had not been announced as closing, and no whole response came back.
    """

    def __init__(self, port, count):
        self.port, self.count = port, count
        self.answered = 0
        self.lost = []
        self.connected = threading.Event()
        self._waiting = count
        self._stop = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _client(self, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._waiting -= 1
        if not self._waiting:
            self.connected.set()
        try:
            while not self._stop:
                writer.write(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await asyncio.wait_for(reader.readexactly(length), 20)
                if not head.startswith(b"HTTP/1.1 200 "):
                    self.lost.append(head)
                self.answered += 1
                if b"connection: close" in head.lower():
                    return
                await asyncio.sleep(0.01)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            self.lost.append((number, repr(error)))
        finally:
            writer.close()

    async def _run(self):
        await asyncio.gather(*(self._client(i) for i in range(self.count)))

    def __enter__(self):
        self._thread.start()
        return self

    def join(self, timeout_s=60):
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def __exit__(self, *_):
        self._stop = True
        self.join()


class DrainTest(ProxyCase):
    def test_an_idle_daemon_ends_at_once(self):
        proxy = self.http(configs.direct(), options={"drain_s": 60})
        start = time.monotonic()
        proxy.signal(signal.SIGTERM)
        self.assertEqual(proxy.wait_exit(), 0)
        self.assertLess(time.monotonic() - start, 10)

    def test_sigint_drains_too(self):
        proxy = self.http(configs.direct(), options={"drain_s": 60})
        proxy.signal(signal.SIGINT)
        self.assertEqual(proxy.wait_exit(), 0)

    def test_a_request_in_flight_is_finished(self):
        arrived, answer = threading.Event(), threading.Event()

        def script(peer):
            peer.read_request()
            arrived.set()
            answer.wait(20)
            peer.respond(body=b"finished")
            peer.reader.rest()
        proxy = self.http_to(self.upstream(script), options={"drain_s": 60})
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(arrived.wait(10))
        proxy.signal(signal.SIGTERM)

        def refused():
            try:
                Client(proxy.port, timeout_s=1).close()
                return False
            except OSError:
                return True
        self.wait_until(refused, "new connections are refused")
        answer.set()
        response = client.response()
        self.assertEqual((response.status, response.body, response["connection"]), (200, b"finished", "close"))
        self.assertTrue(client.is_closed())
        self.assertEqual(proxy.wait_exit(), 0)

    def test_the_drain_time_is_a_limit(self):
        server = self.upstream(upstream.never_answer)
        proxy = self.http_to(server, options={"drain_s": 1})
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.wait_until(lambda: server.requests, "the request arrives")
        start = time.monotonic()
        proxy.signal(signal.SIGTERM)
        self.assertEqual(proxy.wait_exit(), 0)
        self.assertGreater(time.monotonic() - start, 0.5)

    def test_a_second_signal_ends_at_once(self):
        server = self.upstream(upstream.never_answer)
        proxy = self.http_to(server, options={"drain_s": 600})
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.wait_until(lambda: server.requests, "the request arrives")
        proxy.signal(signal.SIGTERM)
        time.sleep(0.2)  # two signals at the same moment are one for the kernel
        self.assertTrue(proxy.process.running())
        proxy.signal(signal.SIGTERM)
        proxy.wait_exit(10)

    def test_a_tcp_connection_is_cut_at_the_latest_after_the_drain_time(self):
        server = self.upstream(upstream.echo_tcp)
        proxy = self.tcp_to(server, drain_s=1)
        client = self.client(proxy.port)
        client.send(b"ping")
        client.reader.exactly(4)
        proxy.signal(signal.SIGTERM)
        self.assertTrue(client.is_closed())
        self.assertEqual(proxy.wait_exit(), 0)

    def test_a_thousand_clients_under_load_lose_no_request(self):
        server = self.upstream(upstream.answer(b"hello"))
        proxy = self.http_to(server, options={"drain_s": 30, "concurrency": 2})
        with Clients(proxy.port, 1000) as clients:
            self.assertTrue(clients.connected.wait(30))
            self.wait_until(lambda: clients.answered > 2000, "the load runs", 60)
            proxy.signal(signal.SIGTERM)
            self.assertTrue(clients.join(), "every client saw its connection announced as closing")
            self.assertEqual(clients.lost, [])
            self.assertEqual(proxy.wait_exit(), 0)

    def test_sighup_changes_nothing(self):
        proxy = self.http(configs.direct())
        client = self.client(proxy.port)
        self.assertEqual(client.request().status, 200)
        proxy.signal(signal.SIGHUP)
        self.assertEqual(client.request().status, 200)
        self.assertTrue(proxy.process.running())
