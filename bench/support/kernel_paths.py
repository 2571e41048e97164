"""Paths on which the kernel does the work: TPROXY, and those of Millrace's fast path. Each fast path is confined to a
cgroup and a pin folder of its own, which go when the path is closed."""
import os
import re
import subprocess
import time
import urllib.request

from support import proxies
from support.local_paths import ORIGINAL_DST, Apps, Path, Unavailable


def cgroup_mount():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            fields = line.split()
            if fields[fields.index("-") + 1] == "cgroup2":
                return fields[4]
    raise Unavailable("no cgroup v2 is mounted")


def remove_cgroup(folder):
    """Processes that have just ended are in it for another moment."""
    for _ in range(200):
        try:
            return os.rmdir(folder)
        except OSError:
            time.sleep(0.01)
    return os.rmdir(folder)


class FastPath:
    """A cgroup, pins, and the extension that confines the fast path to them; `stack` undoes it all."""

    def __init__(self, name, stack):
        self.name = f"millrace-bench-{os.getpid()}-{name}"
        self.cgroup = os.path.join(cgroup_mount(), self.name)
        self.pins = f"/sys/fs/bpf/{self.name}"
        try:
            os.mkdir(self.cgroup)
        except OSError as why:
            raise Unavailable(f"no cgroup can be made: {why}") from why
        stack.callback(remove_cgroup, self.cgroup)
        detach = [proxies.MILLRACE, "fastpath", "detach", "--force", "--pin-directory", self.pins]
        stack.callback(subprocess.run, detach, check=False, capture_output=True)

    def extension(self, part):
        return f"""\
bootstrap_extensions:
- name: millrace.fastpath
  typed_config:
    "@type": type.googleapis.com/millrace.fastpath.v1.FastPath
    pin_directory: {self.pins}
    cgroups: [/{self.name}]
    on_unavailable: FAIL
    {part}
"""

    def short_circuit(self):
        return self.extension(f"short_circuit: {{ cgroups: [/{self.name}], listeners: [front] }}")


def started(maker, *arguments, **options):
    """The daemon, or Unavailable with what it said."""
    try:
        return maker(*arguments, **options)
    except RuntimeError as why:
        raise Unavailable(" ".join(str(why).split())[-300:]) from why


def counters(program):
    """What the daemon's statistics say of its fast path: {name: number}, those that are zero left out."""
    with urllib.request.urlopen(f"http://127.0.0.1:{program.admin_port}/stats?filter=fastpath", timeout=5) as response:
        text = response.read().decode()
    return {name: int(value) for name, value in re.findall(r"^fastpath\.(\S+): ([1-9]\d*)$", text, re.M)}


def demand(program, name):
    """After a trial: Unavailable if the kernel did nothing."""
    found = counters(program)
    if not {name, f"splice.{name}"} & found.keys():
        others = ", ".join(f"{key} {value}" for key, value in found.items())
        raise Unavailable(f"the daemon serves, but its counter {name} stays at nothing; there are: {others}")


class FastPathPath(Path):
    """Base: the client runs in the fast path's cgroup. `reason` counts what must happen, or the path is none."""
    reason = None

    def set_up(self):
        self.fast_path = FastPath(self.name, self.stack)
        self.cgroup = self.fast_path.cgroup
        program = self.run_program(started(self.make))
        self.port = program.port
        self.aim()

    def try_out(self):
        super().try_out()
        demand(self.programs[0], self.reason)

    def counters(self):
        return counters(self.programs[0])

    def make(self):
        raise NotImplementedError

    def aim(self):
        """Sets what the client dials, if it is not the listener."""


class ConnectTime(FastPathPath):
    """The client dials the listener; the kernel makes it dial the server."""
    name = "connect-time"
    reason = "balanced_tcp"

    def make(self):
        return proxies.millrace(self.apps.port, "tcp",
                                extension=self.fast_path.extension("connect_time: { listeners: [front] }"))


class Capture(FastPathPath):
    """The client dials an address that nobody listens on; the connect hook sends it to the proxy."""
    name = "capture"
    reason = "captured"

    def make(self):
        # In the cgroup as well, as by default, which is all of them: the listener's side of sockops runs.
        return proxies.millrace(self.apps.port, "tcp", listener=ORIGINAL_DST, cgroup=self.cgroup,
                                extension=self.fast_path.extension("capture: { listeners: [front], loopback: true }"))

    def aim(self):
        self.address, self.port = "127.0.0.2", proxies.free_port()


class Tproxy(Path):
    """As for iptables, but the proxy's socket has the address that was dialled: marked on the way out, so that it is
    routed to this host whatever the address, and given to the proxy when it comes in."""
    name = "tproxy"
    netfilter = True
    MARK, TABLE = "0x4d52", "19794"

    def set_up(self):
        program = self.run_program(started(proxies.millrace, self.apps.port, "tcp",
                                           listener=ORIGINAL_DST + "transparent: true\n"))
        self.address, self.port = "127.0.0.3", proxies.free_port()
        to = ["-p", "tcp", "-d", self.address, "--dport", str(self.port)]
        self.mangle("OUTPUT", *to, "-j", "MARK", "--set-mark", self.MARK)
        self.mangle("PREROUTING", *to, "-j", "TPROXY", "--on-ip", "127.0.0.1", "--on-port", str(program.port),
                    "--tproxy-mark", self.MARK)
        rule = ["fwmark", self.MARK, "lookup", self.TABLE]
        self.command("ip", "rule", "add", *rule, undo=["ip", "rule", "del", *rule])
        route = ["local", "default", "dev", "lo", "table", self.TABLE]
        self.command("ip", "route", "add", *route, undo=["ip", "route", "del", *route])

    def mangle(self, *rule):
        table = ["iptables", "-w", "-t", "mangle"]
        self.command(*table, "-A", *rule, undo=[*table, "-D", *rule])


class Hop(FastPathPath):
    """The client and the proxy hand each other messages. The server does not take part, so it is no joined pair."""
    name = "hop"
    reason = "redirected_hop"

    def make(self):
        return proxies.millrace(self.apps.port, "tcp", extension=self.fast_path.short_circuit(), cgroup=self.cgroup)


class Joined(FastPathPath):
    """Client and server hand each other messages, past the proxy that connected them. The server is this path's own,
    so that its programs run for no other path's connections."""
    name = "joined"
    reason = "redirected_joined"

    def make(self):
        self.apps = self.stack.enter_context(Apps(self.cgroup))
        return proxies.millrace(self.apps.port, "tcp", extension=self.fast_path.short_circuit(), cgroup=self.cgroup)
