"""The daemon under test: started on a configuration text, asked through its admin listener, ended with its exit code
checked. The binary is MILLRACE_BINARY, or build/millrace of this checkout.
"""
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from support.process import Process, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BINARY = os.environ.get("MILLRACE_BINARY", os.path.join(ROOT, "build", "millrace"))
# Sanitized builds start and stop slower; every limit here is a bound on failure, not an expected duration.
START_LIMIT_S = 30.0


class Proxy:
    """Runs the daemon on `config` (YAML text whose admin listens on `admin_port`); use as a context manager.

    Leaving it sends SIGTERM and demands exit code 0, so that a sanitizer's report or a crash at the end fails the test.
    """

    def __init__(self, config, admin_port, *flags, concurrency=1, drain_s=2, env=None, expect_exit=0, nofile=None,
                 wrapper=(), binary=BINARY):
        self.admin_port = admin_port
        self._expect_exit = expect_exit
        folder = tempfile.mkdtemp(prefix="millrace-test-")
        path = os.path.join(folder, "config.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(config)
        os.chmod(folder, 0o755)  # for a wrapper that runs it as somebody else
        command = [*wrapper, binary, "-c", path, "--concurrency", str(concurrency), "--drain-time-s", str(drain_s),
                   *flags]
        if nofile is not None:
            command = ["prlimit", f"--nofile={nofile}:{nofile}", *command]
        self.process = Process(command, env=env, folder=folder)
        try:
            wait_until(lambda: self._ready() or not self.process.running(), START_LIMIT_S, "the daemon is ready")
            if not self.process.running():
                raise AssertionError(f"the daemon ended at start with {self.process.wait_exit()}")
        except BaseException:
            self._print_log()
            self.process.close()
            raise

    def _ready(self):
        try:
            return self.admin("/ready")[0] == 200
        except OSError:
            return False

    def admin(self, path, method="GET"):
        """(status, body text) of an admin request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}{path}", method=method,
                                         data=b"" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def admin_json(self, path):
        status, body = self.admin(path)
        if status != 200:
            raise AssertionError(f"{path}: {status} {body}")
        return json.loads(body)

    def stats(self):
        """Counters and gauges by name, as numbers."""
        found = {}
        for line in self.admin("/stats")[1].splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                found[name] = int(value)
        return found

    def stat(self, name):
        """One counter or gauge; a stat that is not there fails the test rather than reading as 0."""
        stats = self.stats()
        if name not in stats:
            near = [other for other in stats if other.split(".")[-1] == name.split(".")[-1]]
            raise AssertionError(f"no stat {name}; there is: {near}")
        return stats[name]

    def wait_stat(self, name, value, timeout_s=10.0):
        """Waits until a stat has a value (stats are merged from the workers, so they may lag by a turn)."""
        try:
            wait_until(lambda: self.stats().get(name) == value, timeout_s, f"{name} == {value}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; it is {self.stats().get(name)}") from None

    def path(self, name):
        """A file name in the daemon's own temporary folder."""
        return self.process.path(name)

    def log(self):
        return self.process.read("stderr")

    def output(self):
        return self.process.read("stdout")

    def signal(self, number):
        self.process.signal(number)

    def wait_exit(self, timeout_s=20.0):
        return self.process.wait_exit(timeout_s)

    def rss_kib(self):
        return self.process.rss_kib()

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _print_log(self):
        print(f"--- daemon's log\n{self.log()[-8000:]}\n--- end of log")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            code = self.process.end(timeout_s=20.0)
            if kind is not None or code != self._expect_exit:
                self._print_log()
            if kind is None and code != self._expect_exit:
                raise AssertionError(f"the daemon ended with {code}, not {self._expect_exit}")
        finally:
            shutil.rmtree(self.process.folder, ignore_errors=True)


class Outcome:
    """What a run of the daemon that ends by itself left: exit code, standard output, standard error."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def text(self):
        return self.out + self.err


def run(*flags, timeout_s=60.0, wrapper=(), binary=BINARY):
    """Runs the daemon to its end; `wrapper` is a command that runs it."""
    done = subprocess.run([*wrapper, binary, *flags], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout_s, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def validate(config, *flags, suffix=".yaml"):
    """--mode validate on a configuration text."""
    with tempfile.NamedTemporaryFile("w", suffix=suffix, encoding="utf-8") as f:
        f.write(config)
        f.flush()
        return run("--mode", "validate", "-c", f.name, *flags)
