#!/usr/bin/env python3
"""The ways from one local application to another: direct, through proxies, through the kernel. One run, one table.

Everything happens in a network namespace of its own, so that redirection rules touch nothing else. Rounds alternate
between the paths; the table shows medians. README.md says what each path is and what the numbers mean.
"""
import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import html_report  # noqa: E402  pylint: disable=wrong-import-position
from support import http_paths, kernel_paths, local_paths  # noqa: E402  pylint: disable=wrong-import-position
from support.local_paths import Apps, Unavailable  # noqa: E402  pylint: disable=wrong-import-position
from support.measure import ROOT, machine  # noqa: E402  pylint: disable=wrong-import-position

PATHS = [local_paths.Path, local_paths.IptablesRedirect, kernel_paths.Tproxy, kernel_paths.Capture,
         local_paths.Userspace, local_paths.UserspaceAgain, kernel_paths.Hop, kernel_paths.Joined,
         kernel_paths.ConnectTime,
         local_paths.HaproxyTcp, local_paths.NginxStream]
HTTP = f"http 64 B, {http_paths.CONNECTIONS} connections"
SIZES = (64, 1024, 16384, 262144)
GROUPS = ("pingpong", "bulk", "late_bulk", "connect", "http")
# What pieces of one result have in common.
SAME = ("cpu", "cpus", "kernel", "commit", "nginx", "haproxy", "wrk", "rounds", "seconds")


def own_namespace():
    """Starts this program again in a fresh network namespace, unless that has been done."""
    if os.environ.get("MILLRACE_BENCH_NETNS") == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0:
        sys.exit("bench paths: root is needed, for the network namespace and the kernel paths")
    os.environ["MILLRACE_BENCH_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def end_in_order():
    """Ctrl-C and SIGTERM: everything is undone once, and further ones do not interrupt that."""
    def end(*_):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)


def sample(path, what, size, seconds):
    """One round: the client's numbers, and the CPU of everybody on the way."""
    before = path.cpu_s()
    arguments = [str(seconds)] if size is None else [str(size), str(seconds)]
    result = path.apps.client(path, what, arguments)
    inner = result.pop("rest", None)
    if inner is not None:
        result |= inner
    cpu_us = (path.cpu_s() - before) * 1e6 + result["client_cpu_us"]
    found = {"p50_us": result["p50_us"], "p99_us": result["p99_us"],
             "per_s": result["count"] / result["seconds"],
             "cpu_us_each": cpu_us / max(result["count"], 1)}
    if result["bytes"] > 0:
        found |= {"mib_per_s": result["bytes"] / result["seconds"] / 2**20,
                  "cpu_us_per_mib": cpu_us / (result["bytes"] / 2**20)}
    for key in ("connect_p50_us", "connect_p99_us"):
        if key in result:
            found[key] = result[key]
    return found


def measurements(options):
    sizes = SIZES if not options.quick else SIZES[:1]
    asked = [(what, size) for what in ("pingpong", "bulk", "late_bulk") for size in sizes] + [("connect", None)]
    return [(what, size) for what, size in asked if what in options.groups.split(",")]


def label(what, size):
    what = what.replace("_", " ")
    return what if size is None else f"{what} {size} B" if size < 1024 else f"{what} {size // 1024} KiB"


def start(makers, apps, stack, options, kind=""):
    """(paths that are up, {name: why it is missing})"""
    running, missing = [], {}
    for maker in makers:
        if options.only and maker.name not in options.only.split(","):
            continue
        try:
            running.append(stack.enter_context(maker(apps)))
        except Unavailable as why:
            missing[kind + maker.name] = str(why)
            print(f"  {kind}{maker.name}: left out: {why}", file=sys.stderr, flush=True)
    return running, missing


def rounds_of(running, rounds, take):
    """{path: [what take(path) finds in each round]}; rounds begin with another path each."""
    samples = {path.name: [] for path in running}
    for number in range(rounds if running else 0):
        for path in running[number % len(running):] + running[:number % len(running)]:
            samples[path.name].append(take(path))
    return samples


def quartiles(values):
    """(lower, median, upper)"""
    if len(values) == 1:
        return values[0], values[0], values[0]
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def summary(taken):
    """Medians, and how far apart the middle half of the rounds is."""
    found = {key: statistics.median(one[key] for one in taken) for key in taken[0]}
    low, middle, high = quartiles([one["per_s"] for one in taken])
    return found | {"spread_percent": 100 * (high - low) / middle if middle else 0.0}


