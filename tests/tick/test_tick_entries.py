"""Entries: their size, their stop, and the rules that refuse them, with numbers worked by hand.

The scripted models cost 7 points of spread, 2 of slippage and 7.00 a lot and round turn.
"""

from __future__ import annotations

from typing import Any

import pytest

from oracle_batch.store.records import Fill
from tests.guard.acts import guarded
from tests.tick.fakes import DropsStops, RefusesCloses, install
from tests.tick.lab import Lab, came_to, shaped
from tests.tick.test_sync_scenarios import EURUSD, NOOP, OPENED, TURNED

YEN, GOLD = "USDJPY_M15", "XAUUSD_M15"


def position(lab: Lab, account: str = "paper") -> dict[str, Any]:
    (found,) = lab.account(account)["positions"]
    return dict(found)


def refusal(lab: Lab, account: str = "paper") -> tuple[str, dict[str, Any]]:
    """Code and numbers of the last refused entry."""
    detail = lab.events("refused", account)[-1].detail
    return detail["code"], detail["numbers"]


# stops and targets


def test_an_entry_carries_its_stop_and_its_target(lab: Lab) -> None:
    """0.05 lots are 5000 EUR: 10 USD are 0.00200, 25 USD are 0.00500. Entry: 1.1 + 7 + 2 points."""
    lab.add("EURUSD", "M15", "W L3", sl_usd=10.0, tp_usd=25.0)
    assert lab.play(EURUSD, 2) == [NOOP, OPENED]
    held = position(lab)
    assert (held["entry_price"], held["stop_loss"], held["take_profit"]) == (1.10009, 1.09809, 1.10509)
    watch = lab.books().models[EURUSD].watch
    assert watch is not None
    assert (watch.position_id, watch.stop_loss, watch.take_profit) == (held["position_id"], 1.09809, 1.10509)


def test_the_stop_of_a_yen_pair_goes_through_the_rate(lab: Lab) -> None:
    """0.01 lots of USDJPY at 150.000 are 1000 USD; a yen is 1/150 USD, so 10 USD are 1500 yen: 1.500."""
    lab.add("USDJPY", "M15", "W", sl_usd=10.0)
    lab.put(YEN, shaped([0] * 400 + [0, 4, 4, 0, 0], lab.time(YEN, -400), 900, [150.0] * 405, step=0.001))
    assert lab.play(YEN, 2) == [NOOP, OPENED]
    held = position(lab)
    assert (held["entry_price"], held["stop_loss"]) == (149.998, 151.498)


def test_the_stop_of_gold_goes_by_its_own_lot(lab: Lab) -> None:
    """0.01 lots of gold are one ounce: 10 USD are 10.00. Entry: 2000.00 + 7 + 2 points of 0.01."""
    lab.add("XAUUSD", "M15", "W", costs={"digits": 2}, sl_usd=10.0)
    lab.put(GOLD, shaped([0] * 400 + [0, 1, 1, 0, 0], lab.time(GOLD, -400), 900, [2000.0] * 405, step=0.01))
    assert lab.play(GOLD, 2) == [NOOP, OPENED]
    held = position(lab)
    assert (held["entry_price"], held["stop_loss"]) == (2000.09, 1990.09)


def test_a_stop_in_average_true_ranges_is_taken_from_the_models_own_bars(lab: Lab) -> None:
    """Every scripted bar spans 6 steps of 0.0001; three times 0.0006 are 0.00180, and a stop is rounded down."""
    lab.add("EURUSD", "M15", "W L1", sl_atr=3.0)
    lab.play(EURUSD, 2)
    assert position(lab)["stop_loss"] == pytest.approx(1.10009 - 0.0018, abs=1.1e-5)


def test_risk_per_trade_takes_fewer_lots(lab: Lab) -> None:
    """0.05 % of 10,000 are 5.00. 10 USD on 0.05 lots are 0.00200 away; 5.00 / 0.002 are 2500 EUR: 0.02 lots."""
    lab.add("EURUSD", "M15", "W L3", sl_usd=10.0, risk_per_trade_pct=0.05)
    lab.play(EURUSD, 2)
    held = position(lab)
    assert (held["volume_cents"], held["stop_loss"]) == (200_000, 1.09809)


