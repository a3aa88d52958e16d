"""A progress bar on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import rich.progress


class Progress:
    """Use as ``with Progress("title", total) as bar: bar.advance()``. Log lines appear above the bar."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._shown: rich.progress.Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            import rich.progress
            from rich.console import Console

            self._shown = rich.progress.Progress(
                "{task.description:12}",
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TimeElapsedColumn(),
                console=Console(stderr=True, highlight=False, markup=False, emoji=False),
            )
            self._task = self._shown.add_task(self._title, total=self._total)
            self._shown.start()
        return self

    def advance(self) -> None:
        """One more is done."""
        if self._shown is not None:
            self._shown.advance(self._task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.stop()
