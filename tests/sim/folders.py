"""Small exchanges for tests: bars from a few numbers, written to a folder, and what came of a request."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.sim.events import Event, Execution
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.values import OrderRequest, Rejection
from tests.market.build import COSTS, T0

T = TypeVar("T")
LOT = 10_000_000
"""Hundredths of a unit in a lot of 100,000."""


def write(folder: Path, series: Mapping[Any, Bars]) -> Path:
    """A folder with series by symbol (then M15) or (symbol, timeframe)."""
    folder.mkdir(exist_ok=True)
    for key, bars in series.items():
        name = f"{key}_M15" if isinstance(key, str) else f"{key[0]}_{key[1]}"
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(FIELDS)
            writer.writerows(zip(*(getattr(bars, field).tolist() for field in FIELDS), strict=True))
    return folder


def market(
    folder: Path,
    series: Mapping[Any, Bars],
    *,
    timeframes: Sequence[str] = ("M15",),
    start: float = T0,
    settings: Mapping[str, SymbolSettings] | None = None,
    **options: Any,
) -> Exchange:
    """An exchange over series; costs are ``COSTS`` unless given."""
    symbols = list(dict.fromkeys(key if isinstance(key, str) else key[0] for key in series))
    known = dict.fromkeys(symbols, COSTS) | dict(settings or {})
    return Exchange(write(folder / "bars", series), symbols, timeframes, start, settings=known, **options)


def order(kind: str = "MARKET", direction: int = 1, volume: int = LOT // 10, **more: Any) -> OrderRequest:
    return OrderRequest(more.pop("symbol_id", 1), kind, direction, volume, **more)  # type: ignore[arg-type]


def taken(found: list[Event] | Rejection) -> list[Event]:
    assert not isinstance(found, Rejection), found
    return found


def refused(found: object) -> str:
    assert isinstance(found, Rejection), found
    return found.code


def place(exchange: Exchange, request: OrderRequest) -> list[Event]:
    """What the first account's order caused."""
    return taken(exchange.place(exchange.account_ids[0], request))


def of(kind: type[T], events: Iterable[object]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def kinds(events: Iterable[object]) -> list[str]:
    """What the executions among the events say."""
    return [event.kind for event in of(Execution, events)]


def fills(events: Iterable[object]) -> list[float]:
    """Prices of the deals among the events."""
    return [event.deal.price for event in of(Execution, events) if event.deal is not None]
