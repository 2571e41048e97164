#!/usr/bin/env python3
"""TLS and gRPC, measured against nginx and HAProxy on the same machine in the same run.

The proxy has one worker on CPU 1; load generator and backend share CPU 0. All proxies have the same ECDSA P-256
certificate; what reaches the backend is not encrypted. README.md says what each scenario and number means.
"""
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import comparison, proxies  # noqa: E402  pylint: disable=wrong-import-position
from support.credentials import Credentials  # noqa: E402  pylint: disable=wrong-import-position
from support.measure import (LOAD_CPU, ROOT, costed, h2load,  # noqa: E402  pylint: disable=wrong-import-position
                             load_h2)

MAKERS = {"millrace": proxies.millrace, "nginx": proxies.nginx, "haproxy": proxies.haproxy}
# name: what bench_tls_client is to do: version, kind, connections at a time, bytes of a response
HANDSHAKES = {"full-1.3": ("1.3", "full", 16, 64), "resumed-1.3": ("1.3", "resumed", 16, 64),
              "resumed-1.2": ("1.2", "resumed", 16, 64)}
OVER_TLS = {"64B-c32": ("1.3", "keepalive", 32, 64), "64B-c256": ("1.3", "keepalive", 256, 64),
            "1MiB-c16": ("1.3", "keepalive", 16, 1 << 20)} | HANDSHAKES
GRPC = {"grpc": False, "grpc-tls": True}
SCENARIOS = (*OVER_TLS, *GRPC, "idle")

IDLE_CONNECTIONS = 2000
GRPC_CONNECTIONS, GRPC_STREAMS = 10, 100
GRPC_PATH = "bench.grpc"  # by its ending nghttpd knows the content type
GRPC_MESSAGE = "\0\0\0\0\x20" + "x" * 32
TLS_CLIENT = os.path.join(ROOT, "build", "bench", "bench_tls_client")

# A program whose CPU was less busy than this waited for the load: CPU per request says which one could do more.
BUSY = 0.95


def started(stack, backend_port, mode, wanted, credentials):
    return [stack.enter_context(MAKERS[name](backend_port, mode, credentials=credentials)) for name in wanted]


def tls_client(*arguments):
    return ["taskset", "-c", str(LOAD_CPU), TLS_CLIENT, *[str(argument) for argument in arguments]]


def over_tls(name, options, backend_port, credentials):
    version, kind, connections, size = OVER_TLS[name]

    def ask(program, seconds):
        done = subprocess.run(tls_client(program.port, version, kind, connections, seconds, size), check=True,
                              capture_output=True, text=True, timeout=seconds + 60)
        return json.loads(done.stdout)
    with contextlib.ExitStack() as stack:
        running = started(stack, backend_port, "http", options.proxies, credentials)
        for program in running:
            ask(program, 1)  # warms pools and caches
        return comparison.take_turns(name, running, options.rounds, lambda program: costed(
            program, lambda: ask(program, options.seconds)))


def check_grpc(url, message_file):
    """The proxy passes on a call as it has to: the message, and the trailers, without which a client sees no answer."""
    done = subprocess.run(["nghttp", "-nv", "-d", message_file, "-H", "content-type: application/grpc",
                           "-H", "te: trailers", url], capture_output=True, text=True, check=True, timeout=10)
    for wanted in (rf"recv DATA frame <length={len(GRPC_MESSAGE)},", r"\) content-type: application/grpc",
                   r"\) grpc-status: 0"):
        if not re.search(wanted, done.stdout):
            raise RuntimeError(f"{url} does not answer a gRPC call ({wanted}):\n{done.stdout}")


