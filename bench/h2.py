#!/usr/bin/env python3
"""HTTP/2 without TLS, measured against HAProxy, nginx and nghttpx on the same machine in the same run.

h2load on CPU 0, where the backend is too, 10 connections of 100 streams each; the proxy has one worker on CPU 1. `h2`:
HTTP/1 to the backend; `h2h2`: HTTP/2 on both sides. README.md says what each number means.
"""
import contextlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import proxies  # noqa: E402  pylint: disable=wrong-import-position
from support import comparison  # noqa: E402  pylint: disable=wrong-import-position
from support.measure import h2load, load_h2  # noqa: E402  pylint: disable=wrong-import-position

CONNECTIONS, STREAMS = 10, 100
MAKERS = {"millrace": proxies.millrace, "haproxy": proxies.haproxy, "nginx": proxies.nginx, "nghttpx": proxies.nghttpx}
SCENARIOS = {"h2": ("millrace", "haproxy", "nginx", "nghttpx"), "h2h2": ("millrace", "haproxy", "nghttpx")}


def measure(mode, rounds, seconds, wanted):
    """Medians of every number, by proxy."""
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(proxies.h2_backend() if mode == "h2h2" else proxies.backend())
        running = [stack.enter_context(MAKERS[name](backend.port, mode)) for name in SCENARIOS[mode] if name in wanted]
        requests = {}
        for program in running:  # warms pools and caches, and tells how many requests make a round
            warm = h2load(f"http://127.0.0.1:{program.port}/64", CONNECTIONS, STREAMS, 20_000)
            requests[program.name] = max(int(warm["requests"] / warm["duration_s"] * seconds), 1000)
        return comparison.take_turns(mode, running, rounds, lambda program: load_h2(
            program, f"http://127.0.0.1:{program.port}/64", CONNECTIONS, STREAMS, requests[program.name]))


def bars(results):
    """comparison.bar() for everything that was measured."""
    found = []
    for mode, rate, cpu in (("h2", 1.3, 0.8), ("h2h2", 1.0, None)):
        mine, other = results.get(mode, {}).get("millrace"), results.get(mode, {}).get("haproxy")
        if not mine or not other:
            continue
        ratios = {key: mine[key] / other[key] for key in ("requests_per_s", "cpu_us_per_request", "p99_us")}
        found.append(comparison.bar(f"{mode} requests/s, times HAProxy", ratios["requests_per_s"], rate, True))
        if cpu:
            found.append(comparison.bar(f"{mode} CPU per request, times HAProxy", ratios["cpu_us_per_request"], cpu,
                                        False))
        found.append(comparison.bar(f"{mode} p99, times HAProxy", ratios["p99_us"], 1.0, False))
    return found


def table(results, about):
    lines = ["# HTTP/2", "", *(f"- {key}: {value}" for key, value in about.items()), "",
             "| scenario | proxy | requests/s | CPU us/request | CPU share | p50 us | p99 us | RSS MiB | errors |",
             "|---|---|---|---|---|---|---|---|---|"]
    for mode, measured in results.items():
        for name, m in measured.items():
            lines.append(f"| {mode} | {name} | {m['requests_per_s']:.0f} | {m['cpu_us_per_request']:.2f} | "
                         f"{m['cpu_share']:.2f} | {m['p50_us']:.0f} | {m['p99_us']:.0f} | {m['rss_kib'] / 1024:.1f} | "
                         f"{m['errors']:.0f} |")
    return "\n".join(lines + comparison.bar_table(bars(results))) + "\n"


def main():
    options = comparison.arguments(__doc__, "h2", SCENARIOS, MAKERS)
    results = {mode: measure(mode, options.rounds, options.seconds, options.proxies) for mode in options.only}
    return comparison.publish(options, table(results, options.about), {"results": results}, bars(results))


if __name__ == "__main__":
    sys.exit(main())
