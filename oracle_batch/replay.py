"""The brain alone over a file of bars: ``oracle-batch replay`` (columns: DESIGN §9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oracle_batch.bars import Bars, join, validate
from oracle_batch.brain.decide import Replay, replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.model import Model
from oracle_batch.errors import BarError, UsageError
from oracle_batch.market.readers import CsvReader, ParquetReader, Reader
from oracle_batch.types import WINDOW


def replay_file(model: Model, bars_file: Path, out: Path, *, with_observations: bool = False) -> int:
    """Decide every bar from the 350th on, from a flat twin; returns how many.

    Raises:
        BarError: the bars cannot be read, break the rules, or are fewer than 350.
        UsageError: the output cannot be written.
    """
    refuse_output(out, bars_file)
    bars = read_bars(bars_file, model.symbol, model.timeframe)
    count = len(bars) - WINDOW + 1
    if count < 1:
        raise BarError(f"{len(bars)} bars, {WINDOW} are needed", file=bars_file, fix="give a longer history")
    write_signals(replay(model, bars, FLAT, count), out, with_observations=with_observations)
    return count


def refuse_output(out: Path, *inputs: Path) -> None:
    """Refuse to write over an input, or over anything that is no regular file.

    Raises:
        UsageError: naming the path.
    """
    if out.is_symlink() or (out.exists() and not out.is_file()):
        raise UsageError("is there and no regular file", file=out, field="--out", fix="name a new file")
    if out.exists() and any(one.exists() and out.samefile(one) for one in inputs):
        raise UsageError("is an input of this command", file=out, field="--out", fix="name a new file")


def read_bars(path: Path, symbol: str, timeframe: str) -> Bars:
    """All bars of a Parquet or CSV file, validated.

    Raises:
        BarError: naming the file and, where it is a bar, its time and field.
    """
    readers: dict[str, type[Reader]] = {".parquet": ParquetReader, ".csv": CsvReader}
    kind = readers.get(path.suffix)
    if kind is None:
        raise BarError("is neither .parquet nor .csv", file=path, fix="convert it")
    if path.is_dir():
        raise BarError("is a folder", file=path, fix="name a file in it")
    if not path.is_file():
        raise BarError("no such file", file=path)
    reader: Any = kind(path)  # type: ignore[call-arg]
    found: Bars | None = None
    for group in reader.groups():
        rows = reader.rows(group, 0, len(reader.times(group)))
        found = rows if found is None else join(found, rows)
    if found is None:
        raise BarError("holds no bars", file=path)
    return validate(found, symbol, timeframe, file=path)


def write_signals(result: Replay, out: Path, *, with_observations: bool) -> None:
    """Write one row a bar.

    Raises:
        UsageError: the system refused.
    """
    import pyarrow
    import pyarrow.parquet

    small, real = pyarrow.int8(), pyarrow.float64()

    def column(values: list[int] | list[float], kind: Any) -> Any:
        return pyarrow.array(np.asarray(values, dtype=kind.to_pandas_dtype()))

    twins = result.twins
    columns = {
        "time": pyarrow.array(result.time),
        "hmm_state": column(result.hmm_states, small),
        "action": column(result.actions, small),
        "direction": column([twin.direction for twin in twins], small),
        "intensity": column([twin.intensity for twin in twins], small),
        "entry_price": column([twin.entry_price for twin in twins], real),
        "floating_pnl": column([twin.floating_pnl for twin in twins], real),
        "realized_pnl": column([twin.realized_pnl for twin in twins], real),
    }
    if with_observations:
        flat = pyarrow.array(np.ascontiguousarray(result.observations).ravel())
        columns["obs"] = pyarrow.FixedSizeListArray.from_arrays(flat, result.observations.shape[1])
    temp = out.with_name(f".{out.name}.tmp")
    try:
        pyarrow.parquet.write_table(pyarrow.table(columns), temp)
        temp.replace(out)
    except OSError as error:
        temp.unlink(missing_ok=True)
        raise UsageError(f"cannot be written: {error.strerror or error}", file=out, field="--out") from error
