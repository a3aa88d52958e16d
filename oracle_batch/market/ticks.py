"""Quote ticks of a folder: ``ticks_SYMBOL_….parquet`` with ``time_ms`` (or ``time_ns``, UTC) and ``bid``.

An ``ask`` column is not used: the market's spread is the contract's, as it is over bars. A file without bids holds
trade prints, which are no quotes, and is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from oracle_batch.bars import FloatArray
from oracle_batch.errors import BarError

_PREFIX: Final = "ticks_"
_SCALES: Final = {"time_ms": 1e3, "time_ns": 1e9}


@dataclass(frozen=True, slots=True)
class Ticks:
    """Bid prices, oldest first; ``time`` is in Unix seconds with their fraction."""

    time: FloatArray
    bid: FloatArray

    def __len__(self) -> int:
        return len(self.time)


class TickFiles:
    """Ticks by symbol; a file is read when its symbol is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, list[Path]] = {}
        for path in sorted(folder.glob(f"{_PREFIX}*.parquet")):
            symbol = path.stem.removeprefix(_PREFIX).partition("_")[0]
            self._files.setdefault(symbol, []).append(path)
        self._read: dict[str, Ticks] = {}

    def between(self, symbol: str, start: float, end: float) -> Ticks:
        """Ticks with ``start <= time < end``.

        Raises:
            BarError: a file cannot be read, or holds times out of order or prices that are none.
        """
        ticks = self._all(symbol)
        low, high = np.searchsorted(ticks.time, (start, end), "left")
        return Ticks(ticks.time[low:high], ticks.bid[low:high])

    def at_or_after(self, symbol: str, instant: float) -> float | None:
        times = self._all(symbol).time
        row = int(np.searchsorted(times, instant, "left"))
        return float(times[row]) if row < len(times) else None

    def at_or_before(self, symbol: str, instant: float) -> float | None:
        times = self._all(symbol).time
        row = int(np.searchsorted(times, instant, "right")) - 1
        return float(times[row]) if row >= 0 else None

    def _all(self, symbol: str) -> Ticks:
        if symbol not in self._read:
            parts = [part for path in self._files.get(symbol, []) if (part := _load(path)) is not None]
            parts.sort(key=lambda part: float(part.time[0]))
            ticks = Ticks(*(np.concatenate([np.empty(0), *columns]) for columns in _columns(parts)))
            if bool((np.diff(ticks.time) < 0).any()):
                names = ", ".join(path.name for path in self._files[symbol])
                raise BarError(f"ticks of {symbol} overlap: {names}", field="time_ms", fix="keep one of the files")
            self._read[symbol] = ticks
        return self._read[symbol]


def _columns(parts: list[Ticks]) -> tuple[list[FloatArray], list[FloatArray]]:
    return [part.time for part in parts], [part.bid for part in parts]


def _load(path: Path) -> Ticks | None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        names = parquet.read_schema(path).names
        clock = next((name for name in _SCALES if name in names), None)
        if "bid" not in names:
            return None
        if clock is None:
            raise BarError("has no column time_ms", file=path, field="time_ms", fix="name the column")
        table = parquet.read_table(path, columns=[clock, "bid"], use_threads=False)
        times = _numbers(table.column(clock).cast(pa.int64()), np.int64) / _SCALES[clock]
        bids = _numbers(table.column("bid").cast(pa.float64()), np.float64)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BarError(f"cannot be read: {error}", file=path, fix="replace the file") from error
    if bool((np.diff(times) < 0).any()):
        raise BarError("times are not in order", file=path, field=clock, fix="sort the rows")
    if not bool((np.isfinite(bids) & (bids > 0)).all()):
        raise BarError("a bid is no price above 0", file=path, field="bid", fix="drop the row")
    return Ticks(times, bids) if len(times) else None


def _numbers(column: Any, kind: type[Any]) -> Any:
    if column.null_count:
        raise ValueError("a value is missing")
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    parts = [np.frombuffer(one.buffers()[1], kind)[one.offset : one.offset + len(one)] for one in chunks]
    return np.concatenate(parts) if parts else np.empty(0, kind)
