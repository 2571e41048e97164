"""Network namespaces without a name: each is held by a descriptor of this process alone, so nothing is left of it when
the process ends, however it ends. A thread enters one; sockets and child processes made meanwhile belong to it.
"""
import contextlib
import ctypes
import os
import subprocess

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _own():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """Its loopback is up. Use as a context manager, or close()."""

    def __init__(self):
        before = _own()
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
            try:
                self._fd = _own()
            finally:
                _check(_libc.setns(before, _CLONE_NEWNET), "setns")
        finally:
            os.close(before)
        self.ip("link", "set", "lo", "up")

    @property
    def path(self):
        """What other processes open it by, while this one has it."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextlib.contextmanager
    def entered(self):
        before = _own()
        try:
            _check(_libc.setns(self._fd, _CLONE_NEWNET), "setns")
            try:
                yield self
            finally:
                _check(_libc.setns(before, _CLONE_NEWNET), "setns")
        finally:
            os.close(before)

    def run(self, *command):
        with self.entered():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def ip(self, *arguments):
        return self.run("ip", *arguments)

    def sysctl(self, name, value):
        with self.entered(), open(f"/proc/sys/{name.replace('.', '/')}", "w", encoding="ascii") as f:
            f.write(str(value))

    def connect(self, device, other, other_device, addresses, other_addresses):
        """A veth pair to another namespace; addresses with their prefix lengths."""
        self.ip("link", "add", device, "type", "veth", "peer", "name", other_device,
                "netns", other.path)
        for namespace, name, own in ((self, device, addresses), (other, other_device, other_addresses)):
            for address in own:
                namespace.ip("address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
            namespace.ip("link", "set", name, "up")

    def close(self):
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
