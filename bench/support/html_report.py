"""Results as one HTML file with plots in it: horizontal bars in SVG, no scripts, nothing fetched."""
from html import escape

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.2em 1em .2em 0;text-align:left;border-top:1px solid #ddd}
.no{color:#b00020;font-weight:600}svg text{font:12px system-ui,sans-serif}figure{margin:1em 0}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(30em,1fr));gap:1em}
"""
# What is drawn, with its title; the rest of the numbers is in the tables.
PLOTS = {"p50_us": "median, microseconds", "p99_us": "99th percentile, microseconds", "per_s": "a second",
         "mib_per_s": "MiB a second", "cpu_us_each": "CPU microseconds each, applications and proxies",
         "proxy_cpu_us_each": "CPU microseconds each, the proxy alone",
         "cpu_us_per_mib": "CPU microseconds a MiB, applications and proxies",
         "connect_p50_us": "connect(), median, microseconds",
         "spread_percent": "middle half of the rounds, per cent of the median"}
VERDICTS = {True: "yes", False: "no", None: "-"}
WIDTH, LABEL, ROW = 520, 150, 22


def bar_plot(title, values):
    """values: {name: number}"""
    largest = max(values.values(), default=0) or 1
    rows = []
    for i, (name, value) in enumerate(values.items()):
        y = i * ROW
        length = max(1, (WIDTH - LABEL - 80) * value / largest)
        rows.append(f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
                    f'<rect x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="{ROW - 6}" fill="#3b6ea5"/>'
                    f'<text x="{LABEL + length + 6:.1f}" y="{y + 15}">{value:.4g}</text>')
    height = ROW * len(values)
    return (f'<figure><figcaption>{escape(title)}</figcaption><svg role="img" aria-label="{escape(title)}" '
            f'viewBox="0 0 {WIDTH} {height}" width="100%">{"".join(rows)}</svg></figure>')


def page(title, about, results, bars):
    """results: {measurement: {path: {key: number}}}; bars: [(what, value, wanted, met)]"""
    out = [f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(title)}</title>",
           f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><ul>"]
    out += [f"<li>{escape(str(key))}: {escape(str(value))}</li>" for key, value in about.items()]
    out.append("</ul><table><tr><th>bar<th>measured<th>wanted<th>met</tr>")
    out += [f"<tr><td>{escape(what)}<td>{'not measured' if met is None else f'{value:.2f}'}<td>{escape(wanted)}"
            f"<td{' class=no' if met is False else ''}>{VERDICTS[met]}</tr>" for what, value, wanted, met in bars]
    out.append("</table>")
    for what, measured in results.items():
        keys = list(next(iter(measured.values()), {}))
        out.append(f"<h2>{escape(what)}</h2><div class=plots>")
        out += [bar_plot(PLOTS[key], {name: m[key] for name, m in measured.items()}) for key in keys if key in PLOTS]
        out.append("</div>")
    out.append("</body></html>\n")
    return "\n".join(out)
