"""Models to measure with: the shipped bundles with their weights disturbed, each on its own stretch of real bars."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace as with_
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.brain.decide import SERIES, Windows
from oracle_batch.bundle.model import Model
from oracle_batch.types import STORED_BARS, WINDOW

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("EURUSD_M15", "GBPUSD_H1")
"""Bundles and shipped bars: five states, full covariances, 64 × 64 nets."""
STEP = 900
START = 1_760_000_400 // STEP * STEP
"""Open time of every workspace's first bar: all models close their bars together."""
DISTURBANCE = 0.05
SPARE_BARS = 60
"""Bars after the stored ones, one for each tick."""
EXECUTION = {"enabled": True, "lot_weak": 0.01, "lot_moderate": 0.03, "lot_strong": 0.05, "sl_usd": 0}


def bundle_of(source: str) -> Path:
    """The bundle of a source, in format 2.0. EURUSD's is the tests', which trades all day; the shipped one does not."""
    folder = ROOT / "tests" / "data" / "models" if source == "EURUSD_M15" else ROOT / "models"
    return folder / f"{source}.zip"


def counts(arguments: Sequence[str], usage: str) -> list[int]:
    """The numbers of a command line, each at least 1.

    Raises:
        SystemExit: one of them is none; ``usage`` is said.
    """
    if not all(one.isdecimal() and int(one) for one in arguments):
        raise SystemExit(f"usage: {usage}, each a number from 1 on")
    return [int(one) for one in arguments]


def shipped_bars(source: str) -> Bars:
    """All bars that the repository has of a source."""
    table = pq.read_table(ROOT / "data" / f"{source}.parquet", columns=list(FIELDS))
    return Bars(*(np.array(table.column(name).to_pylist()) for name in FIELDS))


def retimed(bars: Bars, start: int = START) -> Bars:
    """The same bars on an M15 grid without gaps."""
    return with_(bars, time=start + STEP * np.arange(len(bars), dtype=np.int64))


def stretch(number: int, length: int) -> Bars:
    """Model ``number``'s own piece of the real bars, on the common grid."""
    bars = shipped_bars(SOURCES[number % len(SOURCES)])
    first = number * 449 % (len(bars) - length)
    return retimed(bars[first : first + length])


def write_bundle(number: int, folder: Path) -> Path:
    """Bundle AAA01 …: a source's under another symbol, with other weights and other regimes.

    The members are written by torch and pickle, so that SB3 and hmmlearn read them too.
    """
    source, symbol = SOURCES[number % len(SOURCES)], f"AAA{number + 1:02}"
    rng = np.random.default_rng(number)
    with zipfile.ZipFile(bundle_of(source)) as archive:
        metadata = json.loads(archive.comment)
        hmm = pickle.loads(archive.read(f"{source}_hmm.pkl"))
        ppo = archive.read(f"{source}_ppo.zip")
    fitted = hmm["model"] if isinstance(hmm, dict) else hmm
    fitted.means_ = fitted.means_ + rng.normal(0, 0.02, fitted.means_.shape)
    metadata["symbol"] = {"name": symbol, "clean": symbol, "timeframe": "M15"}
    path = folder / f"{symbol}_M15.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{symbol}_M15_hmm.pkl", pickle.dumps(hmm, protocol=4))
        archive.writestr(f"{symbol}_M15_ppo.zip", _disturbed_policy(ppo, rng))
        archive.comment = json.dumps(metadata).encode()
    return path


def _disturbed_policy(ppo: bytes, rng: np.random.Generator) -> bytes:
    """An SB3 save with every weight a little off."""
    import torch

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ppo)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "policy.pth":
                state = torch.load(io.BytesIO(data), weights_only=True)
                spoilt = OrderedDict(
                    (key, value + value * torch.from_numpy(rng.normal(0, DISTURBANCE, value.shape)).float())
                    for key, value in state.items()
                )
                buffer = io.BytesIO()
                torch.save(spoilt, buffer)
                data = buffer.getvalue()
            new.writestr(name, data)
    return out.getvalue()


def write_workspace(home: Path, size: int) -> list[Path]:
    """A workspace with ``size`` bundles, bars for each, and every symbol enabled; gives the bundles."""
    for name in ("config", "models", "data"):
        (home / name).mkdir(parents=True)
    shutil.copy(ROOT / "config" / "oracle.toml", home / "config")
    bundles = [write_bundle(number, home / "models") for number in range(size)]
    for number, bundle in enumerate(bundles):
        bars = stretch(number, STORED_BARS + SPARE_BARS)
        table = pa.table({name: pa.array(getattr(bars, name)) for name in FIELDS})
        pq.write_table(table, home / "data" / f"{bundle.stem}.parquet", compression="zstd")
    execution = {bundle.stem: EXECUTION | {"max_spread_pips": 0} for bundle in bundles}
    (home / "config" / "executor_symbols.json").write_text(json.dumps(execution, indent=2))
    return bundles


def multiplied(models: Sequence[Model], count: int) -> list[Model]:
    """``count`` models, no two with the same weights."""
    rng = np.random.default_rng(count)

    def another(model: Model) -> Model:
        weights = tuple(
            (weight * (1 + DISTURBANCE * rng.standard_normal(weight.shape, np.float32))).astype(np.float32)
            for weight in model.policy.weights
        )
        means = model.regime.means + rng.normal(0, 0.02, model.regime.means.shape)
        return with_(model, policy=with_(model.policy, weights=weights), regime=with_(model.regime, means=means))

    return [another(models[index % len(models)]) for index in range(count)]


def window_series(count: int, closes: int) -> list[Windows]:
    """Windows of ``count`` models at ``closes`` consecutive bar closes; every model looks at other real bars."""
    sources = [shipped_bars(source) for source in SOURCES]
    columns: dict[str, list[Any]] = {name: [] for name in SERIES}
    for number in range(count):
        bars = sources[number % len(sources)]
        first = number * 449 % (len(bars) - WINDOW - closes)
        for name in SERIES:
            columns[name].append(getattr(bars, name)[first : first + WINDOW + closes - 1])
    wide = {name: np.stack(rows) for name, rows in columns.items()}
    return [
        Windows(
            np.full(count, START + STEP * (WINDOW - 1 + close), np.int64),
            *(np.ascontiguousarray(wide[name][:, close : close + WINDOW]) for name in SERIES),
        )
        for close in range(closes)
    ]
