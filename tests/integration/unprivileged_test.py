"""The daemon without root's rights: it serves, shows itself and drains; a privileged port is an error that says how."""
import os
import shutil
import signal
import tempfile

from support import configs
from support.case import ProxyCase
from support.http1 import get
from support.proxy import BINARY, Proxy, run

# Run by root, as in CI, the tests drop to nobody; by anybody else, they are what is wanted already.
AS_NOBODY = (["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
             if os.geteuid() == 0 else [])


def first_open_port():
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as f:
        return int(f.read())


class UnprivilegedTest(ProxyCase):
    def setUp(self):
        # The build's folder need not be open to everybody.
        folder = tempfile.mkdtemp(prefix="millrace-test-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        self.binary = shutil.copy(BINARY, folder)
        os.chmod(self.binary, 0o755)

    def test_the_quick_start_runs(self):
        text, port, admin_port = configs.quick_start()
        proxy = self.enterContext(Proxy(text, admin_port, concurrency=2, wrapper=AS_NOBODY, binary=self.binary))
        with open(f"/proc/{proxy.process.pid}/status", encoding="ascii") as f:
            ids = next(line.split()[1:] for line in f if line.startswith("Uid:"))
        self.assertNotIn("0", ids)
        for _ in range(4):
            self.assertIn(b"hello from upstream", get(port).body)
        self.assertEqual(proxy.admin_json("/server_info")["state"], "LIVE")
        client = self.client(port)
        self.assertEqual(client.request().status, 200)
        proxy.signal(signal.SIGTERM)
        self.assertEqual(proxy.wait_exit(), 0)

    def test_a_privileged_port_is_an_error_that_says_what_to_do(self):
        text, port, _ = configs.quick_start()
        privileged = min(80, first_open_port() - 1)
        wrapper = AS_NOBODY
        if privileged < 1:  # container runtimes open all ports; a network namespace of its own has none open
            wrapper, privileged = ["unshare", "--net", *AS_NOBODY], 80
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as f:
            f.write(text.replace(f"port_value: {port} ", f"port_value: {privileged} "))
            f.flush()
            os.chmod(f.name, 0o644)
            outcome = run("-c", f.name, "--concurrency", "1", wrapper=wrapper, binary=self.binary)
        self.assertEqual(outcome.code, 1, outcome.text)
        for part in ("listener 'front'", f"127.0.0.1:{privileged}", "Permission denied", "CAP_NET_BIND_SERVICE",
                     "net.ipv4.ip_unprivileged_port_start"):
            self.assertIn(part, outcome.err)
