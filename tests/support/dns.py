"""dnsmasq as a DNS server on a port of its own, whose answers a test changes."""
import os
import shutil
import signal
import tempfile

from support.ports import free_port
from support.process import Process, accepts_connections, wait_until

_PROGRAM = shutil.which("dnsmasq") or "/usr/sbin/dnsmasq"


class DnsServer:
    """Answers for names below .test: `hosts` maps names to lists of addresses; `services` are SRV records,
    (name, target, port, priority, weight), which do not change. Ask for `ttl` seconds later again."""

    def __init__(self, hosts=None, services=(), ttl=0):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="millrace-test-")
        self._file = os.path.join(self.folder, "hosts")
        self._write(hosts or {})
        self._command = [
            _PROGRAM, "--keep-in-foreground", "--conf-file=/dev/null", f"--port={self.port}",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts", "--local=/test/",
            f"--addn-hosts={self._file}", f"--local-ttl={ttl}", "--user=root", "--pid-file=", "--log-facility=-",
            *[f"--srv-host={name},{target},{port},{priority},{weight}"
              for name, target, port, priority, weight in services]]
        self._process = None
        self.start()

    def _write(self, hosts):
        with open(self._file + ".new", "w", encoding="ascii") as f:
            for name, addresses in hosts.items():
                f.writelines(f"{address} {name}\n" for address in addresses)
        os.replace(self._file + ".new", self._file)

    def start(self):
        self._process = Process(self._command)
        wait_until(lambda: accepts_connections(self.port), what="dnsmasq listens")

    def set(self, hosts):
        """These are the hosts from now on."""
        self._write(hosts)
        self._process.signal(signal.SIGHUP)

    def stop(self):
        """Nobody answers any more."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def resolver(port, extra=""):
    """The part of a cluster that names the server."""
    return f"""
typed_dns_resolver_config:
  name: envoy.network.dns_resolver.cares
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
    resolvers: [{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}]
    dns_resolver_options: {{ no_default_search_domain: true }}
    query_timeout_seconds: 1
    query_tries: 2
{extra}"""
