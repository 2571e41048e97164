"""A TestCase that starts peers and the daemon and ends them in the right order."""
import unittest

from support import configs
from support.http1 import Client
from support.ports import free_port
from support.process import wait_until
from support.proxy import Proxy
from support.upstream import Upstream


class ProxyCase(unittest.TestCase):
    maxDiff = None

    def upstream(self, script, **options):
        return self.enterContext(Upstream(script, **options))

    def client(self, port, **options):
        return self.enterContext(Client(port, **options))

    def start(self, listeners, clusters=(), extra="", flags=(), **options):
        """The daemon with listeners given as functions of their port; `proxy.port` is the first one's."""
        ports = options.pop("ports", None) or [free_port() for _ in listeners]
        admin_port = free_port()
        text = configs.bootstrap(admin_port, [make(port) for make, port in zip(listeners, ports)], clusters, extra)
        proxy = self.enterContext(Proxy(text, admin_port, *flags, **options))
        proxy.ports = ports
        proxy.port = ports[0]
        return proxy

    def http(self, *routes, clusters=(), listener_extra="", flags=(), options=None, **hcm):
        """The daemon with one HTTP listener."""
        return self.start([lambda port: configs.listener(port, configs.hcm(*routes, **hcm), extra=listener_extra)],
                          clusters, flags=flags, **(options or {}))

    def http_to(self, *upstreams, action="", cluster_extra="", **options):
        """The daemon with one HTTP listener that sends everything to a cluster `up` of these upstreams."""
        cluster = configs.cluster("up", *[u.port for u in upstreams], extra=cluster_extra)
        return self.http(configs.route("up", action=action), clusters=[cluster], **options)

    def tcp_to(self, *upstreams, extra="", cluster_extra="", access_log=(), **options):
        """The daemon with one tcp_proxy listener to a cluster `up`."""
        cluster = configs.cluster("up", *[u.port for u in upstreams], extra=cluster_extra)
        return self.start([lambda port: configs.listener(
            port, configs.tcp_proxy("up", extra=extra, access_log=access_log))], [cluster], **options)

    def wait_until(self, condition, what="condition", timeout_s=10.0):
        return wait_until(condition, timeout_s, what)