def summaries(samples):
    return {what: {name: summary(taken) for name, taken in measured.items() if taken}
            for what, measured in samples.items()}


def measure(options):
    """({measurement: {path: [rounds]}}, {path: why it is missing}, {path: the kernel's counters at the end})"""
    results, missing, counted = {}, {}, {}

    def local(makers):
        if not measurements(options):
            return
        with contextlib.ExitStack() as stack:
            running, gone = start(makers, stack.enter_context(Apps()), stack, options)
            for what, size in measurements(options):
                results.setdefault(label(what, size), {}).update(rounds_of(
                    running, options.rounds,
                    lambda path, what=what, size=size: sample(path, what, size, options.seconds)))
                print(f"  {label(what, size)} done", file=sys.stderr, flush=True)
            counted.update({path.name: path.counters() for path in running})
            missing.update(gone)

    local([path for path in PATHS if not path.netfilter])
    if "http" in options.groups.split(","):
        with contextlib.ExitStack() as stack:
            running, gone = start(http_paths.HTTP_PATHS, None, stack, options, "http ")
            results[HTTP] = rounds_of(running, options.rounds, lambda path: path.sample(options.seconds))
            counted |= {f"http {path.name}": path.counters() for path in running}
            missing |= gone
    # Last: once a rule was made, every packet of the namespace passes netfilter's hooks, whichever path it is on.
    local([path for path in PATHS if path.netfilter])
    return results, missing, {name: found for name, found in counted.items() if found}


def ratio(results, what, key, one, other):
    measured = results.get(what, {})
    if one not in measured or other not in measured or not measured[other][key]:
        return None
    return measured[one][key] / measured[other][key]


# what, measurement, key, path, compared with, bar, whether at least
BARS = (
    ("joined pair, round trip of 64 B, times direct", "pingpong 64 B", "p50_us", "joined", "direct", 0.7, False),
    ("joined pair, round trip of 64 B, times iptables", "pingpong 64 B", "p50_us", "joined", "iptables", 0.2, False),
    ("connect-time balancing, round trip, times direct", "pingpong 64 B", "p50_us", "connect-time", "direct", 1.03,
     False),
    ("connect-time balancing, throughput, times direct", "bulk 16 KiB", "mib_per_s", "connect-time", "direct", 0.97,
     True),
    ("connect-time balancing, connect(), times direct", "connect", "connect_p50_us", "connect-time", "direct", 1.15,
     False),
    ("HTTP/1.1 over hops, requests a second, times without", HTTP, "per_s", "hop", "millrace", 1.5, True),
    ("HTTP/1.1 over hops, requests a second, times nginx", HTTP, "per_s", "hop", "nginx", 2.2, True),
    ("HTTP/1.1 over hops, CPU of a request, times nginx", HTTP, "proxy_cpu_us_each", "hop", "nginx", 0.35, False),
)
# Paths that the kernel takes by itself must be worse than the proxy at nothing.
NEVER_SLOWER = ("joined", "hop", "connect-time")
# The same proxy a second time: what noise makes of equals.
CONTROL = "millrace-2"


def paired(samples, what, path):
    """Quartiles of the path's rate times the proxy's in userspace, round by round; None if it was not measured."""
    mine, theirs = samples[what].get(path), samples[what].get("millrace")
    return quartiles([one["per_s"] / other["per_s"] for one, other in zip(mine, theirs)]) if mine and theirs else None


def never_slower(samples, path):
    """(what, lower quartile, median, upper) of where it is the slowest, by the upper quartile."""
    found = [(what, *ratios) for what in samples if (ratios := paired(samples, what, path)) is not None]
    return min(found, key=lambda one: one[3], default=("nowhere", None, None, None))


def bars(samples):
    """[(what, value, wanted, whether it is met)]; None and None if it was not measured"""
    found, results = [], summaries(samples)
    for what, measurement, key, one, other, limit, at_least in BARS:
        value = ratio(results, measurement, key, one, other)
        met = None if value is None else value >= limit if at_least else value <= limit
        found.append((what, value, f"{'>=' if at_least else '<='} {limit}", met))
    for path in NEVER_SLOWER:
        where, low, value, high = never_slower(samples, path)
        spread = "" if value is None else f", quartiles {low:.2f} to {high:.2f}"
        found.append((f"{path}, where it is slowest ({where}{spread}), times userspace", value,
                      "upper quartile >= 1", None if value is None else round(high, 2) >= 1))
    return found


