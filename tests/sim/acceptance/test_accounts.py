"""FAILURE_MODES, broker: rows 17, 19 to 21 and 25 to 28: scales, volumes, kinds of accounts, tokens."""

from __future__ import annotations

import json
import stat

import pytest

from oracle_batch.sim.process import Plan
from oracle_batch.sim.values import OrderRequest
from tests.sim.acceptance.world import World
from tests.tick.lab import T0, shaped

ENTRY = "ob-EURUSD_M15-1704672900-1"
EACH = {"times": 0}


def ready(world: World, script: str = "W L1 W W", **entry: object) -> None:
    world.lab.add("EURUSD", "M15", script, **entry)
    world.start()
    world.play(0)


SCALES = {
    "EURUSD": (1.1, 0.0001, 5, 100_000),
    "USDJPY": (150.0, 0.01, 3, 100_000),
    "XAUUSD": (2000.0, 0.5, 2, 100),
    "US500": (5000.0, 1.0, 2, 1),
}


@pytest.mark.parametrize("symbol", SCALES)
def test_rows_17_and_20_stops_volumes_and_money_are_right_on_every_price_scale(world: World, symbol: str) -> None:
    price, step, digits, lot = SCALES[symbol]
    lots = 1.0 if symbol == "US500" else 0.1
    name = world.lab.add(symbol, "M15", "W L1 L1 W", sl_usd=50.005, lot_weak=lots)
    actions = [0] * 1010 + [0, 1, 1, 0] + [0] * 3
    world.lab.put(name, shaped(actions, T0 - 1010 * 900, 900, [price] * len(actions), step))
    world.start([symbol])
    world.play(0, 1)
    (position,) = world.simulator.state()["positions"]
    assert position["volume"] == round(lots * lot * 100)
    distance = position["price"] - position["stop_loss"]
    assert round(position["stop_loss"], digits) == position["stop_loss"], "on the price grid"
    rate = 1 / position["price"] if symbol == "USDJPY" else 1.0
    lost = distance * lots * lot * rate
    step_money = 10**-digits * lots * lot * rate
    assert 49.98 <= lost < 50.1 + step_money, "rounded away from the market, by no more than a step"
    live = world.cli("status", "--live", "--json").document["live"]["demo"]
    state = world.simulator.state()
    assert live["equity"] == pytest.approx(state["equity"], abs=0.02)
    world.agree()


def test_row_17_a_stop_too_close_to_the_market_is_refused_and_the_next_entry_trades(world: World) -> None:
    ready(world, "W L1 W L1", sl_usd=0.0001)
    result = world.tick(1)
    (bought,) = world.simulator.state()["positions"] or ({"stop_loss": 0.0, "price": 1.0},)
    assert bought["stop_loss"] < bought["price"]
    assert result.code in (0, 1)
    world.agree()


@pytest.mark.parametrize(("lots", "volume"), [(0.0199, 100_000), (0.009, None), (0.05, 500_000), (1e6, None)])
def test_row_19_volumes_are_rounded_down_or_refused_and_never_rounded_up(
    world: World, lots: float, volume: int | None
) -> None:
    ready(world, lot_weak=lots)
    result = world.tick(1)
    assert [one[2] for one in world.positions()] == ([] if volume is None else [volume])
    assert (world.came_to(result)[1] == "OK") == (volume is not None)
    world.agree()


@pytest.mark.parametrize("digits", [0, 2, 8])
def test_row_21_money_is_right_with_any_number_of_digits(world: World, digits: int) -> None:
    world.lab.add("EURUSD", "M15", "W L1 L1 W", lot_weak=1)
    world.start(money_digits=digits)
    world.play(0, 1)
    live = world.cli("status", "--live", "--json").document["live"]["demo"]
    assert live["balance"] == world.simulator.state()["balance"]
    assert live["equity"] == pytest.approx(world.simulator.state()["equity"], abs=2 * 10.0**-digits)
    world.play(2, 3)
    assert world.simulator.state()["balance"] != 10_000
    live = world.cli("status", "--live", "--json").document["live"]["demo"]
    assert live["balance"] == live["equity"] == world.simulator.state()["balance"]
    world.agree()


