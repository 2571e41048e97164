"""What the comparisons share: programs that take turns, medians of what they gave, bars, files of results."""
import argparse
import json
import os
import statistics
import sys

from support.measure import ROOT, machine


def arguments(doc, name, scenarios, programs, quick="one round of one second"):
    """The options of a comparison, with `only` and `proxies` as lists of known names, `about` for its results."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of one proxy in one round")
    parser.add_argument("--only", default=",".join(scenarios), help="scenarios, separated by commas: %(default)s")
    parser.add_argument("--proxies", default=",".join(programs), help="separated by commas: %(default)s")
    parser.add_argument("--out", default=os.path.join(ROOT, "bench", "results", name),
                        help="results go to this name with .json and .md; empty: nowhere")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a bar is missed")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    options.only, options.proxies = options.only.split(","), options.proxies.split(",")
    unknown = set(options.only) - set(scenarios) | set(options.proxies) - set(programs)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.about = machine() | {"rounds": options.rounds, "seconds": options.seconds}
    return options


def take_turns(scenario, programs, rounds, sample, rate="requests_per_s"):
    """Every program in every round, in rotating order: medians of every number of sample(program), by name."""
    samples = {}
    for number in range(rounds):
        for program in programs[number % len(programs):] + programs[:number % len(programs)]:
            taken = sample(program)
            samples.setdefault(program.name, []).append(taken)
            print(f"  {scenario} {program.name}: {taken[rate]:.0f}/s", file=sys.stderr, flush=True)
    return {name: {key: statistics.median(one[key] for one in taken) for key in taken[0]}
            | {"errors": sum(one["errors"] for one in taken), "rounds": taken} for name, taken in samples.items()}


def bar(what, value, limit, at_least, unit=""):
    """One line of the table of bars: (what, value, bar as text, met)."""
    return (what, value, f"{'>=' if at_least else '<='} {limit}{unit}", value >= limit if at_least else value <= limit)


def bar_table(bars):
    """What was not compared, because there were errors, has no value and is not met."""
    lines = ["", "| bar | measured | wanted | met |", "|---|---|---|---|"]
    return lines + [f"| {what} | {'errors' if value is None else f'{value:.2f}'} | {wanted} | "
                    f"{'yes' if met else 'NO'} |" for what, value, wanted, met in bars]


def table(title, about, results, memory, bars):
    """The results of programs that carry bytes, by scenario, and what they take of memory, if that was measured."""
    lines = [f"# {title}", "", *(f"- {key}: {value}" for key, value in about.items()), "",
             "| scenario | proxy | requests/s | MiB/s | CPU us/request | CPU share | p50 us | p99 us | RSS MiB "
             "| errors |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for scenario, measured in results.items():
        for name, m in measured.items():
            lines.append(f"| {scenario} | {name} | {m['requests_per_s']:.0f} | {m.get('mib_per_s', 0):.1f} | "
                         f"{m['cpu_us_per_request']:.2f} | {m['cpu_share']:.2f} | {m['p50_us']:.0f} | "
                         f"{m['p99_us']:.0f} | {m['rss_kib'] / 1024:.1f} | {m['errors']:.0f} |")
    if memory:
        lines += ["", "| proxy | fresh RSS MiB | idle connection KiB |", "|---|---|---|"]
        lines += [f"| {name} | {m['fresh_rss_kib'] / 1024:.1f} | {m['idle_connection_bytes'] / 1024:.2f} |"
                  for name, m in memory.items()]
    return "\n".join(lines + bar_table(bars)) + "\n"


def publish(options, text, results, bars):
    """Prints the tables, writes the files; the exit code."""
    print(text)
    if options.out:
        os.makedirs(os.path.dirname(options.out) or ".", exist_ok=True)
        with open(options.out + ".md", "w", encoding="utf-8") as f:
            f.write(text)
        with open(options.out + ".json", "w", encoding="utf-8") as f:
            json.dump({"about": options.about} | results, f, indent=1)
            f.write("\n")
    return 1 if options.check and not all(met for *_, met in bars) else 0
