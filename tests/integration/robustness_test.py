"""What happens on a bad day: clients and upstreams that misbehave at random, no descriptors left, no io_uring."""
import os
import random
import sys
import threading
import time

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import Client, Closed, get
from support.ports import free_port
from support.proxy import ROOT, run


def random_upstream(seed):
    """Every request meets one of: an answer, a slow one, a chunked one, a cut one, a reset, a close."""
    chance = random.Random(seed)

    def script(peer):
        while True:
            request = peer.read_request()
            kind = chance.randrange(10)
            if kind < 5:
                peer.respond(body=request.body or b"x" * chance.randrange(20000))
            elif kind == 5:
                time.sleep(chance.random() * 0.02)
                peer.respond(body=b"slow")
            elif kind == 6:
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            elif kind == 7:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut")
                return
            elif kind == 8:
                peer.reset()
                return
            else:
                return
    return script


class ChaosTest(ProxyCase):
    def one_client(self, port, chance):
        """One connection that does some requests and then ends in one of several ways."""
        with Client(port, timeout_s=20) as client:
            for _ in range(chance.randrange(4)):
                body = b"b" * chance.choice((0, 0, 10, 5000, 100000))
                self.assertIn(client.request("POST" if body else "GET", body=body).status, (200, 502, 503))
            end = chance.randrange(5)
            if end == 0:
                client.send(b"GET / HTTP/1.1\r\nHo")
            elif end == 1:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
            elif end == 2:
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
            elif end == 3:
                client.send(os.urandom(200))
            if chance.random() < 0.5:
                client.reset()

    def test_random_misbehaviour_leaves_nothing_behind(self):
        seed = int(os.environ.get("MILLRACE_TEST_SEED", "0")) or random.randrange(1 << 30)
        server = self.upstream(random_upstream(seed))
        policy = "retry_policy: { retry_on: connect-failure, num_retries: 1 }"
        proxy = self.http_to(server, action=policy, options={"concurrency": 2})
        files = proxy.open_files()
        errors = []

        def clients(number):
            chance = random.Random(seed + number)
            for _ in range(60):
                try:
                    self.one_client(proxy.port, chance)
                except (Closed, ConnectionError):
                    pass  # a response cut short by the upstream ends the connection, as it must
                except Exception as error:  # pylint: disable=broad-except
                    errors.append(error)
                    return
        threads = [threading.Thread(target=clients, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [], f"MILLRACE_TEST_SEED={seed}")
        for name in ("http.front.downstream_cx_active", "http.front.downstream_rq_active",
                     "cluster.up.upstream_rq_active", "cluster.up.upstream_rq_pending_active"):
            proxy.wait_stat(name, 0)
        # Idle upstream connections may stay in the pools.
        self.wait_until(lambda: proxy.open_files() <= files + server.open_connections + 2, "descriptors are closed")

    def test_half_open_clients_do_not_keep_others_waiting(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        for i in range(300):
            self.client(proxy.port).send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Part: %d" % i)
        start = time.monotonic()
        self.assertEqual(get(proxy.port).status, 200)
        self.assertLess(time.monotonic() - start, 5)


class DescriptorsTest(ProxyCase):
    def test_runs_out_of_descriptors_and_recovers(self):
        proxy = self.http(configs.direct(), options={"nofile": 80})
        self.assertEqual(get(proxy.port).status, 200)
        clients = [self.client(proxy.port) for _ in range(150)]
        clients[0].send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(clients[0].response().status, 200, "connections that were accepted are served")
        for client in clients:
            client.close()

        def serves():
            try:
                with Client(proxy.port, timeout_s=1) as client:
                    return client.request().status == 200
            except (OSError, Closed):
                return False
        self.wait_until(serves, "new connections are served again", 20)


class StartTest(ProxyCase):
    def test_without_io_uring_it_says_so_and_ends_with_1(self):
        text = configs.bootstrap(free_port(), [configs.listener(free_port(), configs.hcm(configs.direct()))])
        wrapper = [sys.executable, "-B", os.path.join(ROOT, "tests", "support", "without_io_uring.py")]
        outcome = run("--config-yaml", text, wrapper=wrapper)
        self.assertEqual(outcome.code, 1, outcome.text)
        self.assertIn("io_uring", outcome.text)
        self.assertEqual(len([line for line in outcome.err.splitlines() if "io_uring" in line]), 1)
