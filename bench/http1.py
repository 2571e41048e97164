#!/usr/bin/env python3
"""HTTP/1.1 and TCP proxying, measured against nginx and HAProxy on the same machine in the same run.

The proxy has one worker on CPU 1; load generator and backend share CPU 0. Every scenario runs in rounds in which the
proxies take turns, so that what the machine does meanwhile hits all of them; the table shows medians. README.md says
what each number means.
"""
import contextlib
import os
import resource
import socket
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import proxies  # noqa: E402  pylint: disable=wrong-import-position
from support import comparison  # noqa: E402  pylint: disable=wrong-import-position
from support.measure import load  # noqa: E402  pylint: disable=wrong-import-position

# name: (mode, path, connections, headers)
SCENARIOS = {
    "64B-c32": ("http", "/64", 32, ()),
    "64B-c256": ("http", "/64", 256, ()),
    "64KiB-c32": ("http", "/65536", 32, ()),
    "1MiB-c16": ("http", "/1048576", 16, ()),
    "close-c32": ("http", "/64", 32, ("Connection: close",)),
    "tcp-bulk-c8": ("tcp", "/1048576", 8, ()),
    "tcp-64B-c32": ("tcp", "/64", 32, ()),
    "tcp-64B-c256": ("tcp", "/64", 256, ()),
}
IDLE_CONNECTIONS = 5000
CLUSTERS = 10000


def start_proxies(stack, backend_port, mode, wanted):
    makers = [("millrace", lambda: proxies.millrace(backend_port, mode)),
              ("nginx", lambda: proxies.nginx(backend_port, mode)),
              ("haproxy", lambda: proxies.haproxy(backend_port, mode))]
    if mode == "tcp":
        makers.append(("haproxy", lambda: proxies.haproxy(backend_port, mode, splice=True)))
        if not os.path.exists(proxies.NGINX_STREAM):
            makers = [maker for maker in makers if maker[0] != "nginx"]
    return [stack.enter_context(make()) for name, make in makers if name in wanted]


def measure_scenario(name, rounds, seconds, backend_port, wanted):
    """Medians of every number, by proxy."""
    mode, path, connections, headers = SCENARIOS[name]
    with contextlib.ExitStack() as stack:
        running = start_proxies(stack, backend_port, mode, wanted)
        for program in running:
            load(program, f"http://127.0.0.1:{program.port}{path}", connections, 1, headers)  # warms pools and caches
        return comparison.take_turns(name, running, rounds, lambda program: load(
            program, f"http://127.0.0.1:{program.port}{path}", connections, seconds, headers))


def idle_connection_bytes(program, count):
    """Resident memory per keep-alive connection that has served one request and waits for the next."""
    request = b"GET /64 HTTP/1.1\r\nHost: a\r\n\r\n"

    def ask(sock):
        sock.sendall(request)
        data = b""
        while not data.endswith(b"x" * 64):
            data += sock.recv(4096)

    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.create_connection(("127.0.0.1", program.port)))
        for _ in range(1000):
            ask(first)
        before = program.rss_kib()
        for _ in range(count):
            ask(stack.enter_context(socket.create_connection(("127.0.0.1", program.port))))
        return (program.rss_kib() - before) * 1024 / count


def measure_memory(backend_port, wanted, idle_connections, clusters):
    """Fresh and idle memory of every proxy; start and memory with many clusters of Millrace."""
    found = {}
    with contextlib.ExitStack() as stack:
        for program in start_proxies(stack, backend_port, "http", wanted):
            fresh = program.rss_kib()
            found[program.name] = {"fresh_rss_kib": fresh, "start_s": program.startup_s,
                                   "idle_connection_bytes": idle_connection_bytes(program, idle_connections)}
    if "millrace" in wanted:
        with proxies.millrace(backend_port, "http", clusters) as program:
            grown = program.rss_kib() - found["millrace"]["fresh_rss_kib"]
            found["millrace"] |= {"clusters": clusters, "clusters_start_s": program.startup_s,
                                  "cluster_bytes": grown * 1024 / clusters}
    return found


def ratio(results, scenario, key, other="nginx"):
    measured = results.get(scenario, {})
    if "millrace" not in measured or other not in measured or not measured[other][key]:
        return None
    return measured["millrace"][key] / measured[other][key]


def bars(results, memory):
    """comparison.bar() for everything that was measured."""
    found = []

    def bar(what, value, limit, at_least):
        if value is not None:
            found.append(comparison.bar(what, value, limit, at_least))
    for scenario in ("64B-c32", "64B-c256"):
        bar(f"{scenario} requests/s, times nginx", ratio(results, scenario, "requests_per_s"), 1.5, True)
        bar(f"{scenario} CPU per request, times nginx", ratio(results, scenario, "cpu_us_per_request"), 0.6, False)
        bar(f"{scenario} p99, times nginx", ratio(results, scenario, "p99_us"), 1.0, False)
    for scenario in ("64KiB-c32", "1MiB-c16"):
        bar(f"{scenario} throughput, times nginx", ratio(results, scenario, "mib_per_s"), 1.2, True)
    bar("a connection per request, times nginx", ratio(results, "close-c32", "requests_per_s"), 1.2, True)
    tcp = results.get("tcp-bulk-c8", {})
    if "millrace" in tcp and len(tcp) > 1:
        best = max((other["mib_per_s"], name) for name, other in tcp.items() if name != "millrace")
        bar(f"tcp_proxy bulk, times the best other ({best[1]})", tcp["millrace"]["mib_per_s"] / best[0], 1.0, True)
    mine = memory.get("millrace", {})
    bar("an idle keep-alive connection, KiB", mine and mine["idle_connection_bytes"] / 1024 or None, 4, False)
    bar("fresh process, MiB", mine and mine["fresh_rss_kib"] / 1024 or None, 30, False)
    bar(f"start with {mine.get('clusters')} clusters, s", mine.get("clusters_start_s"), 3, False)
    bar("a static cluster, KiB", mine and mine["cluster_bytes"] / 1024 or None, 4, False)
    return found


def table(results, memory, about):
    return comparison.table("HTTP/1.1 and TCP proxying", about, results, memory, bars(results, memory))


def main():
    options = comparison.arguments(__doc__, "http1", [*SCENARIOS, "memory"], ["millrace", "nginx", "haproxy"],
                                   "one round of one second, few idle connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    results, memory = {}, {}
    with proxies.backend() as backend:
        for name in options.only:
            if name == "memory":
                memory = measure_memory(backend.port, options.proxies, 500 if options.quick else IDLE_CONNECTIONS,
                                        CLUSTERS)
            else:
                results[name] = measure_scenario(name, options.rounds, options.seconds, backend.port, options.proxies)
    return comparison.publish(options, table(results, memory, options.about), {"results": results, "memory": memory},
                              bars(results, memory))


if __name__ == "__main__":
    sys.exit(main())