def comparison(samples):
    """Lines: the kernel's paths times userspace, round by round, with the control beside."""
    shown = [path for path in (CONTROL, *NEVER_SLOWER) if any(measured.get(path) for measured in samples.values())]
    lines = ["", "## Rate, times userspace", "", "Median of the rounds' ratios, and quartiles. " +
             f"`{CONTROL}` is userspace once more: what noise makes of equals.", "",
             "| measurement | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for what in samples:
        cells = [paired(samples, what, path) for path in shown]
        if any(cells):
            lines.append(f"| {what} | " + " | ".join(
                "-" if one is None else f"{one[1]:.2f} ({one[0]:.2f} to {one[2]:.2f})" for one in cells) + " |")
    return lines


VERDICTS = {True: "yes", False: "NO", None: "-"}


def table(samples, missing, about):
    results = summaries(samples)
    lines = ["# Paths between local applications", "", *(f"- {key}: {value}" for key, value in about.items())]
    for name, why in missing.items():
        lines.append(f"- left out: {name}: {why}")
    for what, measured in results.items():
        keys = list(next(iter(measured.values()), {}))
        lines += ["", f"## {what}", "", "| path | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
        lines += ["| " + " | ".join([name] + [f"{m[key]:.2f}" for key in keys]) + " |" for name, m in measured.items()]
    lines += comparison(samples)
    lines += ["", "## Bars", "", "| bar | measured | wanted | met |", "|---|---|---|---|"]
    lines += [f"| {what} | {'not measured' if met is None else f'{value:.2f}'} | {wanted} | {VERDICTS[met]} |"
              for what, value, wanted, met in bars(samples)]
    return "\n".join(lines) + "\n"


def with_pieces_before(out, about, found):
    """What a run before measured, and this: (about, samples, missing, counted). Only runs alike are put together."""
    with open(out + ".json", encoding="utf-8") as f:
        before = json.load(f)
    different = [key for key in SAME if before["about"].get(key) != about[key]]
    if different:
        sys.exit(f"bench paths: the results in {out}.json differ in: {', '.join(different)}")
    samples, missing, counted = found
    loads = f"{before['about']['load_average_before']}, {about['load_average_before']:.2f}"
    counts = {f"{name}, piece {len(loads.split(','))}": numbers for name, numbers in counted.items()}
    return (about | {"load_average_before": loads}, before["rounds"] | samples, before["missing"] | missing,
            before["counters"] | counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, one size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of one path in one round")
    parser.add_argument("--only", help="paths, separated by commas: " + ",".join(path.name for path in PATHS))
    parser.add_argument("--groups", default=",".join(GROUPS), help="what is measured: " + ",".join(GROUPS))
    parser.add_argument("--add", action="store_true",
                        help="to what is in --out already: other groups of the same commit, measured in the same way")
    parser.add_argument("--out", default=os.path.join(ROOT, "bench", "results", "paths"),
                        help="results go to this name with .json, .md and .html; empty: nowhere")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a bar is missed")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.3
    own_namespace()
    end_in_order()
    about = machine() | {"rounds": options.rounds, "seconds": options.seconds}
    try:
        found = measure(options)
    except KeyboardInterrupt:
        return 130
    if options.add:
        about, *found = with_pieces_before(options.out, about, found)
    samples, missing, counted = found
    text = table(samples, missing, about)
    print(text)
    if options.out:
        os.makedirs(os.path.dirname(options.out), exist_ok=True)
        with open(options.out + ".md", "w", encoding="utf-8") as f:
            f.write(text)
        with open(options.out + ".json", "w", encoding="utf-8") as f:
            json.dump({"about": about, "results": summaries(samples), "rounds": samples, "missing": missing,
                       "counters": counted}, f, indent=1)
            f.write("\n")
        with open(options.out + ".html", "w", encoding="utf-8") as f:
            notes = about | {f"left out: {name}": why for name, why in missing.items()}
            f.write(html_report.page("Paths between local applications", notes, summaries(samples), bars(samples)))
    return 1 if options.check and any(met is False for *_, met in bars(samples)) else 0


if __name__ == "__main__":
    sys.exit(main())
