"""What the market shows, all rules together, the settings, and the page of reason codes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from oracle_batch.broker.base import Quote
from oracle_batch.config.rules import EntryRules, LowProfit, StoplossGuard
from oracle_batch.hands import rules_market
from oracle_batch.hands.across import OtherPosition, opposite_across_accounts
from oracle_batch.hands.refusal import Code, Refusal
from oracle_batch.hands.rules import AccountFacts, EntryFacts, entry_refusal
from oracle_batch.hands.spreads import ENOUGH, WINDOW, SpreadWindow, pip_size, spread_pips
from oracle_batch.hands.trade_log import ClosedTrade, TradeLog, recorded

NOW = 1_770_000_000.0
PAGE = Path(__file__).parents[2] / "docs" / "reason-codes.md"


def code(refusal: Refusal | None) -> str | None:
    return refusal.code if refusal is not None else None


# Where bars are from, and how old


@pytest.mark.parametrize(
    ("source", "live", "expected"),
    [
        ("synthetic", True, "SYNTHETIC_DATA"),
        ("Synthetic:walk", True, "SYNTHETIC_DATA"),
        ("synthetic", False, None),
        ("ctrader:live", True, None),
        ("paper", True, "UNKNOWN_DATA_SOURCE"),
        ("paper", False, None),
        ("", True, "UNKNOWN_DATA_SOURCE"),
        (None, True, "UNKNOWN_DATA_SOURCE"),
        (None, False, None),
    ],
)
def test_a_live_account_trades_on_real_bars_alone(source: str | None, live: bool, expected: str | None) -> None:
    assert code(rules_market.synthetic_data(source, live=live)) == expected


def stale(quote_age: float | None, bar_age: float | None, **limits: float) -> Refusal | None:
    settings = EntryRules(**({"max_quote_age_s": 30, "max_bar_age_s": 60} | limits))  # type: ignore[arg-type]
    quote = None if quote_age is None else Quote(1.1, 1.1001, NOW - quote_age)
    return rules_market.stale_data(settings, quote, None if bar_age is None else NOW - bar_age, NOW)


def test_a_quote_or_a_bar_that_is_too_old_is_stale() -> None:
    assert stale(30, 60) is None
    assert stale(31, 60) == Refusal("STALE_DATA", {"quote_age_s": 31.0, "limit_s": 30})
    assert stale(30, 61) == Refusal("STALE_DATA", {"bar_age_s": 61.0, "limit_s": 60})
    assert code(stale(None, 1)) == "UNKNOWN_QUOTE"
    assert code(stale(math.nan, 1)) == "UNKNOWN_QUOTE"
    assert code(stale(1, None)) == "STALE_DATA"
    assert stale(None, None, max_quote_age_s=0, max_bar_age_s=0) is None


# The spread


@pytest.mark.parametrize(
    ("digits", "bid", "ask", "pips"),
    [
        (5, 1.10000, 1.10030, 3.0),
        (4, 1.1000, 1.1003, 3.0),
        (3, 150.000, 150.013, 1.3),
        (2, 2400.10, 2400.45, 35.0),
        (1, 40000.0, 40001.5, 15.0),
        (0, 500.0, 502.0, 2.0),
    ],
)
def test_a_spread_in_pips_by_digits(digits: int, bid: float, ask: float, pips: float) -> None:
    assert spread_pips(Quote(bid, ask, NOW), digits) == pips
    assert pip_size(digits) == pytest.approx((ask - bid) / pips)


def spread(
    limit: float, bid: float, ask: float, *, factor: float = 0, window: tuple[float, ...] = (), digits: int | None = 5
) -> Refusal | None:
    settings = EntryRules(max_spread_vs_median=factor)
    return rules_market.spread(settings, limit, Quote(bid, ask, NOW), digits, SpreadWindow(window))


def test_a_spread_at_its_limit_passes_and_above_it_does_not() -> None:
    assert spread(3.0, 1.10000, 1.10030) is None
    assert spread(3.0, 1.10000, 1.10031) == Refusal("SPREAD", {"pips": 3.1, "limit_pips": 3.0, "pip": 0.0001})
    assert spread(0, 1.1, 1.2) is None


def test_a_spread_is_held_against_the_median_of_its_window() -> None:
    usual = (0.5,) * 6 + (0.7,) * 6  # the median is 0.6
    assert spread(0, 1.10000, 1.10012, factor=2, window=usual) is None
    assert spread(0, 1.10000, 1.10013, factor=2, window=usual) == Refusal(
        "SPREAD_ABOVE_MEDIAN", {"pips": 1.3, "median_pips": 0.6, "factor": 2}
    )
    assert code(spread(0, 1.10000, 1.10001, factor=2, window=usual[1:])) == "UNKNOWN_SPREAD_MEDIAN"


@pytest.mark.parametrize(("bid", "ask"), [(1.2, 1.1), (math.nan, 1.1), (1.1, math.inf), (0.0, 1.1), (-1.0, 1.0)])
def test_a_quote_that_cannot_be_right_is_an_unknown_spread(bid: float, ask: float) -> None:
    found = spread(3, bid, ask)
    assert code(found) == "UNKNOWN_SPREAD"
    assert spread(0, bid, ask) is None


def test_without_a_quote_or_digits_the_spread_is_unknown() -> None:
    assert code(rules_market.spread(EntryRules(), 3, None, 5, SpreadWindow())) == "UNKNOWN_QUOTE"
    assert code(spread(3, 1.1, 1.1001, digits=None)) == "UNKNOWN_SPREAD"


def test_a_window_keeps_the_newest_spreads() -> None:
    window = SpreadWindow()
    for number in range(WINDOW + 3):
        assert (window.median() is None) == (number < ENOUGH)
        window = window.with_spread(float(number))
    assert window.pips[0] == 3.0
    assert len(window.pips) == WINDOW
    assert msgspec.json.decode(msgspec.json.encode(window), type=SpreadWindow) == window


# One's own accounts


def test_opposite_positions_across_accounts_are_refused_unless_allowed() -> None:
    others = [OtherPosition("b", "EURUSD", -1), OtherPosition("a", "EURUSD", -1), OtherPosition("c", "GBPUSD", -1)]
    assert opposite_across_accounts(EntryRules(), "EURUSD", 1, others) == Refusal(
        "OPPOSITE_ACROSS_ACCOUNTS", {"symbol": "EURUSD", "direction": 1, "account": "a"}
    )
    assert opposite_across_accounts(EntryRules(), "EURUSD", -1, others) is None
    assert opposite_across_accounts(EntryRules(), "USDJPY", 1, others) is None
    assert opposite_across_accounts(EntryRules(allow_opposite_across_accounts=True), "EURUSD", 1, others) is None
    assert code(opposite_across_accounts(EntryRules(), "EURUSD", 1, None)) == "UNKNOWN_OTHER_ACCOUNTS"


# All together

ACCOUNT = AccountFacts(
    live=True, log=TradeLog(), equity=10_000.0, closing_costs=0.0, initial_balance=10_000.0, news=None
)
ENTRY = EntryFacts(
    model="EURUSD_M15",
    symbol="EURUSD",
    source="ctrader",
    bar_close=NOW - 1,
    quote=Quote(1.1, 1.1001, NOW),
    digits=5,
    max_spread_pips=3.0,
    spreads=SpreadWindow(),
    currencies=("EUR", "USD"),
    schedule=None,
)


def test_an_ordinary_entry_passes_under_the_defaults() -> None:
    assert entry_refusal(EntryRules(), ACCOUNT, ENTRY, NOW) is None


GUARDED = EntryRules(
    profit_target_pct=1,
    max_consecutive_losses=1,
    stoploss_guard=StoplossGuard(trade_limit=1),
    low_profit=LowProfit(trade_limit=1),
    trading_hours=("Sat",),
    flat_before_break_min=1,
    news_mode="no_entry",
)
STOPPED = recorded(TradeLog(), ClosedTrade("EURUSD_M15", "EURUSD", NOW, -1.0, "stop_loss"), 1e6)
MENDED: list[tuple[str | None, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("SYNTHETIC_DATA", {}, {}, {"source": "ctrader"}),
    ("STALE_DATA", {}, {}, {"quote": Quote(1.1, 1.11, NOW)}),
    ("PROFIT_TARGET", {}, {"equity": 10_000.0}, {}),
    ("CONSECUTIVE_LOSSES_MODEL", {"max_consecutive_losses": 0}, {}, {}),
    ("STOPLOSS_GUARD", {"stoploss_guard": StoplossGuard()}, {}, {}),
    ("LOW_PROFIT", {"low_profit": LowProfit()}, {}, {}),
    ("TRADING_HOURS", {"trading_hours": ()}, {}, {}),
    ("UNKNOWN_SCHEDULE", {"flat_before_break_min": 0}, {}, {}),
    ("UNKNOWN_NEWS", {"news_mode": "off"}, {}, {}),
    ("SPREAD", {}, {}, {"max_spread_pips": 100.0}),
    (None, {}, {}, {}),
]
"""Everything is wrong at first; after each refusal its cause is mended."""


def test_every_rule_has_its_say_in_a_fixed_order() -> None:
    rules, account = GUARDED, replace(ACCOUNT, log=STOPPED, equity=10_100.0)
    entry = replace(ENTRY, source="synthetic", quote=Quote(1.1, 1.11, NOW - 500))
    for expected, of_rules, of_account, of_entry in MENDED:
        assert code(entry_refusal(rules, account, entry, NOW)) == expected
        rules = msgspec.structs.replace(rules, **of_rules)
        account, entry = replace(account, **of_account), replace(entry, **of_entry)


def test_a_broken_quote_leaves_no_number_that_json_cannot_say() -> None:
    refusal = entry_refusal(EntryRules(), ACCOUNT, replace(ENTRY, quote=Quote(math.nan, math.inf, NOW)), NOW)
    assert refusal == Refusal("UNKNOWN_SPREAD", {"bid": None, "ask": None, "digits": 5})


# Settings


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"hours_zone": "Mars/Olympus"}, "no time zone"),
        ({"trading_hours": ["Mon-Fri 7-20"]}, "no window"),
        ({"blackout": ["08:00-08:00"]}, "no minute"),
        ({"news_mode": "maybe"}, "maybe"),
        ({"symbol_currencies": {"US30": []}}, "name one currency"),
        ({"symbol_currencies": {"US30": ["USD", "USD"]}}, "name one currency"),
        ({"symbol_currencies": {"US30": ["usd"]}}, "regex"),
        ({"max_open_positions": -1}, ">= 0"),
        ({"stoploss_guard": {"lookback_min": 0}}, "> 0"),
        ({"stoploss_guard": {"only_per_side": True}}, "unknown field"),
        ({"no_such_rule": 1}, "unknown field"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=what):
        msgspec.convert(settings, EntryRules)


def test_the_documented_defaults_stand() -> None:
    found = EntryRules()
    assert (found.max_open_positions, found.max_consecutive_losses, found.max_consecutive_losses_account) == (20, 5, 10)


def test_every_reason_code_is_explained_once_and_none_is_invented() -> None:
    explained = re.findall(r"^\| `([A-Z_]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(explained) == len(set(explained))
    risk = PAGE.read_text(encoding="utf-8").partition("## The signal and the order")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", risk, re.MULTILINE)) == set(get_args(Code))
