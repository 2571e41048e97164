"""A child process, its output in files of a temporary folder, ended by its process id; nginx and HAProxy as peers."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

MAPPING = re.compile("([0-9a-f]+)-[0-9a-f]+ ")
SANITIZER_SHADOW = range(0x010000000000, 0x340000000000)  # of x86-64's ASan and TSan; nothing else is placed there


def wait_until(condition, timeout_s=10.0, what="condition"):
    """Polls until condition() is true and returns its value; raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {what}")
        time.sleep(0.01)


def accepts_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def all_stopped(pid):
    """Whether SIGSTOP has reached every thread."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8", errors="replace") as f:
            if f.read().rpartition(")")[2].split()[0] != "T":
                return False
    return True


def unread_bytes(port):
    """What waits in the receive queues of the IPv4 sockets that a port of this machine accepted."""
    total = 0
    with open("/proc/net/tcp", encoding="utf-8") as f:
        for line in f.readlines()[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == port and fields[3] == "01":
                total += int(fields[4].split(":")[1], 16)
    return total


def core_memory(pid):
    """(name, bytes) of each mapping that a core dump of the process would hold: all that is written to, but for what
    is marked as not to be dumped."""
    mappings, current = [], None
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            if MAPPING.match(line):
                span, permissions, *rest = line.split()
                current = (*(int(end, 16) for end in span.split("-")), permissions, rest[-1])
            elif line.startswith("VmFlags:") and not {"dd", "io", "pf"} & set(line.split()) and "r" in current[2]:
                mappings.append(current)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for start, end, _, name in mappings:
            try:
                memory.seek(start)
                yield f"{name} {start:x}", memory.read(end - start)
            except (OSError, OverflowError):
                continue  # of the kernel's own


class Process:
    """Runs `command`; `folder` is a temporary folder of its own, removed by close()."""

    def __init__(self, command, env=None, folder=None):
        self.folder = folder or tempfile.mkdtemp(prefix="millrace-test-")
        with open(self.path("stdout"), "wb") as out, open(self.path("stderr"), "wb") as err:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self.folder,
                                           env={**os.environ, **(env or {})})

    @property
    def pid(self):
        return self._child.pid

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        """The text of a file of the folder; empty if there is no such file (yet)."""
        if not os.path.exists(self.path(name)):
            return ""
        with open(self.path(name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def running(self):
        return self._child.poll() is None

    def signal(self, number):
        self._child.send_signal(number)

    def wait_exit(self, timeout_s=15.0):
        """The exit code; raises subprocess.TimeoutExpired."""
        return self._child.wait(timeout_s)

    def rss_kib(self):
        """Resident memory of the program itself: the shadow that a sanitizer keeps beside it does not count."""
        total, counts = 0, True
        with open(f"/proc/{self.pid}/smaps", encoding="utf-8", errors="replace") as f:
            for line in f:
                mapping = MAPPING.match(line)
                if mapping:
                    counts = int(mapping[1], 16) not in SANITIZER_SHADOW
                elif counts and line.startswith("Rss:"):
                    total += int(line.split()[1])
        return total

    def end(self, timeout_s=15.0):
        """SIGTERM, then SIGKILL after the time limit. Returns the exit code."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            return self.wait_exit(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self.wait_exit(5)

    def close(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _with_config(name, text):
    folder = tempfile.mkdtemp(prefix="millrace-test-")
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return folder, path


def nginx(port, server, http=""):
    """A one-process nginx; `server` is the inside of its server block on `port`, `http` of the http block."""
    folder, path = _with_config("nginx.conf", f"""
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  {http}
  server {{ listen 127.0.0.1:{port} reuseport backlog=4096; {server} }}
}}
""")
    process = Process(["nginx", "-p", folder, "-c", path, "-e", "stderr"], folder=folder)
    wait_until(lambda: accepts_connections(port) or not process.running(), what="nginx listens")
    return process


def haproxy(port, config, wrapper=()):
    """A one-thread HAProxy; `config` holds its frontends and backends, one of them on `port`."""
    folder, path = _with_config("haproxy.cfg", f"""
global
  nbthread 1
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
{config}
""")
    process = Process([*wrapper, "haproxy", "-db", "-f", path], folder=folder)
    wait_until(lambda: accepts_connections(port) or not process.running(), what="haproxy listens")
    return process
