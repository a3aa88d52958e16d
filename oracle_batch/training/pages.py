"""Self-contained HTML: text, tables and plots in one file that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle_batch.errors import StateError, UsageError
from oracle_batch.store.files import replace_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#5d6b7a", "#dde3ea"
BLUE, ORANGE, GREEN, RED, VIOLET, GREY = "#2f6db5", "#c8742b", "#2f8f5b", "#b83a3a", "#7a5aa6", "#9aa6b2"
COLOURS = (BLUE, ORANGE, GREEN, VIOLET, RED, GREY, "#3f9fae", "#a08a2d")
_LEAD = '<p class="lead">'
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; background: #fff; margin: 2rem auto; max-width: 66rem;
       padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.lead { font-size: 1.05rem; } p.small { color: #5d6b7a; font-size: .88rem; }
table { border-collapse: collapse; margin: .4rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .28rem .8rem .28rem 0; border-bottom: 1px solid #dde3ea; vertical-align: top; }
th { color: #5d6b7a; font-weight: 600; } td.n { text-align: right; white-space: nowrap; }
img { max-width: 100%; height: auto; } figure { margin: .6rem 0 1.4rem; }
figcaption { color: #5d6b7a; font-size: .88rem; }
.critical { color: #b83a3a; font-weight: 600; } .warning { color: #a85c17; font-weight: 600; }
.note { color: #2f6db5; } .ok { color: #2f8f5b; }
.scroll { overflow-x: auto; }
"""


class Page:
    """A page that grows from top to bottom."""

    def __init__(self, title: str, lead: str) -> None:
        self._title = title
        self._parts = [f"<h1>{_text(title)}</h1>", f"{_LEAD}{_text(lead)}</p>"]

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{_text(text)}</h2>")

    def paragraph(self, text: str, *, small: bool = False) -> None:
        self._parts.append(f'<p class="small">{_text(text)}</p>' if small else f"<p>{_text(text)}</p>")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table; numbers are set to the right, a word that is a severity gets its colour."""
        head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
        body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
        self._parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def figure(self, figure: Figure, caption: str) -> None:
        """A plot, drawn into the page."""
        from matplotlib import pyplot

        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", facecolor="white")
        pyplot.close(figure)
        data = base64.b64encode(buffer.getvalue()).decode()
        alt = html.escape(caption, quote=True)
        image = f'<img alt="{alt}" src="data:image/png;base64,{data}">'
        self._parts.append(f"<figure>{image}<figcaption>{_text(caption)}</figcaption></figure>")

    def text(self) -> str:
        """The whole document."""
        sizes = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        head = f"{sizes}<title>{_text(self._title)}</title><style>{_STYLE}</style>"
        body = "".join(self._parts)
        return f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>\n"

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            UsageError: the system refused.
        """
        write_file(path, self.text().encode())


def write_file(path: Path, data: bytes) -> None:
    """Replace a result file in one piece.

    Raises:
        UsageError: the system refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(path, data)
    except (OSError, StateError) as error:
        raise UsageError(f"cannot be written: {error}", file=path, fix="name another file") from error


def axes(
    width: float = 9.5, height: float = 3.0, *, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure in the house style, without a screen."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib import pyplot

    figure, found = pyplot.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)
    for one in figure.axes:
        dress(one)
    return figure, found


def dress(one: Axes) -> None:
    """Quiet axes: a light grid behind the data, no box."""
    one.spines[["top", "right"]].set_visible(False)
    one.spines[["left", "bottom"]].set_color(GREY)
    one.grid(color=GRID, linewidth=0.7)
    one.set_axisbelow(True)
    one.ticklabel_format(style="plain", useOffset=False)
    one.tick_params(colors=MUTED, labelsize=8.5)
    one.xaxis.label.set_color(MUTED)
    one.yaxis.label.set_color(MUTED)
    one.title.set_color(INK)


def dates(times: Any) -> Any:
    """Unix seconds as what matplotlib takes for dates."""
    import numpy as np

    return np.asarray(times, np.int64).astype("datetime64[s]")


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in per cent; a dash where there is none."""
    return "–" if value is None else f"{100 * value:,.{digits}f} %"


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "model"), counted(2, "model")
    ('1 model', '2 models')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def with_lead(page: str, lead: str) -> str:
    """A finished page with another lead."""
    before, opening, rest = page.partition(_LEAD)
    return f"{before}{opening}{_text(lead)}</p>{rest.partition('</p>')[2]}"


def _cell(value: object) -> str:
    text = str(value)
    if text in ("ok", "note", "warning", "critical"):
        return f'<td class="{text}">{text}</td>'
    numeric = (
        isinstance(value, int | float) or text.rstrip(" %").replace(",", "").lstrip("-−–").replace(".", "").isdigit()
    )
    return f'<td class="n">{_text(text)}</td>' if numeric or text == "–" else f"<td>{_text(text)}</td>"


def _text(value: str) -> str:
    return html.escape(value, quote=False)
