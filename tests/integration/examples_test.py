"""Every file of config/examples/ is accepted, and the quick start does what its comment says."""
import os
import shutil
import tempfile
import unittest

from support import configs
from support.case import ProxyCase
from support.certificates import Authority
from support.http1 import get
from support.proxy import Proxy, run

EXAMPLES = ["quickstart.yaml", "tcp.yaml", "weighted.yaml", "retries.yaml", "access_log.yaml", "original_dst.yaml",
            "dns.yaml", "fastpath.yaml", "pods.yaml", "http2.yaml", "http2_upstream.yaml", "tls.yaml",
            "grpc.yaml", "grpc_bridges.yaml"]
CERTIFICATES = "/etc/millrace/tls"  # where the examples have theirs


class ExamplesTest(unittest.TestCase):
    def test_every_example_is_accepted(self):
        folder = tempfile.mkdtemp(prefix="millrace-examples-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        authority = Authority(folder, "ca")
        chain, key = authority.issue("app.example.com")
        shutil.copy(authority.file, os.path.join(folder, "ca.crt"))
        os.rename(chain, os.path.join(folder, "tls.crt"))
        os.rename(key, os.path.join(folder, "tls.key"))
        for name in EXAMPLES:
            with self.subTest(name):
                with open(os.path.join(configs.EXAMPLES, name), encoding="utf-8") as f:
                    text = f.read().replace(CERTIFICATES, folder)
                path = os.path.join(folder, name)
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                outcome = run("--mode", "validate", "-c", path)
                self.assertEqual(outcome.code, 0, outcome.text)

    def test_the_list_is_complete(self):
        self.assertEqual(sorted(EXAMPLES), sorted(os.listdir(configs.EXAMPLES)))


class QuickStartTest(ProxyCase):
    def test_balances_over_the_two_embedded_upstreams(self):
        text, port, admin_port = configs.quick_start()
        self.enterContext(Proxy(text, admin_port))
        bodies = [get(port).body for _ in range(10)]
        self.assertEqual(bodies.count(b"hello from upstream one\n"), 5)
        self.assertEqual(bodies.count(b"hello from upstream two\n"), 5)
