"""Draws where the milliseconds of one tick go: ``python -m bench.timeline TRACE.json OUT.svg``, TRACE.json being what
``oracle-batch tick --trace`` wrote.

Above, the whole tick in seconds; below, of an armed one, the milliseconds from its trigger on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

WIDTH, LEFT, ROW, BAR, FONT = 960, 120, 24, 15, 12
AFTER_MS: Final = 5.0
"""How much of the time from the trigger on is drawn at least."""
COLOURS: Final = {
    "start": "#9aa5b1", "gather": "#7fa8d9", "wait": "#e6e9ed", "decide": "#f0a04b", "plan": "#d9773f",
    "journal": "#8b6fc0", "fsync": "#5b3f96", "send": "#59a96a", "commit": "#4d7c8a", "limiter": "#c9d3de",
}  # fmt: skip
ORDER: Final = "#59a96a"


@dataclass(frozen=True)
class Span:
    """Something that took from ``began`` to ``ended``, in ms from the first instant on."""

    row: str
    name: str
    began: float
    ended: float


@dataclass(frozen=True)
class Trace:
    """The spans of a tick, and when it was triggered and its last order had left (None: neither happened)."""

    spans: tuple[Span, ...]
    trigger: float | None
    last_order: float | None


def read(document: dict[str, Any]) -> Trace:
    """What a trace says; the orders of all legs are one row, each until its fill was heard of."""
    events = document["traceEvents"]
    rows = {one["tid"]: one["args"]["name"] for one in events if one["ph"] == "M"}
    spans = []
    for one in events:
        if one["ph"] == "X":
            row, began = rows[one["tid"]], one["ts"] / 1e3
            if row.startswith("ob-"):
                if not one["name"].endswith(" filled"):
                    continue
                row = "orders"
            spans.append(Span(row, one["name"], began, began + one["dur"] / 1e3))
    waits = [span.ended for span in spans if span.name == "wait"]
    sent = [one["ts"] / 1e3 for one in events if one["name"] == "last order"]
    return Trace(tuple(spans), waits[0] if waits else None, sent[-1] if sent else None)


def svg(trace: Trace) -> str:
    """The picture."""
    end = max(span.ended for span in trace.spans)
    parts = _panel(trace.spans, 0.0, end, 30, "the whole tick", 1e3, "s")
    height = 30 + _height(trace.spans)
    if trace.trigger is not None:
        until = max(AFTER_MS, 1.5 * ((trace.last_order or 0.0) - trace.trigger))
        near = [one for one in trace.spans if one.ended > trace.trigger and one.began < trace.trigger + until]
        title = "from the trigger on"
        if trace.last_order is not None:
            title += f": {trace.last_order - trace.trigger:.2f} ms to the last order"
            x = LEFT + (WIDTH - LEFT - 20) * (trace.last_order - trace.trigger) / until
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{height + 36}" y2="{height + 30 + _height(near) - 34}" '
                'stroke="#c0392b" stroke-width="1.5"/>'
            )
        parts += _panel(near, trace.trigger, trace.trigger + until, height + 30, title, 1.0, "ms")
        height += 30 + _height(near)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="{FONT}">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _rows(spans: Iterable[Span]) -> list[str]:
    return list(dict.fromkeys(span.row for span in spans))


def _height(spans: Sequence[Span]) -> int:
    return ROW * len(_rows(spans)) + 50


def _panel(
    spans: Sequence[Span], first: float, last: float, top: int, title: str, unit_ms: float, unit: str
) -> list[str]:
    room = WIDTH - LEFT - 20
    scale = room / (last - first)
    parts = [f'<text x="{LEFT}" y="{top}" font-weight="bold">{escape(title)}</text>']
    rows = {row: top + 12 + ROW * number for number, row in enumerate(_rows(spans))}
    bottom = top + 12 + ROW * len(rows)
    step = _step((last - first) / unit_ms)
    for number in range(int((last - first) / unit_ms / step) + 1):
        x = LEFT + number * step * unit_ms * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + 6}" y2="{bottom}" stroke="#ccd2d9"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{number * step:g} {unit}</text>')
    for row, y in rows.items():
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR - 3}" text-anchor="end">{escape(row)}</text>')
    for span in spans:
        began, ended = max(span.began, first), min(span.ended, last)
        x, width = LEFT + (began - first) * scale, max((ended - began) * scale, 0.6)
        colour = COLOURS.get(span.name, ORDER)
        opacity = 0.25 if span.row == "orders" else 1
        label = f"{span.name} {span.ended - span.began:.2f} ms"
        parts.append(
            f'<rect x="{x:.1f}" y="{rows[span.row]}" width="{width:.1f}" height="{BAR}" fill="{colour}" '
            f'fill-opacity="{opacity}"><title>{escape(label)}</title></rect>'
        )
        if width > 8 * len(span.name) and span.row != "orders":
            parts.append(f'<text x="{x + 4:.1f}" y="{rows[span.row] + BAR - 3}">{escape(span.name)}</text>')
    return parts


def _step(length: float) -> float:
    """A round distance of marks, of which five to ten fit."""
    for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0):
        if length / step <= 10:
            return step
    return 100.0


def main() -> None:
    """Draw."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m bench.timeline TRACE.json OUT.svg")
    try:
        trace = read(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{sys.argv[1]}: no trace of a tick: {error!r}") from error
    if not trace.spans:
        raise SystemExit(f"{sys.argv[1]}: there is nothing in it")
    Path(sys.argv[2]).write_text(svg(trace), encoding="utf-8")


if __name__ == "__main__":
    main()