def grpc(name, options, credentials):
    is_tls = GRPC[name]
    with contextlib.ExitStack() as stack:
        message = stack.enter_context(tempfile.NamedTemporaryFile("w", encoding="ascii"))
        message.write(GRPC_MESSAGE)
        message.flush()
        flags = ["-d", message.name, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        backend = stack.enter_context(proxies.grpc_backend(GRPC_PATH, GRPC_MESSAGE))
        running = started(stack, backend.port, "h2h2", options.proxies, credentials if is_tls else None)
        urls, requests = {}, {}
        for program in running:
            url = urls[program.name] = f"{'https' if is_tls else 'http'}://127.0.0.1:{program.port}/{GRPC_PATH}"
            check_grpc(url, message.name)
            warm = h2load(url, GRPC_CONNECTIONS, GRPC_STREAMS, 10_000, more=flags)
            requests[program.name] = max(int(warm["requests"] / warm["duration_s"] * options.seconds), 1000)
        return comparison.take_turns(name, running, options.rounds, lambda program: load_h2(
            program, urls[program.name], GRPC_CONNECTIONS, GRPC_STREAMS, requests[program.name], flags))


def idle_connection_bytes(program, count):
    """Resident memory per connection that has served one request over TLS 1.3 and waits for the next."""
    subprocess.run(tls_client(program.port, "1.3", "full", 16, 1, 64), check=True, capture_output=True)
    before = program.rss_kib()
    with subprocess.Popen(tls_client(program.port, "1.3", "idle", count), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as client:
        if client.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{program.name} did not take {count} connections")
        return (program.rss_kib() - before) * 1024 / count


def idle(options, backend_port, credentials):
    with contextlib.ExitStack() as stack:
        return {program.name: {"fresh_rss_kib": program.rss_kib(),
                               "idle_connection_bytes": idle_connection_bytes(program, IDLE_CONNECTIONS)}
                for program in started(stack, backend_port, "http", options.proxies, credentials)}


def bars(results, memory):
    """comparison.bar() for everything that was measured."""
    found = []

    def pair(scenario, other):
        measured = results.get(scenario, {})
        return (measured["millrace"], measured[other]) if {"millrace", other} <= measured.keys() else None

    def compare(scenario, other, key, what, limit, at_least):
        if pair(scenario, other) is None:
            return
        mine, theirs = pair(scenario, other)
        if mine["errors"] or theirs["errors"]:
            found.append((f"{scenario} {what}, times {other}", None, str(limit), False))
            return
        value = mine[key] / theirs[key]
        if at_least and mine["cpu_share"] < BUSY:
            what = "requests per CPU second (the load is the limit)"
            value = theirs["cpu_us_per_request"] / mine["cpu_us_per_request"]
        found.append(comparison.bar(f"{scenario} {what}, times {other}", value, limit, at_least))
    for scenario in ("64B-c32", "64B-c256"):
        compare(scenario, "nginx", "requests_per_s", "requests/s", 1.4, True)
    compare("1MiB-c16", "nginx", "mib_per_s", "throughput", 1.1, True)
    for scenario in HANDSHAKES:
        compare(scenario, "nginx", "cpu_us_per_request", "CPU of a connection", 0.6, False)
    for scenario in GRPC:
        compare(scenario, "haproxy", "requests_per_s", "requests/s", 1.0, True)
        compare(scenario, "nginx", "requests_per_s", "requests/s", 2.0, True)
    if "millrace" in memory:
        found.append(comparison.bar("an idle TLS connection, KiB", memory["millrace"]["idle_connection_bytes"] / 1024,
                                    24, False))
    return found


def table(results, memory, about):
    return comparison.table("TLS and gRPC", about, results, memory, bars(results, memory))


def main():
    options = comparison.arguments(__doc__, "tls", SCENARIOS, MAKERS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    results, memory = {}, {}
    with proxies.backend() as backend, Credentials() as credentials:
        for name in options.only:
            if name == "idle":
                memory = idle(options, backend.port, credentials)
            elif name in GRPC:
                results[name] = grpc(name, options, credentials)
            else:
                results[name] = over_tls(name, options, backend.port, credentials)
    return comparison.publish(options, table(results, memory, options.about), {"results": results, "memory": memory},
                              bars(results, memory))


if __name__ == "__main__":
    sys.exit(main())
