"""What tests of capture share: a network namespace that owns the addresses of servers, the daemon with its capture
listeners, and clients in the captured cgroup.
"""
import re

from support import configs
from support.namespaces import Namespace
from support.steered import SteeredCase
from support.upstream import Upstream

CAPTURE = 15001
V4, V6, OTHER = "10.88.0.1", "fd88::1", "10.88.0.2"
MAPPED = "::ffff:10.88.0.1"
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
ORIGINAL = configs.original_dst_cluster("original")
LOG = "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% %RESPONSE_FLAGS%"


def says(name):
    """A server that answers a word with its name and the word, and closes."""
    def script(peer):
        word = peer.sock.recv(4096)
        if word:
            peer.send(name.encode() + b" " + word)
    return script


def capture_listener(*filters, version=4, extra=configs.ORIGINAL_DST_FILTER, name=""):
    """Their names begin with "capture"."""
    log = configs.file_log("log", LOG)
    filters = filters or [configs.tcp_proxy("original", access_log=[log])]
    return configs.listener(CAPTURE, *filters, name=f"capture{name or version}", address=LOOPBACK[version], extra=extra)


def inside(pod, listener):
    """A listener's text, its address in another network namespace."""
    return listener.replace("socket_address: {", f"socket_address: {{ network_namespace_filepath: {pod.path},", 1)


class CaptureCase(SteeredCase):
    def setUp(self):
        super().setUp()
        self.pod = self.new_pod()
        self.enterContext(self.pod.entered())

    def new_pod(self):
        pod = self.enterContext(Namespace())
        pod.ip("address", "add", f"{V4}/32", "dev", "lo")
        pod.ip("address", "add", f"{OTHER}/32", "dev", "lo")
        pod.ip("address", "add", f"{V6}/128", "dev", "lo", "nodad")
        return pod

    def server(self, name, host=V4, port=0):
        return self.enterContext(Upstream(says(name), host=host, port=port)).port

    def capture(self, rules="", listeners=None, clusters=(ORIGINAL,), where=None, more="", pins=None, **options):
        """The daemon, in the captured cgroup itself unless told otherwise: its own connects are steered least of all.
        `rules` are fields of Capture."""
        listeners = listeners or [capture_listener()]
        names = ", ".join(re.findall("^name: (capture.*)$", "\n".join(listeners), re.MULTILINE))
        extra = self.extension(f"capture: {{ listeners: [{names}]{rules} }}", more, pins=pins, cgroup=where)
        options.setdefault("wrapper", self.inside())
        return self.start([lambda _, text=text: text for text in listeners], list(clusters),
                          extra=extra, ports=[CAPTURE] * len(listeners), flags=["--file-flush-interval-msec", "20"],
                          **options)

    def count(self, proxy, name):
        return proxy.stat(f"fastpath.{name}")

    def check(self, seen, said, peer):
        self.assertIsNone(seen.error, seen)
        self.assertEqual((seen.said, seen.peer), (f"{said} hello", peer))

    def check_refused(self, seen):
        self.assertEqual((seen.error, seen.said), ("ECONNREFUSED", ""))

    def log_lines(self, proxy, number):
        self.wait_until(lambda: proxy.process.read("log").count("\n") >= number, "access log lines")
        return proxy.process.read("log").splitlines()
