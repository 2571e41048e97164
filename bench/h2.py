#!/usr/bin/env python3
"""HTTP/2 without TLS, measured against HAProxy, nginx and nghttpx on the same machine in the same run.

h2load on CPU 0, where the backend is too, 10 connections of 100 streams each; the proxy has one worker on CPU 1. `h2`:
HTTP/1 to the backend; `h2h2`: HTTP/2 on both sides. README.md says what each number means.
"""
import argparse
import contextlib
import json
import os
import statistics
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import proxies  # noqa: E402  pylint: disable=wrong-import-position
from support.measure import ROOT, h2load, load_h2, machine  # noqa: E402  pylint: disable=wrong-import-position

CONNECTIONS, STREAMS = 10, 100
MAKERS = {"millrace": proxies.millrace, "haproxy": proxies.haproxy, "nginx": proxies.nginx, "nghttpx": proxies.nghttpx}
SCENARIOS = {"h2": ("millrace", "haproxy", "nginx", "nghttpx"), "h2h2": ("millrace", "haproxy", "nghttpx")}


def measure(mode, rounds, seconds, wanted):
    """Medians of every number, by proxy."""
    samples = {}
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(proxies.h2_backend() if mode == "h2h2" else proxies.backend())
        running = [stack.enter_context(MAKERS[name](backend.port, mode)) for name in SCENARIOS[mode] if name in wanted]
        requests = {}
        for program in running:  # warms pools and caches, and tells how many requests make a round
            warm = h2load(f"http://127.0.0.1:{program.port}/64", CONNECTIONS, STREAMS, 20_000)
            requests[program.name] = max(int(warm["requests"] / warm["duration_s"] * seconds), 1000)
        for number in range(rounds):
            for program in running[number % len(running):] + running[:number % len(running)]:
                sample = load_h2(program, f"http://127.0.0.1:{program.port}/64", CONNECTIONS, STREAMS,
                                 requests[program.name])
                samples.setdefault(program.name, []).append(sample)
                print(f"  {mode} {program.name}: {sample['requests_per_s']:.0f}/s", file=sys.stderr, flush=True)
    return {name: {key: statistics.median(sample[key] for sample in taken) for key in taken[0]}
            | {"errors": sum(sample["errors"] for sample in taken), "rounds": taken} for name, taken in samples.items()}


def bars(results):
    """[(what, value, bar as text, met)] for everything that was measured."""
    found = []
    for mode, rate, cpu in (("h2", 1.3, 0.8), ("h2h2", 1.0, None)):
        mine, other = results.get(mode, {}).get("millrace"), results.get(mode, {}).get("haproxy")
        if not mine or not other:
            continue
        ratios = {key: mine[key] / other[key] for key in ("requests_per_s", "cpu_us_per_request", "p99_us")}
        found.append((f"{mode} requests/s, times HAProxy", ratios["requests_per_s"], f">= {rate}",
                      ratios["requests_per_s"] >= rate))
        if cpu:
            found.append((f"{mode} CPU per request, times HAProxy", ratios["cpu_us_per_request"], f"<= {cpu}",
                          ratios["cpu_us_per_request"] <= cpu))
        found.append((f"{mode} p99, times HAProxy", ratios["p99_us"], "<= 1.0", ratios["p99_us"] <= 1.0))
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
    lines += ["", "| bar | measured | wanted | met |", "|---|---|---|---|"]
    lines += [f"| {what} | {value:.2f} | {wanted} | {'yes' if met else 'NO'} |"
              for what, value, wanted, met in bars(results)]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of one proxy in one round")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, separated by commas")
    parser.add_argument("--proxies", default=",".join(MAKERS))
    parser.add_argument("--out", default=os.path.join(ROOT, "bench", "results", "h2"),
                        help="results go to this name with .json and .md; empty: nowhere")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a bar is missed")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    scenarios, wanted = options.only.split(","), options.proxies.split(",")
    if set(scenarios) - set(SCENARIOS) or set(wanted) - set(MAKERS):
        parser.error(f"scenarios are {','.join(SCENARIOS)}, proxies {','.join(MAKERS)}")
    about = machine() | {"rounds": options.rounds, "seconds": options.seconds}
    results = {mode: measure(mode, options.rounds, options.seconds, wanted) for mode in scenarios}
    text = table(results, about)
    print(text)
    if options.out:
        with open(options.out + ".md", "w", encoding="utf-8") as f:
            f.write(text)
        with open(options.out + ".json", "w", encoding="utf-8") as f:
            json.dump({"about": about, "results": results}, f, indent=1)
            f.write("\n")
    return 1 if options.check and not all(met for *_, met in bars(results)) else 0


if __name__ == "__main__":
    sys.exit(main())
