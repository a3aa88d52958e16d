"""A model whose trips are certain is taken through many looks at a stride, and nothing comes out otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from msgspec.structs import replace as with_

from oracle_batch.config.rules import LowProfit, StoplossGuard
from oracle_batch.hands.anchors import Seen
from oracle_batch.hands.trade_log import DayCounts
from oracle_batch.market.spec_file import SymbolSettings as Contract
from oracle_batch.training.backtest.express import Express
from oracle_batch.training.backtest.hands import Hands
from oracle_batch.training.backtest.solo import Solo
from oracle_batch.training.backtest.spreads import Market, Profile
from tests.backtest.cases import Case, cases, compare, made_up, same


def on_foot(case: Case) -> Hands:
    """The same account, taken from look to look."""
    hands = case.hands()
    assert hands._solo is not None
    hands._solo._express = None
    return hands


def kept(hands: Hands) -> tuple[object, ...]:
    """What stays of an account, but for what whole looks alone write down and nothing plain asks for."""
    memory, name = hands._memory, hands._lives[0].model.model_id
    assert memory is not None
    assert memory.risk.anchors is not None
    books, log, nothing = memory.models[name], memory.risk.trades, Seen(0.0, 0, 0)
    return (
        hands._broker.book,
        with_(books, last=None),
        with_(memory.risk.anchors, peak_equity=0, last_seen=nothing),
        with_(log, day=DayCounts()),
    )


def both(case: Case) -> None:
    """With and without a stride: deals, money, what was told, and the books at the end."""
    riding, walking = case.hands(), on_foot(case)
    fewer, every = same(riding.play(), walking.play())
    assert kept(riding) == kept(walking)
    if fewer.looks == every.looks:
        assert fewer.events == every.events


@settings(max_examples=60)
@given(cases(200, certain=True))
def test_a_stride_changes_nothing(case: Case) -> None:
    both(case)


@settings(max_examples=10)
@given(cases(certain=True))
def test_a_stride_is_as_if_every_look_were_made(case: Case) -> None:
    compare(case)


def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The looks that are made one by one."""
    made: list[int] = []
    look = Solo._look
    monkeypatch.setattr(Solo, "_look", lambda self, number: [made.append(number), look(self, number)])
    return made


@pytest.mark.parametrize("spec", [Contract(), Contract(spread_points=7.25), Contract(min_stop_points=40.0)])
def test_most_looks_are_made_at_a_stride(spec: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    made = steps(monkeypatch)
    case = made_up(4, (0, 1, 3, 5, 6), {"sl_usd": 60.0}, Market(), 400, spec, max_consecutive_losses=0)
    trading = case.hands().play()
    assert len(trading.deals) > 200
    assert len(made) < 0.1 * trading.looks
    both(case)


def test_nights_that_make_swap_are_left_to_the_engine() -> None:
    case = made_up(4, (1, 5), {"sl_usd": 0.0}, Market(), 300, Contract(swap_long_points=-7.0), max_consecutive_losses=0)
    both(case)
    assert any(deal.swap for deal in case.hands().play().deals)


@pytest.mark.parametrize("leverage", [2.0, 5.0, 30.0])
def test_where_the_margin_is_short_whole_looks_decide(leverage: float) -> None:
    both(made_up(8, (0, 3, 6), {"lot_strong": 0.2, "sl_usd": 0.0}, Market(), 200, leverage=leverage))


@pytest.mark.parametrize(
    ("entry", "risk", "market"),
    [
        ({"max_slippage_points": 3.0}, {}, Market()),
        ({"sl_atr": 2.0}, {}, Market()),
        ({"risk_per_trade_pct": 0.5}, {}, Market()),
        ({"max_spread_pips": 0.7}, {}, Market()),
        ({}, {"trading_hours": ("Mon-Fri 06:00-20:00",)}, Market()),
        ({}, {"blackout": ("Mon-Fri 06:00-20:00",)}, Market()),
        ({}, {"stoploss_guard": StoplossGuard(trade_limit=2)}, Market()),
        ({}, {"low_profit": LowProfit(trade_limit=3)}, Market()),
        ({}, {}, Market(Profile("EURUSD", (0.0001,) * 24, "made up"))),
    ],
)
def test_what_goes_by_more_than_the_money_is_taken_step_by_step(
    entry: dict[str, Any], risk: dict[str, Any], market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Express, "ride", lambda *_: pytest.fail("rode"))
    assert made_up(2, (1, 4), {"sl_usd": 20.0} | entry, market, 60, **risk).hands().play().looks > 0
