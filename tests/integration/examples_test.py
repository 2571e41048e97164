"""Every file of config/examples/ is accepted, and the quick start does what its comment says."""
import os
import unittest

from support.case import ProxyCase
from support.http1 import get
from support.ports import free_port
from support.proxy import ROOT, Proxy, run

FOLDER = os.path.join(ROOT, "config", "examples")
EXAMPLES = ["quickstart.yaml", "tcp.yaml", "weighted.yaml", "retries.yaml", "access_log.yaml"]


class ExamplesTest(unittest.TestCase):
    def test_every_example_is_accepted(self):
        for name in EXAMPLES:
            with self.subTest(name):
                outcome = run("--mode", "validate", "-c", os.path.join(FOLDER, name))
                self.assertEqual(outcome.code, 0, outcome.text)

    def test_the_list_is_complete(self):
        self.assertEqual(sorted(EXAMPLES), sorted(os.listdir(FOLDER)))


class QuickStartTest(ProxyCase):
    def test_balances_over_the_two_embedded_upstreams(self):
        with open(os.path.join(FOLDER, "quickstart.yaml"), encoding="utf-8") as f:
            text = f.read()
        ports = {old: free_port() for old in (10000, 10001, 10002, 9901)}
        for old, new in ports.items():
            text = text.replace(f"port_value: {old} ", f"port_value: {new} ")
        self.enterContext(Proxy(text, ports[9901]))
        bodies = [get(ports[10000]).body for _ in range(10)]
        self.assertEqual(bodies.count(b"hello from upstream one\n"), 5)
        self.assertEqual(bodies.count(b"hello from upstream two\n"), 5)