def test_row_25_two_models_on_a_netted_symbol_refuse_to_start(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1")
    world.lab.add("EURUSD", "H1", "W L1")
    world.start(hedged=False)
    result = world.tick(0)
    assert result.code in (1, 78)
    assert "netted" in result.err
    assert world.deals() == []


def test_row_25_one_model_on_a_netted_symbol_trades(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1 S1 W")
    world.start(hedged=False)
    world.play(0, 1, 2, 3)
    assert world.positions() == []
    assert len(world.deals()) == 4
    world.agree()


def test_row_25_a_token_that_may_only_look_refuses_to_start(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1")
    world.start(plan=Plan(may_trade=False))
    result = world.tick(0)
    assert result.code == 78
    assert "only look" in result.err


def test_row_25_the_wrong_environment_or_account_refuses_to_start(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1")
    world.start(settings={"environment": "live"}, accounts=1)
    result = world.tick(0)
    assert result.code == 78
    assert "broker.ctrader.environment" in result.err
    text = world.workspace.config_file.read_text().replace('"live"', '"demo"')
    world.configure(text.replace("\n[risk]", "").replace('environment = "demo"', "account_id = 5"))
    result = world.tick(0)
    assert result.code == 78
    assert "5 is no account of this token" in result.err


def test_row_25_of_several_accounts_one_must_be_named(world: World) -> None:
    world.lab.add("EURUSD", "M15", "W L1")
    world.start(accounts=2)
    result = world.tick(0)
    assert result.code == 78
    assert "broker.ctrader.account_id" in result.err


def test_row_26_somebody_elses_position_is_untouched_and_reported(world: World) -> None:
    ready(world)
    exchange = world.simulator.exchange
    theirs = OrderRequest(1, "MARKET", -1, 300_000, label="by hand")
    world.simulator.call(lambda: exchange.place(exchange.account_ids[0], theirs))
    (held,) = world.simulator.state()["positions"]
    result = world.tick(1)
    assert result.code == 0
    assert str(held["position_id"]) in result.err
    world.play(2)
    assert world.positions() == [("by hand", "SELL", 300_000)]
    found = world.cli("orphans", "--json")
    assert str(held["position_id"]) in found.out
    assert world.cli("orphans", "--close", str(held["position_id"]), "--yes").code == 0
    assert world.positions() == []


def test_row_27_not_enough_money_for_one_symbol_lets_the_others_trade(world: World) -> None:
    for symbol in ("EURUSD", "GBPUSD"):
        world.lab.add(symbol, "M15", "W L1 W")
    world.start(["EURUSD", "GBPUSD"])
    world.play(0)
    refusal = {"fault": "refuse", "on": "NewOrderReq", "code": "NOT_ENOUGH_MONEY", "shape": "order_error"}
    world.simulator.faults(refusal | {"where": {"symbolId": 1}})
    result = world.tick(1)
    assert world.came_to(result) == ("OPEN", "FAIL", "NOT_ENOUGH_MONEY")
    assert world.positions() == [("oracle:GBPUSD_M15", "BUY", 100_000)]
    world.agree()


@pytest.mark.parametrize("at", ["before", "after"])
def test_row_28_a_token_that_ends_with_orders_out_is_renewed_once_and_they_are_asked_for(world: World, at: str) -> None:
    ready(world)
    world.hasten()
    world.simulator.faults({"fault": "expire_tokens", "on": "NewOrderReq", "at": at})
    result = world.tick(1)
    assert result.code == 0, result.text
    assert len(world.received("RefreshTokenReq")) == 1
    assert world.deals() == [(ENTRY, False)]
    world.agree()
    (kept,) = [path for path in world.workspace.home.rglob("*") if path.is_file() and _holds_tokens(path.read_bytes())]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    world.play(2)
    assert len(world.received("RefreshTokenReq")) == 1, "the new pair serves the next run"


def _holds_tokens(data: bytes) -> bool:
    try:
        return "refresh_token" in json.loads(data)
    except (ValueError, UnicodeDecodeError, TypeError):
        return False


def test_row_28_a_pair_that_is_no_good_any_more_stops_with_the_remedy(world: World) -> None:
    ready(world)
    world.simulator.faults({"fault": "expire_tokens", "on": "AccountAuthReq", "revoke": True})
    result = world.tick(1)
    assert result.code == 78
    assert "login" in result.err
    assert world.deals() == []
