"""The daemon with HTTP connections that the short-circuit takes part in."""
import uuid

from support import configs
from support.case import ProxyCase
from support.proxy import run

FAMILIES = (("127.0.0.1", "v4"), ("::1", "v6"))


def _cluster(host, port, extra=""):
    return "\n".join([
        "name: up", "type: STATIC", "connect_timeout: 1s", "load_assignment:", "  cluster_name: up", "  endpoints:",
        "  - lb_endpoints:",
        f'    - endpoint: {{ address: {{ socket_address: {{ address: "{host}", port_value: {port} }} }} }}', extra])


class HopsCase(ProxyCase):
    def extension(self, listener="front"):
        """The short-circuit; every daemon of a test has a pin directory of its own, as several live at once."""
        pins = f"/sys/fs/bpf/millrace-test-{uuid.uuid4().hex[:12]}"
        self.addCleanup(run, "fastpath", "detach", "--force", "--pin-directory", pins)
        return f"""
            bootstrap_extensions:
            - name: millrace.fastpath
              typed_config:
                "@type": type.googleapis.com/millrace.fastpath.v1.FastPath
                pin_directory: {pins}
                short_circuit: {{ cgroups: [/], listeners: [{listener}], policy: FIXED }}
            """

    def begin(self, port, on=True, host="127.0.0.1", hcm="", cluster_extra="", access_log=(), **options):
        """The daemon in front of an HTTP server; this process's cgroup is the daemon's, whose apps take part."""
        manager = configs.hcm(configs.route("up"), extra=hcm, access_log=access_log)
        proxy = self.start([lambda own: configs.listener(own, manager, address=host)],
                           [_cluster(host, port, cluster_extra)], extra=self.extension() if on else "", **options)
        if on and not proxy.stat("fastpath.splice.hop_v6" if ":" in host else "fastpath.splice.hop_v4"):
            self.skipTest("this kernel fails a probe of hops")
        return proxy

    def each_way(self):
        """With the short-circuit and without, on both families."""
        for host, family in FAMILIES:
            for on in (True, False):
                with self.subTest(family=family, short_circuit=on):
                    yield on, host

    def redirected(self, proxy):
        return proxy.stat("fastpath.splice.redirected_hop")

    def warm(self, proxy, client, on=True, host="example.com"):
        """Requests until both connections are hops, which the third of a connection surely finds."""
        for _ in range(3):
            self.assertEqual(client.request("POST", "/echo", body=b"warm", host=host).body, b"warm")
        if on:
            self.assertEqual(proxy.stat("fastpath.splice.hops"), 2, proxy.admin("/fastpath")[1])
            self.assertGreaterEqual(self.redirected(proxy), 4)
