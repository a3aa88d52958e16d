"""Tables on stdout: as wide as the terminal, or as a file likes; no trailing blanks."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

FILE_WIDTH: Final = 200
"""Columns where the output goes to no terminal."""


def page_width() -> int:
    """Columns to fill."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else FILE_WIDTH


def new_table(*, header: bool = True) -> Table:
    """A table with a rule below its header and nothing else."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_header=header, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def print_page(parts: Sequence[RenderableType]) -> None:
    """Write texts and tables to stdout; in colour on a terminal, unless NO_COLOR is set."""
    from rich.console import Console

    page = io.StringIO()
    console = Console(file=page, width=page_width(), force_terminal=sys.stdout.isatty(), highlight=False, markup=False)
    for part in parts:
        console.print(part)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines()))
