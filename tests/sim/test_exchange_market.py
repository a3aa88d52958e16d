"""Quotes, live bars and history of the exchange. M15 bars show their prices at 0, 225, 675 and 899.1 seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from oracle_batch.bars import Bars, join
from oracle_batch.errors import BarError, ConfigError
from oracle_batch.market.spec_file import ScheduleSettings
from oracle_batch.sim.events import LiveBar, Spot, SymbolChanged
from oracle_batch.sim.exchange import Exchange
from tests.market.build import COSTS, M15, T0, bars
from tests.market.test_track import ticks
from tests.sim.folders import fills, market, of, order, place

DIP = (1.10, 1.13, 1.09, 1.12)
"""Shown: 1.10, 1.09, 1.13, 1.12."""
FLAT = (1.12,)


def walk(count: int, start: int = T0, seconds: int = M15) -> Bars:
    rng = np.random.default_rng(count)
    close = 1.1 + rng.normal(0, 0.001, count).cumsum().round(5)
    open_ = np.concatenate([[1.1], close[:-1]])
    high, low = np.maximum(open_, close) + 0.0005, np.minimum(open_, close) - 0.0005
    times = start + seconds * np.arange(count, dtype=np.int64)
    return Bars(times, *(column.round(5) for column in (open_, high, low, close)), rng.integers(1, 9, count) * 4.0)


def last_of(spots: list[Spot], period: str) -> dict[int, LiveBar]:
    """The last state of each bar that the spots carried."""
    return {bar.time: bar for spot in spots for bar in spot.bars if bar.period == period}


def test_a_bar_is_seen_price_by_price_as_it_forms(tmp_path: Path) -> None:
    exchange = market(tmp_path, {"EURUSD": bars([DIP, FLAT])})
    spots = of(Spot, exchange.advance(T0 + M15))
    assert [(spot.time - T0, spot.bid, spot.ask) for spot in spots] == [
        (225, 1.09, 1.09007),
        (675, 1.13, 1.13007),
        (pytest.approx(899.1), 1.12, 1.12007),
        (M15, 1.12, 1.12007),
    ]
    forming = [spot.bars[0] for spot in spots]
    assert [(bar.time - T0, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in forming] == [
        (0, 1.10, 1.10, 1.09, 1.09, 0.5),
        (0, 1.10, 1.13, 1.09, 1.13, 0.75),
        (0, 1.10, 1.13, 1.09, 1.12, 1.0),
        (M15, 1.12, 1.12, 1.12, 1.12, 0.25),
    ]


@pytest.mark.parametrize("closing_update", [False, True])
def test_a_last_update_at_the_close_is_an_option(tmp_path: Path, closing_update: bool) -> None:
    exchange = market(tmp_path, {"EURUSD": bars([DIP])}, closing_update=closing_update)
    spots = of(Spot, exchange.advance(T0 + M15 + 5))
    assert [(spot.time, spot.bars[0].close) for spot in spots if spot.closed] == [(T0 + M15, 1.12)] * closing_update
    assert len(spots) == 3 + closing_update


def test_the_stream_ends_every_bar_as_history_tells_it(tmp_path: Path) -> None:
    exchange = market(tmp_path, {"EURUSD": walk(40)}, timeframes=["M15", "H1"])
    spots = of(Spot, exchange.advance(T0 + 40 * M15))
    for period in ("M15", "H1"):
        official = exchange.trendbars(1, period, T0, T0 + 40 * M15)
        streamed = last_of(spots, period)
        assert list(streamed) == official.time.tolist()
        for row, bar in enumerate(streamed.values()):
            told = [getattr(official, name)[row] for name in ("open", "high", "low", "close", "volume")]
            assert [bar.open, bar.high, bar.low, bar.close, bar.volume] == told


def test_history_holds_closed_bars_and_the_one_in_progress(tmp_path: Path) -> None:
    exchange = market(tmp_path, {"EURUSD": bars([DIP, FLAT, FLAT])}, start=T0 + M15 + 1)
    known = exchange.trendbars(1, "M15", T0, T0 + 10 * M15)
    assert known.time.tolist() == [T0, T0 + M15]
    assert known.high.tolist() == [1.13, 1.12]
    assert known.volume.tolist() == [1.0, 0.25]
    assert exchange.trendbars(1, "M15", T0 + 1, T0 + 10 * M15).time.tolist() == [T0 + M15]
    assert exchange.trendbars(1, "M15", T0, T0 + M15 - 1).time.tolist() == [T0]
    assert exchange.trendbars(1, "M15", T0, T0 + 10 * M15, count=1).time.tolist() == [T0 + M15]
    assert len(exchange.trendbars(1, "M5", T0, T0 + 10 * M15)) == 0


def test_an_interval_without_a_price_has_no_bar(tmp_path: Path) -> None:
    exchange = market(tmp_path, {"EURUSD": bars([DIP, FLAT, FLAT])[np.array([True, False, True])]})
    assert len(of(Spot, exchange.advance(T0 + 2 * M15 - 1))) == 3
    assert exchange.live_bar(1, "M15") is None
    assert exchange.trendbars(1, "M15", T0, T0 + 9 * M15).time.tolist() == [T0]


def test_the_grid_of_long_bars_is_that_of_the_file(tmp_path: Path) -> None:
    evening = T0 - 3600  # 22:00 UTC
    long = walk(3, start=evening - 86400, seconds=86400)
    exchange = market(tmp_path, {"EURUSD": walk(40, start=evening), ("EURUSD", "D1"): long}, timeframes=["D1"])
    bar = exchange.live_bar(1, "D1")
    assert bar is not None
    assert bar.time == evening


def test_minute_bars_refine_a_quarter_of_an_hour(tmp_path: Path) -> None:
    fine = bars([(1.1 + n / 1000,) for n in range(15)], seconds=60)
    series: dict[Any, Bars] = {("EURUSD", "M1"): fine, "EURUSD": bars([(1.1, 1.114, 1.1, 1.114), FLAT])}
    exchange = market(tmp_path, series)
    exchange.advance(T0 + 301)
    assert fills(place(exchange, order())) == [1.10509]


def test_ticks_are_played_one_by_one(tmp_path: Path) -> None:
    rows = [(T0 + 1.5, 1.101), (T0 + 2.25, 1.099), (T0 + 800.0, 1.12)]
    (tmp_path / "bars").mkdir()
    ticks(tmp_path / "bars", rows)
    exchange = market(tmp_path, {"EURUSD": bars([DIP, FLAT])})
    assert [(spot.time, spot.bid) for spot in of(Spot, exchange.advance(T0 + M15 - 1))] == rows
    assert [(tick.time, tick.price) for tick in exchange.ticks(1, -1, T0, T0 + M15)] == [
        (time, round(bid + 0.00007, 5)) for time, bid in reversed(rows)
    ]


def test_only_watched_symbols_are_told_about(tmp_path: Path) -> None:
    exchange = market(tmp_path, {"EURUSD": bars([DIP, FLAT]), "GBPUSD": bars([DIP, FLAT])})
    exchange.watched = {2}
    assert {spot.symbol_id for spot in of(Spot, exchange.advance(T0 + 600))} == {2}
    quote = exchange.quote(1)
    assert quote is not None
    assert quote.bid == 1.09


def test_a_new_period_can_be_followed_from_the_middle_of_its_bar(tmp_path: Path) -> None:
    exchange = market(tmp_path, {"EURUSD": bars([DIP, FLAT, FLAT])})
    exchange.advance(T0 + M15)
    exchange.follow(1, "H1")
    exchange.follow(1, "M1")
    (spot,) = of(Spot, exchange.advance(T0 + M15 + 300))
    assert [(bar.period, bar.high, bar.time) for bar in spot.bars] == [("M15", 1.12, T0 + M15), ("H1", 1.13, T0)]


def test_holidays_are_announced_when_they_begin_and_end(tmp_path: Path) -> None:
    hours = ScheduleSettings("UTC", ("Sun 00:00-Sat 00:00",), ("2023-11-15 01:00-02:00",))
    exchange = market(tmp_path, {"EURUSD": walk(20)}, settings={"EURUSD": replace(COSTS, schedule=hours)})
    events = of(SymbolChanged, exchange.advance(T0 + 20 * M15))
    assert [(event.time - T0, event.symbol_ids) for event in events] == [(7200, (1,)), (10800, (1,))]


def test_symbols_needed_for_conversion_are_listed_and_chained(tmp_path: Path) -> None:
    series = {name: bars([(price,)]) for name, price in (("EURGBP", 0.85), ("GBPUSD", 1.25), ("EURUSD", 1.1))}
    folder = market(tmp_path, series) and tmp_path / "bars"
    exchange = Exchange(folder, ["EURGBP"], ["M15"], T0)
    assert [info.name for info in exchange.symbols.values()] == ["EURGBP", "EURUSD", "GBPUSD"]
    assert [info.tradable for info in exchange.symbols.values()] == [True, False, False]
    ids = {asset.name: asset.asset_id for asset in exchange.assets.values()}
    chain = exchange.conversion_chain(ids["GBP"], ids["USD"])
    assert chain is not None
    assert [info.name for info in chain] == ["GBPUSD"]
    assert exchange.conversion_chain(ids["USD"], ids["USD"]) == []
    assert exchange.conversion_chain(ids["USD"], 99) is None


def test_an_exchange_that_cannot_be_says_why(tmp_path: Path) -> None:
    market(tmp_path, {"EURUSD": bars([FLAT]), "EURGBP": bars([FLAT])})
    with pytest.raises(BarError, match=r"no bars of XAUUSD.*XAUUSD_M15"):
        Exchange(tmp_path / "bars", ["XAUUSD"], ["M15"], T0)
    with pytest.raises(ConfigError, match=r"M7 is no timeframe.*M15"):
        Exchange(tmp_path / "bars", ["EURUSD"], ["M7"], T0)
    with pytest.raises(ConfigError, match="named twice"):
        Exchange(tmp_path / "bars", ["EURUSD", "EURUSD"], ["M15"], T0)
    with pytest.raises(ConfigError, match="no pair leads from GBP to JPY"):
        Exchange(tmp_path / "bars", ["EURGBP"], ["M15"], T0, currency="JPY")


def test_a_bad_bar_silences_its_symbol_and_is_named(tmp_path: Path) -> None:
    good = bars([FLAT] * 2)
    broken = join(bars([FLAT], start=T0 - 86400), bars([(1.2, 1.0, 1.2, 1.2)], start=T0 + 86400))
    exchange = market(tmp_path, {"GBPUSD": join(good, bars([FLAT], start=T0 + 86400)), "EURUSD": broken})
    spots = of(Spot, exchange.advance(T0 + 86400 + M15))
    assert {spot.symbol_id for spot in spots} == {1}
    assert list(exchange.problems) == ["EURUSD"]
    assert "EURUSD_M15.csv" in exchange.problems["EURUSD"]
