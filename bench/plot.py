"""Figures to a picture: CPU per delivery and latency, a bar per server, as one SVG.

    python bench/plot.py fanout.json [--profile NAME] [--output docs/fanout.svg]

Reads what `fanout.py --json` wrote. Latency is drawn from the median to p99 on a
logarithmic axis, with a mark at the maximum: servers differ by powers of ten there.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

CPU, P50, P99, MOST = "server_cpu_us_per_delivery", "latency_us_p50", "latency_us_p99", "latency_us_max"

LABELS, WIDTH, RIGHT = 120, 360, 90  # of a panel: names, bars, figures beside them
BAR, GAP, TOP, FOOT = 18, 10, 56, 34
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } .small { font-size: 11px }
.note, .tick { fill: #59636e } .bar { fill: #8ab4d8 } .ours { fill: #1f6feb } .grid { stroke: #d1d9e0 }
.mark { stroke: #cf222e; stroke-width: 2 } .page { fill: #ffffff }
"""


@dataclass(frozen=True, slots=True)
class Server:
    """CPU per delivery in µs, latencies in ms."""

    name: str
    cpu: float
    p50: float
    p99: float
    most: float

    @property
    def css(self) -> str:
        return "bar ours" if self.name.startswith("gateway") else "bar"


def servers(medians: Mapping[str, Mapping[str, float]]) -> list[Server]:
    """The cheapest first."""
    found = [
        Server(name, figures[CPU], figures[P50] / 1e3, figures[P99] / 1e3, figures[MOST] / 1e3)
        for name, figures in medians.items()
    ]
    return sorted(found, key=lambda server: server.cpu)


def picture(title: str, rows: Sequence[Server]) -> str:
    """The whole SVG document."""
    panel = LABELS + WIDTH + RIGHT
    width, height = 2 * panel, TOP + len(rows) * (BAR + GAP) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
        _text(LABELS, 18, title, "title"),
        *_cpu_panel(rows),
        *(f'<g transform="translate({panel},0)">{part}</g>' for part in _latency_panel(rows)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _cpu_panel(rows: Sequence[Server]) -> Iterable[str]:
    ticks = round_ticks(max(server.cpu for server in rows))
    scale = WIDTH / ticks[-1]
    yield from _frame("CPU per delivery, µs", rows, [(LABELS + tick * scale, f"{tick:g}") for tick in ticks])
    for y, server in _places(rows):
        yield _bar(LABELS, y, server.cpu * scale, server.css)
        yield _text(LABELS + server.cpu * scale + 6, y + 13, f"{server.cpu:.2f}", "small")


def _latency_panel(rows: Sequence[Server]) -> Iterable[str]:
    lowest = math.floor(math.log10(min(server.p50 for server in rows)))
    highest = math.ceil(math.log10(max(server.most for server in rows)))
    scale = WIDTH / max(highest - lowest, 1)

    def x(value: float) -> float:
        return LABELS + (math.log10(value) - lowest) * scale

    powers = [10.0**power for power in range(lowest, highest + 1)]
    yield from _frame("latency from p50 to p99, and the maximum, ms", rows, [(x(p), f"{p:g}") for p in powers])
    for y, server in _places(rows):
        yield _bar(x(server.p50), y, max(x(server.p99) - x(server.p50), 2), server.css)
        yield f'<line class="mark" x1="{x(server.most):.1f}" x2="{x(server.most):.1f}" y1="{y}" y2="{y + BAR}"/>'
        figures = f"{_short(server.p50)} – {_short(server.p99)}"
        yield _text(x(server.most) + 6, y + 13, figures, "small")


def round_ticks(most: float) -> list[float]:
    """Four to eight round numbers from 0 up to at least `most`."""
    step = 10.0 ** math.floor(math.log10(most / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if most / (step * factor) <= 7)
    return [step * i for i in range(math.ceil(most / step) + 1)]


def _frame(heading: str, rows: Sequence[Server], ticks: Iterable[tuple[float, str]]) -> Iterable[str]:
    bottom = TOP + len(rows) * (BAR + GAP)
    yield _text(LABELS, TOP - 14, heading, "note")
    for x, label in ticks:
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom}"/>'
        yield _text(x, bottom + 16, label, "small tick", "middle")
    for y, server in _places(rows):
        yield _text(LABELS - 8, y + 13, server.name, anchor="end")


def _places(rows: Sequence[Server]) -> Iterable[tuple[int, Server]]:
    return ((TOP + i * (BAR + GAP), server) for i, server in enumerate(rows))


def _bar(x: float, y: int, width: float, css: str) -> str:
    return f'<rect class="{css}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}"/>'


def _text(x: float, y: float, text: str, css: str = "", anchor: str = "start") -> str:
    return f'<text class="{css}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU per delivery and latency by server, as SVG")
    parser.add_argument("figures", type=Path, help="what fanout.py --json wrote")
    parser.add_argument("--profile", help="one of those in the file; the first")
    parser.add_argument("--output", type=Path, metavar="FILE", help="else standard output")
    args = parser.parse_args()
    profiles = json.loads(args.figures.read_text())["profiles"]
    name = args.profile or next(iter(profiles))
    if name not in profiles:
        parser.error(f"--profile: {args.figures} has {', '.join(profiles)}")
    svg = picture(f"{name}: {profiles[name]['description']}", servers(profiles[name]["medians"]))
    if args.output:
        args.output.write_text(svg)
    else:
        print(svg, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