def test_a_market_range_entry_says_how_much_worse_it_may_fill(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fill slips by 2 points: a limit of 1 point cancels the order."""
    lab.add("EURUSD", "M15", "W L1", max_slippage_points=1.0)
    assert lab.play(EURUSD, 2) == [NOOP, ("OPEN", "FAIL", "ORDER_CANCELLED")]


# after the fill


def test_a_stop_that_the_fill_lost_is_set_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add("EURUSD", "M15", "W L3", sl_usd=10.0)
    install(monkeypatch, DropsStops)
    assert lab.play(EURUSD, 2) == [NOOP, OPENED]
    assert position(lab)["stop_loss"] == 1.09809
    assert [one.stop_loss for one in lab.journal() if type(one).__name__ == "AmendIntent"] == [1.09809]


class NeverProtects(DropsStops):
    """Drops the stops of orders and refuses to set them."""

    async def execute(self, intents: Any, gate: Any) -> Any:
        from oracle_batch.broker.base import Ack, AmendIntent

        rest = [leg for leg in intents if not isinstance(leg, AmendIntent)]
        acks = {ack.intent_id: ack for ack in await super().execute(rest, gate)}
        return [acks.get(leg.intent_id) or Ack(leg.intent_id, "FAIL", "TRADING_BAD_STOPS") for leg in intents]


def test_a_position_that_cannot_be_protected_is_closed_and_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add("EURUSD", "M15", "W L3 L3 W L1", sl_usd=10.0)
    install(monkeypatch, NeverProtects)
    assert lab.play(EURUSD, 2) == [NOOP, ("OPEN", "FAIL", "UNPROTECTED")]
    assert lab.positions() == []
    assert lab.events("unprotected")[0].detail["stop_loss"] == 1.09809
    assert came_to(lab.tick(2), EURUSD) == ("WAIT_SYNC", "WAIT_SYNC", "EMERGENCY")
    assert lab.books().models[EURUSD].watch is None


def test_each_fill_is_journalled_with_its_slippage_and_spread(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1")
    lab.play(EURUSD, 2)
    (fill,) = [one for one in lab.journal() if isinstance(one, Fill)]
    assert (fill.slippage, fill.spread) == (0.00002, 0.00007)
    assert lab.books().risk.spreads["EURUSD"].pips == (0.7, 0.7)


def test_a_trade_that_ended_is_remembered_and_its_watch_goes(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L3 S3", sl_usd=10.0)
    assert lab.play(EURUSD, 3) == [NOOP, OPENED, TURNED]
    (trade,) = lab.books().risk.trades.trades
    assert (trade.model, trade.symbol, trade.reason) == (EURUSD, "EURUSD", "order")
    counts = lab.books().risk.trades.day
    assert (counts.trades, counts.requests) == (2, 3)


# refusals


def test_gold_is_refused_at_the_default_spread_and_told_what_to_change(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """Prices of two digits: a pip is a point, 0.01, and the usual spread of 0.25 is 25 of them."""
    lab.add("XAUUSD", "M15", "W", costs={"digits": 2, "spread_points": 25}, max_spread_pips=3.0)
    lab.put(GOLD, shaped([0] * 400 + [0, 1, 4, 0, 0], lab.time(GOLD, -400), 900, [2000.0] * 405, step=0.01))
    with caplog.at_level("INFO"):
        assert lab.play(GOLD, 2) == [NOOP, ("OPEN", "SKIP", "SPREAD")]
    assert refusal(lab) == ("SPREAD", {"pips": 25.0, "limit_pips": 3.0, "pip": 0.01})
    assert "if that is its usual spread, raise max_spread_pips in the symbols file" in caplog.text
    lab.trade("XAUUSD", max_spread_pips=30.0)
    assert came_to(lab.tick(2), GOLD) == OPENED


def test_a_wide_spread_refuses_the_entry_and_not_the_close(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 W")
    lab.play(EURUSD, 2)
    lab.trade("EURUSD", max_spread_pips=0.5)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE_OPEN", "SKIP", "SPREAD")
    assert lab.positions() == []
    assert refusal(lab) == ("SPREAD", {"pips": 0.7, "limit_pips": 0.5, "pip": 0.0001})
    last = lab.books().models[EURUSD].last
    assert last is not None
    assert (last.reason, last.numbers) == ("SPREAD", {"pips": 0.7, "limit_pips": 0.5, "pip": 0.0001})


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"require_stop": True}, "REQUIRE_STOP"),
        ({"sl_usd": 0.05}, "STOP_TOO_CLOSE"),
        ({"sl_usd": 10.0, "max_stop_pct": 0.05}, "MAX_STOP_PCT"),
        ({"lot_weak": 0.001}, "VOLUME_BELOW_MIN"),
        ({"sl_usd": 10.0, "risk_per_trade_pct": 0.01}, "VOLUME_BELOW_MIN"),
    ],
)
def test_what_cannot_be_protected_is_not_entered(lab: Lab, entry: dict[str, Any], code: str) -> None:
    lab.add("EURUSD", "M15", "W L1", **entry)
    assert lab.play(EURUSD, 2) == [NOOP, ("OPEN", "SKIP", code)]
    assert refusal(lab)[0] == code


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ({"blackout": ("Mon",)}, "BLACKOUT"),
        ({"trading_hours": ("Tue-Fri",)}, "TRADING_HOURS"),
        ({"max_symbol_exposure": 1000.0}, "EXPOSURE_SYMBOL"),
        ({"max_currency_exposure": 1000.0}, "EXPOSURE_CURRENCY"),
        ({"min_free_margin_pct": 99.95}, "FREE_MARGIN"),
        ({"max_spread_vs_median": 2.0}, "UNKNOWN_SPREAD_MEDIAN"),
        ({"no_entry_before_break_min": 30.0}, "UNKNOWN_SCHEDULE"),
        ({"news_mode": "no_entry"}, "UNKNOWN_NEWS"),
    ],
)
def test_an_account_rule_refuses(lab: Lab, rules: dict[str, Any], code: str) -> None:
    """One weak lot is 1000 EUR: 1100 USD of exposure, 11 USD of margin."""
    lab.limit(**rules)
    lab.add("EURUSD", "M15", "W L1")
    assert lab.play(EURUSD, 2) == [NOOP, ("OPEN", "SKIP", code)]
    assert lab.positions() == []


def test_five_losses_in_a_row_rest_the_model_for_a_day(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 S1 L1 S1 L1 S1 L1")
    assert lab.play(EURUSD, 7) == [NOOP, OPENED] + [TURNED] * 5
    assert lab.losses(EURUSD) == 5
    assert came_to(lab.tick(7), EURUSD) == ("CLOSE_OPEN", "SKIP", "CONSECUTIVE_LOSSES_MODEL")
    assert refusal(lab)[1]["until"] == lab.close_of(6) + 1 + 86400


def test_the_slots_are_given_out_by_priority(lab: Lab) -> None:
    lab.limit(max_open_positions=1)
    lab.add("EURUSD", "M15", "W L1", priority=2)
    lab.add("GBPUSD", "M15", "W L1", priority=1)
    lab.tick(0)
    report = lab.tick(1)
    assert came_to(report, "GBPUSD_M15") == OPENED
    assert came_to(report, EURUSD) == ("OPEN", "SKIP", "MAX_OPEN_POSITIONS")
    assert refusal(lab) == ("MAX_OPEN_POSITIONS", {"taken": 1.0, "freed": 0.0, "needed": 1.0, "limit": 1.0})


def test_trades_of_the_day_are_counted_over_runs(lab: Lab) -> None:
    lab.limit(max_trades_per_day=2)
    lab.add("EURUSD", "M15", "W L1 W L1 W L1")
    assert lab.play(EURUSD, 6)[-1] == ("OPEN", "SKIP", "MAX_TRADES_DAY")


# news


def news(lab: Lab, at: float) -> None:
    from datetime import UTC, datetime

    when = [datetime.fromtimestamp(moment, UTC).isoformat() for moment in (at, at + 30 * 86400)]
    path = lab.workspace.config / "news.csv"
    path.write_text("time,currency,impact\n" + "".join(f"{one},USD,high\n" for one in when))


def test_around_news_an_ordinary_close_waits_and_the_next_bar_carries_it_out(lab: Lab) -> None:
    lab.limit(news_mode="no_trade")
    lab.add("EURUSD", "M15", "W L1 W W")
    news(lab, lab.close_of(2) + 240)
    assert lab.play(EURUSD, 3) == [NOOP, OPENED, ("CLOSE", "SKIP", "NEWS")]
    assert len(lab.positions()) == 1
    pending = lab.books().models[EURUSD].pending_close
    assert pending is not None
    assert pending.cause == "signal"
    assert came_to(lab.tick(3), EURUSD) == ("CLOSE", "OK", None)
    assert lab.positions() == []


def test_no_run_carries_the_close_out_before_the_news_are_over(lab: Lab) -> None:
    """The event is four minutes after the close of bar 2, and closes wait until five minutes after it."""
    lab.limit(news_mode="no_trade")
    lab.add("EURUSD", "M15", "W L1 W W")
    event = lab.close_of(2) + 240
    news(lab, event)
    lab.play(EURUSD, 3)
    for late in (5, 200):
        lab.tick(2, late=late)
        assert guarded(lab, lab.close_of(2) + late + 1).closes == ()
    assert guarded(lab, event + 299).closes == ()
    assert len(lab.positions()) == 1
    assert [(one.ack, one.why) for one in guarded(lab, event + 301).closes] == [("OK", "PENDING_CLOSE")]
    assert lab.positions() == []
    assert came_to(lab.tick(3), EURUSD) == NOOP


def test_a_reversal_around_news_is_missed_as_a_whole(lab: Lab) -> None:
    """The short is missed for good: once the close is made, S1 is no edge any more."""
    lab.limit(news_mode="no_trade")
    lab.add("EURUSD", "M15", "W L1 S1 S1 L1")
    news(lab, lab.close_of(2) + 60)
    assert lab.play(EURUSD, 3) == [NOOP, OPENED, ("CLOSE_OPEN", "SKIP", "NEWS")]
    assert len(lab.positions()) == 1
    assert came_to(lab.tick(3), EURUSD) == ("CLOSE", "OK", None)
    assert came_to(lab.tick(4), EURUSD) == OPENED


def test_a_deferred_close_is_forgotten_when_the_signal_comes_back(lab: Lab) -> None:
    lab.limit(news_mode="no_trade")
    lab.add("EURUSD", "M15", "W L1 W L1 L1")
    news(lab, lab.close_of(2) + 240)
    assert lab.play(EURUSD, 4) == [NOOP, OPENED, ("CLOSE", "SKIP", "NEWS"), NOOP]
    assert lab.books().models[EURUSD].pending_close is None
    assert guarded(lab, lab.close_of(3) + 300).closes == ()
    assert len(lab.positions()) == 1


def test_an_emergency_does_not_wait_for_news(lab: Lab) -> None:
    """0.05 % of 10,000 are 5.00, flat at 4.50: one lot has cost 3.50 and its 9 points are 9.00 more."""
    lab.limit(news_mode="no_trade")
    lab.add("EURUSD", "M15", "W L1 L1", lot_weak=1.0)
    news(lab, lab.close_of(2) + 60)
    lab.play(EURUSD, 2)
    lab.limit(max_daily_loss_pct=0.05)
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "OK", "DAILY_LOSS")


def test_positions_are_closed_before_news(lab: Lab) -> None:
    lab.limit(news_mode="flat_before")
    lab.add("EURUSD", "M15", "W L1 L1 L2")
    news(lab, lab.close_of(2) + 300)
    assert lab.play(EURUSD, 3) == [NOOP, OPENED, ("CLOSE", "OK", "NEWS")]
    assert came_to(lab.tick(3), EURUSD) == ("WAIT_SYNC", "WAIT_SYNC", "EMERGENCY")


# several accounts


def test_each_account_goes_by_its_own_symbols_file(lab: Lab) -> None:
    from msgspec.structs import replace

    lab.accounts("one", "two")
    first, second = lab.settings.accounts
    lab.settings = replace(lab.settings, accounts=(first, replace(second, symbols="config/two.json")))
    lab.add("EURUSD", "M15", "W L1")
    lab.tick(0)
    assert '"EURUSD"' in (lab.workspace.config / "two.json").read_text(), "a new file gets the defaults, disabled"
    report = lab.tick(1)
    assert came_to(report, EURUSD, "one") == OPENED
    assert came_to(report, EURUSD, "two") == ("OPEN", "SKIP", "DISABLED")


def test_no_account_trades_against_another(lab: Lab) -> None:
    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "W L1 L1 S1")
    lab.play(EURUSD, 3)
    path = lab.workspace.paper_path("two")
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    assert came_to(lab.tick(3), EURUSD) == ("CLOSE_OPEN", "SKIP", "OPPOSITE_ACROSS_ACCOUNTS")
    assert refusal(lab, "one")[1] == {"symbol": "EURUSD", "direction": -1, "account": "two"}
    path.write_bytes(whole)
    assert (lab.positions("one"), len(lab.positions("two"))) == ([], 1)


def test_a_turn_that_one_account_cannot_make_is_not_made_by_the_other(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Account two cannot close its long; account one closes its own and stays flat."""
    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "W L1 S1")
    lab.play(EURUSD, 2)
    install(monkeypatch, RefusesCloses, "two")
    report = lab.tick(2)
    assert came_to(report, EURUSD, "one") == ("CLOSE_OPEN", "SKIP", "OPPOSITE_ACROSS_ACCOUNTS")
    assert came_to(report, EURUSD, "two")[1] == "FAIL"
    assert lab.positions("one") == []


def test_opposite_positions_may_be_allowed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.accounts("one", "two")
    lab.limit(allow_opposite_across_accounts=True)
    lab.add("EURUSD", "M15", "W L1 S1")
    lab.play(EURUSD, 2)
    install(monkeypatch, RefusesCloses, "two")
    assert came_to(lab.tick(2), EURUSD, "one") == TURNED


def test_trading_alike_is_said_once(lab: Lab) -> None:
    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "W L1 S1 L1")
    lab.play(EURUSD, 4)
    assert [one.detail for one in lab.events("identical_trading", "two")] == [{"accounts": ["one", "two"]}]
    assert lab.events("identical_trading", "one") == []
