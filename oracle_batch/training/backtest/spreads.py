"""What the market charges: fixed spreads, a profile over the hours of the day, and multiples of all costs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.errors import DataError
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.market.specs import Contract, Contracts

HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class Profile:
    """A symbol's spread by UTC hour, as a price distance. ``source`` names where it came from."""

    symbol: str
    spread: tuple[float, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Market:
    """How the costs of a backtest differ from the contracts': profiles of spreads, and a multiple of everything."""

    profile: Profile | tuple[Profile, ...] | None = None
    factor: float = 1.0

    @property
    def spreads(self) -> dict[str, tuple[float, ...]]:
        """Spreads by UTC hour, of the symbols that have a profile."""
        given = self.profile if isinstance(self.profile, tuple) else (self.profile,)
        return {one.symbol: one.spread for one in given if one is not None}


class MarketContracts(Contracts):
    """Contracts at the market's costs. A position keeps the terms of the hour in which it was opened."""

    def __init__(
        self,
        settings: Mapping[str, SymbolSettings],
        models: Iterable[Model],
        currency: str,
        file: Path,
        market: Market,
        clock: Clock,
    ) -> None:
        super().__init__(settings, models, currency, file)
        self._factor, self._spreads, self._clock = market.factor, market.spreads, clock
        self._priced: dict[tuple[str, int], Contract] = {}

    def find(self, symbol: str) -> Contract | None:
        return self.at(symbol, self._clock.now() if symbol in self._spreads else 0.0)

    def at(self, symbol: str, time: float) -> Contract | None:
        """The terms on which a position is opened at an instant (Unix seconds)."""
        spreads = self._spreads.get(symbol)
        hour = int(time) // 3600 % HOURS if spreads is not None else -1
        found = self._priced.get((symbol, hour))
        if found is None:
            base = super().find(symbol)
            if base is None:
                return None
            spread = base.spread if spreads is None else spreads[hour]
            factor = self._factor
            found = self._priced[symbol, hour] = replace(
                base,
                spread=spread if factor == 1 else spread * factor,
                slippage=base.slippage if factor == 1 else base.slippage * factor,
                commission_per_lot=base.commission_per_lot * factor,
            )
        return found


def read_profile(path: Path, symbol: str, point: float) -> Profile:
    """A profile from ``hour,spread_points`` (CSV, all 24 UTC hours), or the hourly medians of quotes (Parquet).

    Quotes have the columns ``time`` (Unix seconds or milliseconds), ``bid`` and ``ask``.

    A folder holds one file a symbol, ``SYMBOL.csv`` or ``SYMBOL.parquet``.

    Raises:
        DataError: unreadable, an hour is missing or given twice, or a spread is no number above 0.
    """
    if path.is_dir():
        files = [path / f"{symbol}{suffix}" for suffix in (".csv", ".parquet")]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise DataError(f"has no spreads of {symbol}", file=path, fix=f"put {symbol}.csv there")
        return read_profile(found, symbol, point)
    if path.suffix == ".parquet":
        return _of_quotes(path, symbol)
    spread: dict[int, float] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                if lost := {"hour", "spread_points"} - set(row):
                    raise ValueError(f"no column {' and '.join(sorted(lost))}")
                hour, points = int(row["hour"]), float(row["spread_points"])
                if hour not in range(HOURS) or hour in spread or not 0 <= points < 1e6:
                    raise ValueError(f"line {number}: hour {hour}, spread_points {points:g}")
                spread[hour] = points * point
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"is no profile of spreads: {error}", file=path, fix="write hour,spread_points and 24 rows"
        ) from None
    missing = [str(hour) for hour in range(HOURS) if hour not in spread]
    if missing:
        raise DataError(f"has no spread for the hours {', '.join(missing)}", file=path, field="hour", fix="add them")
    return Profile(symbol, tuple(spread[hour] for hour in range(HOURS)), f"hourly profile {path.name}")


def _of_quotes(path: Path, symbol: str) -> Profile:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=["time", "bid", "ask"])
    except (OSError, pyarrow.ArrowInvalid, KeyError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"holds no quotes: {why}", file=path, fix="columns time, bid, ask are needed") from None
    time, bid, ask = (table.column(name).to_numpy().astype(np.float64) for name in ("time", "bid", "ask"))
    good = np.isfinite(bid) & np.isfinite(ask) & (bid > 0) & (ask >= bid)
    if not good.any():
        raise DataError("holds no sound quote", file=path, fix="give bid and ask above 0")
    seconds = np.where(time > 1e11, time / 1000, time)
    hour = seconds[good].astype(np.int64) // 3600 % HOURS
    gap = (ask - bid)[good]
    whole = float(np.median(gap))
    spread = tuple(float(np.median(gap[hour == one])) if np.any(hour == one) else whole for one in range(HOURS))
    return Profile(symbol, spread, f"quotes, hourly medians of {path.name}")
