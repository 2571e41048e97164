"""Programs pinned to a CPU and what they cost: CPU time of all their processes, resident memory; wrk as the load."""
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LOAD_CPU, PROXY_CPU = 0, 1

# wrk prints its own summary for people; this makes it print one line of JSON as well. Latencies come in microseconds.
REPORT = """
done = function(summary, latency, requests)
  io.write(string.format('\\nJSON {"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,' ..
    '"errors":%d}\\n', summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(99), summary.errors.connect + summary.errors.read + summary.errors.write +
    summary.errors.status + summary.errors.timeout))
end
"""


def in_cgroup(folder, command):
    """The command, as a process that joins the cgroup of that folder first; nothing changes without a folder."""
    if folder is None:
        return command
    return ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', folder, *command]


class Program:
    """A program on one CPU, in a temporary folder of its own with `files`; ended by its process id."""

    def __init__(self, name, command, files=None, cpu=PROXY_CPU, cgroup=None):
        self.name = name
        self.folder = tempfile.mkdtemp(prefix="millrace-bench-")
        for file, text in (files or {}).items():
            with open(os.path.join(self.folder, file), "w", encoding="utf-8") as f:
                f.write(text)
        self._err = open(os.path.join(self.folder, "stderr"), "wb")  # pylint: disable=consider-using-with
        self.started = time.monotonic()
        self._child = subprocess.Popen(in_cgroup(cgroup, ["taskset", "-c", str(cpu), *command]),
                                       cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self._err, stderr=self._err)

    def _pids(self):
        """The process and its descendants (nginx has a worker below its master)."""
        pids, parents = [], [self._child.pid]
        while parents:
            pid = parents.pop()
            pids.append(pid)
            try:
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                    parents += [int(child) for child in f.read().split()]
            except OSError:
                pass
        return pids

    def cpu_s(self):
        """User and system time so far, all threads of all processes."""
        total = 0
        for pid in self._pids():
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS_PER_S

    def rss_kib(self):
        total = 0
        for pid in self._pids():
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
        return total

    def wait_ready(self, check, limit_s=60.0):
        """Polls until check() is true; returns the seconds since the start. Until then nobody else closes it."""
        try:
            while not check():
                if self._child.poll() is not None or time.monotonic() - self.started > limit_s:
                    with open(os.path.join(self.folder, "stderr"), encoding="utf-8", errors="replace") as f:
                        raise RuntimeError(f"{self.name} did not come up: {f.read()[-3000:]}")
                time.sleep(0.005)
        except BaseException:
            self.close()
            raise
        return time.monotonic() - self.started

    def close(self):
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait(5)
        self._err.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wrk(url, connections, seconds, headers=(), cgroup=None):
    """One run of wrk on the load's CPU; a dictionary of what REPORT prints."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(REPORT)
        script.flush()
        command = ["taskset", "-c", str(LOAD_CPU), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
                   "--timeout", "10s", "-s", script.name,
                   *[part for header in headers for part in ("-H", header)], url]
        done = subprocess.run(in_cgroup(cgroup, command), capture_output=True, text=True, timeout=seconds + 60,
                              check=False)
    for line in done.stdout.splitlines():
        if line.startswith("JSON "):
            return json.loads(line[5:])
    raise RuntimeError(f"wrk: {done.stdout}{done.stderr}")


def load(program, url, connections, seconds, headers=(), cgroup=None):
    """One round: the load's numbers and what the program spent on them."""
    return costed(program, lambda: wrk(url, connections, seconds, headers, cgroup))


def costed(program, run):
    """What run() measured, in the keys of REPORT, as a sample: rates, and what the program spent meanwhile."""
    cpu = program.cpu_s()
    result = run()
    cpu = program.cpu_s() - cpu
    duration_s = result["duration_us"] / 1e6
    requests = max(result["requests"], 1)
    return {"requests_per_s": requests / duration_s, "mib_per_s": result["bytes"] / duration_s / 2**20,
            "cpu_us_per_request": cpu * 1e6 / requests, "cpu_share": cpu / duration_s, "p50_us": result["p50_us"],
            "p99_us": result["p99_us"], "errors": result["errors"], "rss_kib": program.rss_kib()}


def h2load(url, connections, streams, requests, log=None, more=()):
    """One run of h2load on the load's CPU: requests that succeeded, errors, seconds. `more`: flags."""
    command = ["taskset", "-c", str(LOAD_CPU), "h2load", f"-n{requests}", f"-c{connections}", f"-m{streams}", *more,
               *([f"--log-file={log}"] if log else []), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    finished = re.search(r"finished in ([0-9.]+)(us|ms|s|m)\b", done.stdout)
    counted = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
    if not finished or not counted:
        raise RuntimeError(f"h2load: {done.stdout}{done.stderr}")
    seconds = float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[finished[2]]
    return {"requests": int(counted[1]), "errors": int(counted[2]) + int(counted[3]), "duration_s": seconds}


def load_h2(program, url, connections, streams, requests, more=()):
    """One round over HTTP/2; latencies come from a shorter run of their own, as writing them costs the load's CPU."""
    cpu = program.cpu_s()
    result = h2load(url, connections, streams, requests, more=more)
    cpu = program.cpu_s() - cpu
    with tempfile.NamedTemporaryFile("r") as log:
        h2load(url, connections, streams, max(requests // 5, 1000), log.name, more)
        times = sorted(int(line.split()[2]) for line in log)
    return {"requests_per_s": result["requests"] / result["duration_s"],
            "cpu_us_per_request": cpu * 1e6 / max(result["requests"], 1), "cpu_share": cpu / result["duration_s"],
            "p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100], "errors": result["errors"],
            "rss_kib": program.rss_kib()}


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        return (done.stdout + done.stderr).strip().split("\n")[0]
    except OSError:
        return "not there"


def machine():
    """What a reader needs to judge the numbers; nothing that names the place."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        models = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    changed = first_line("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no")
    commit = first_line("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD")
    return {"cpu": models[0] if models else platform.machine(), "cpus": os.cpu_count(), "kernel": platform.release(),
            "commit": commit + (" and changes" if changed else ""),
            "nginx": first_line("nginx", "-v").removeprefix("nginx version: "),
            "haproxy": " ".join(first_line("haproxy", "-v").split()[:3]), "wrk": first_line("wrk", "-v").split(" [")[0],
            "load_average_before": os.getloadavg()[0]}
