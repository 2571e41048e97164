"""What tests of the fast path share: a cgroup and a pin folder of their own, gone afterwards whatever happens, and
programs that run in the cgroup, whose connects are steered.
"""
import json
import os
import subprocess
import sys
import unittest
import uuid

from support.case import ProxyCase
from support.proxy import run


def cgroup_mount():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            fields = line.split()
            if fields[fields.index("-") + 1] == "cgroup2":
                return fields[4]
    raise unittest.SkipTest("no cgroup v2 is mounted")


# Dials each (host, port) of the arguments, says a word, and prints what it saw: a line of JSON each.
DIALLER = """
import errno, json, socket, sys
for host, port in json.loads(sys.argv[1]):
    seen = {"peer": None, "said": "", "error": None}
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(10)
        try:
            sock.connect((host, port))
            seen["peer"] = list(sock.getpeername()[:2])
            sock.sendall(b"hello")
            while data := sock.recv(4096):
                seen["said"] += data.decode()
        except OSError as error:
            seen["error"] = errno.errorcode.get(error.errno, str(error))
    print(json.dumps(seen), flush=True)
"""


class Seen:
    """What a client saw: the address of its peer, what that said, the name of the error that ended it."""

    def __init__(self, peer, said, error):
        self.peer, self.said, self.error = tuple(peer) if peer else None, said, error

    def __repr__(self):
        return f"<{self.peer} {self.said!r} {self.error}>"


class SteeredCase(ProxyCase):
    def setUp(self):
        self.name = "millrace-test-" + uuid.uuid4().hex[:12]
        self.cgroup = self.new_cgroup(self.name)
        self.pins = self.new_pins(self.name)

    def new_cgroup(self, name):
        path = os.path.join(cgroup_mount(), name)
        os.mkdir(path)
        self.addCleanup(os.rmdir, path)
        return path

    def new_pins(self, name):
        path = f"/sys/fs/bpf/{name}"
        self.addCleanup(run, "fastpath", "detach", "--force", "--pin-directory", path)
        return path

    def extension(self, part, more="", pins=None, cgroup=None):
        return f"""
            bootstrap_extensions:
            - name: millrace.fastpath
              typed_config:
                "@type": type.googleapis.com/millrace.fastpath.v1.FastPath
                pin_directory: {pins or self.pins}
                cgroups: [/{cgroup or self.name}]
                {part}
                {more}
            """

    def inside(self, cgroup=None):
        """The command that runs another one in a cgroup."""
        return ["sh", "-c", f'echo $$ >{cgroup or self.cgroup}/cgroup.procs && exec "$@"', "sh"]

    def in_cgroup(self, *command, cgroup=None):
        """Output of a program in the cgroup, which has to succeed."""
        done = subprocess.run([*self.inside(cgroup), *command], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def dial(self, *targets, cgroup=None, wrapper=()):
        """What a client in the cgroup sees at each (host, port): one Seen, or a list."""
        out = self.in_cgroup(*wrapper, sys.executable, "-c", DIALLER, json.dumps(targets), cgroup=cgroup)
        seen = [Seen(**json.loads(line)) for line in out.splitlines()]
        return seen[0] if len(targets) == 1 else seen
