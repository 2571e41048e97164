"""The paths that `./dev bench paths` compares. Each is a context manager that makes itself ready for a client to
connect to `address:port`, and knows what CPU its programs spent. The two applications share a CPU, proxies have the
other."""
import contextlib
import json
import os
import subprocess

from support import proxies
from support.measure import LOAD_CPU, ROOT, Program, in_cgroup

APPS = os.path.join(ROOT, "build", "bench", "bench_local_apps")
SERVER = "127.0.0.1"
# What a listener needs that others' connections are sent to; all such paths have it.
ORIGINAL_DST = f"""\
listener_filters:
- name: envoy.filters.listener.original_dst
  typed_config: {{ "@type": {proxies.TYPES}.extensions.filters.listener.original_dst.v3.OriginalDst }}
"""


class Unavailable(Exception):
    """A path that cannot be measured here, with the reason."""


class Apps:
    """The server, and clients run against it."""

    def __init__(self, cgroup=None):
        self._cgroup = cgroup

    def __enter__(self):
        self.port = proxies.free_port()
        self._server = Program("server", [APPS, "serve", SERVER, str(self.port)], cpu=LOAD_CPU,
                               cgroup=self._cgroup)
        self._server.wait_ready(lambda: proxies.accepts(self.port))
        return self

    def __exit__(self, *_):
        self._server.close()

    def server_cpu_s(self):
        return self._server.cpu_s()

    def client(self, path, what, arguments):
        command = in_cgroup(path.cgroup, ["taskset", "-c", str(LOAD_CPU), APPS, what, path.address, str(path.port),
                                          *arguments])
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{path.name}: {what}: {done.stderr}")
        return json.loads(done.stdout)


class Path:
    """Base: the client connects to the server itself."""
    name = "direct"
    cgroup = None  # folder that the client joins
    netfilter = False  # makes rules, which slow every path of the namespace down

    def __init__(self, apps):
        self.apps = apps
        self.address, self.port = SERVER, apps.port if apps else None
        self.programs = []
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.set_up()
            self.try_out()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def set_up(self):
        pass

    def try_out(self):
        """Unavailable if the client does not get through."""
        try:
            self.apps.client(self, "pingpong", ["64", "0.2"])
        except RuntimeError as why:
            raise Unavailable(f"the trial failed: {why}") from why

    def cpu_s(self):
        """Of the server and everything on the way."""
        return self.apps.server_cpu_s() + sum(program.cpu_s() for program in self.programs)

    def counters(self):
        """What the kernel did for it, if it counts."""
        return {}

    def run_program(self, program):
        self.programs.append(self.stack.enter_context(program))
        return program

    def command(self, *command, undo=()):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")
        if undo:
            self.stack.callback(subprocess.run, undo, check=False, capture_output=True)


class ThroughProxy(Path):
    """The client connects to the proxy."""

    def make(self):
        raise NotImplementedError

    def set_up(self):
        program = self.run_program(self.make())
        self.port = program.port


class Userspace(ThroughProxy):
    name = "millrace"

    def make(self):
        return proxies.millrace(self.apps.port, "tcp")


class UserspaceAgain(Userspace):
    """A control: two measurements of equals."""
    name = "millrace-2"


class HaproxyTcp(ThroughProxy):
    name = "haproxy"

    def make(self):
        return proxies.haproxy(self.apps.port, "tcp")


class NginxStream(ThroughProxy):
    name = "nginx"

    def make(self):
        if not os.path.exists(proxies.NGINX_STREAM):
            raise Unavailable("nginx has no stream module here")
        return proxies.nginx(self.apps.port, "tcp")


class IptablesRedirect(Path):
    """The client dials an address that nobody listens on; iptables sends it to the proxy."""
    name = "iptables"
    netfilter = True

    def set_up(self):
        program = self.run_program(proxies.millrace(self.apps.port, "tcp", listener=ORIGINAL_DST))
        self.address, self.port = "127.0.0.2", proxies.free_port()
        rule = ["OUTPUT", "-p", "tcp", "-d", self.address, "--dport", str(self.port), "-j", "REDIRECT",
                "--to-ports", str(program.port)]
        self.command("iptables", "-w", "-t", "nat", "-A", *rule, undo=["iptables", "-w", "-t", "nat", "-D", *rule])
