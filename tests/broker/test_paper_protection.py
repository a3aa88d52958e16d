"""What the hands ask of the paper broker to protect positions and to judge risk, with numbers worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from oracle_batch.broker.base import Intent, OpenIntent
from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.protection import Terms
from oracle_batch.market.spec_file import ScheduleSettings
from tests.broker.test_paper import DEFAULT, FX_LOT, Desk, amending, closing, let, opening, run
from tests.market.build import COSTS, M15, T0, bars

# T0 is Tuesday 2023-11-14 23:00 UTC
HOURS = ScheduleSettings("UTC", ("Tue 23:00-Tue 23:29", "Wed 00:00-Wed 21:00"))


def test_an_entry_comes_back_protected_and_stays_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    leg = opening(stop_relative=400, target_relative=600, stop_trigger="opposite")
    (ack,) = run(desk.session().execute([leg], let))
    assert (ack.status, ack.price) == ("OK", 1.10009)
    (position,) = run(desk.session().positions())
    assert (position.stop_loss, position.take_profit) == (1.09609, 1.10609)
    assert (position.commission, position.swap) == (0.35, 0.0)
    assert desk.saved()["positions"][0]["stop_trigger"] == "opposite"


@pytest.mark.parametrize(
    ("leg", "reason"),
    [
        (opening(stop_relative=9), "TRADING_BAD_STOPS"),
        (opening(stop_relative=20), "PROTECTION_IS_TOO_CLOSE_TO_MARKET"),
        (opening(max_slippage_points=1), "ORDER_CANCELLED"),
    ],
)
def test_an_entry_that_cannot_have_what_it_asks_for_is_not_filled(tmp_path: Path, leg: OpenIntent, reason: str) -> None:
    desk = Desk(tmp_path, costs=replace(COSTS, min_stop_points=50))
    broker = desk.session()
    (ack,) = run(broker.execute([leg], let))
    assert (ack.status, ack.reason, ack.position_id) == ("FAIL", reason, None)
    assert run(broker.positions()) == []
    assert not desk.state.exists()


def test_an_amendment_rides_in_the_burst_between_closes_and_entries(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    run(desk.session().execute([opening(1), opening(2)], let))
    legs = [opening(3), amending(1, 1.09), amending(2, 1.08, 1.2), closing(1), amending(2, 1.3), amending(9, 1.0)]
    acks = run(desk.session().execute(legs, let))
    assert [(ack.intent_id, ack.status, ack.reason, ack.position_id) for ack in acks] == [
        (f"ob-EURUSD_M15-{T0}-3", "OK", None, 3),
        ("am-1", "OK", "ALREADY_CLOSED", 1),
        ("am-2", "OK", None, 2),
        ("close-1", "OK", None, 1),
        ("am-2", "FAIL", "TRADING_BAD_STOPS", 2),
        ("am-9", "OK", "ALREADY_CLOSED", 9),
    ]
    held = {one.position_id: (one.stop_loss, one.take_profit) for one in run(desk.session().positions())}
    assert held == {2: (1.08, 1.2), 3: (None, None)}


def test_amendments_do_not_ask_the_gate(tmp_path: Path) -> None:
    broker = Desk(tmp_path).session()
    run(broker.execute([opening()], let))
    (ack,) = run(broker.execute([amending(1, 1.09)], lambda entries: {one.intent_id: "PAUSED" for one in entries}))
    assert ack.status == "OK"


def test_terms_are_the_contracts_costs_and_the_rate_now(tmp_path: Path) -> None:
    costs = replace(COSTS, min_stop_points=50, min_target_points=30)
    series = {"EURGBP": bars([(0.85,)] * 3), "GBPUSD": bars([(1.25,)] * 3)}
    broker = Desk(tmp_path, series, costs).session()
    terms = run(broker.terms(["EURGBP", "USDJPY", "NOSUCH"]))
    spec = run(broker.symbols(["EURGBP"]))["EURGBP"]
    assert terms == {"EURGBP": Terms(spec, 1.25, 0.00007, 0.00002, 7.0, 0.0005, 0.0003)}


def test_terms_are_absent_where_no_rate_is_known(tmp_path: Path) -> None:
    broker = Desk(tmp_path, {"EURGBP": bars([(0.85,)] * 3)}).session()
    assert list(run(broker.symbols(["EURGBP"]))) == ["EURGBP"]
    assert run(broker.terms(["EURGBP"])) == {}
    assert "no rate from GBP to USD" in broker.problems["EURGBP"]


def test_margins_are_told_before_the_order_and_taken_by_it(tmp_path: Path) -> None:
    series = {**DEFAULT, "EURGBP": bars([(0.85,)] * 4), "XAUUSD": bars([(2000.0,)] * 4)}
    broker = Desk(tmp_path, series).session()
    wishes = [
        ("EURUSD", 1, FX_LOT // 10),
        ("EURGBP", -1, FX_LOT // 10),
        ("XAUUSD", 1, 500),
        ("NOSUCH", 1, 100),
        ("USDJPY", 1, FX_LOT),
    ]
    assert run(broker.margins(wishes)) == [110.0, 110.0, 100.0, None, None]  # 10,000 EUR · 1.1, 5 oz · 2000, over 100
    run(broker.execute([opening(), opening(2, "EURGBP", -1), opening(3, "XAUUSD", volume=500)], let))
    assert run(broker.account()).margin_used == 320.0
    assert run(broker.margins([])) == []


def test_schedules_are_told_where_they_are_known(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.costs["EURUSD"] = replace(COSTS, schedule=HOURS)
    schedules = run(desk.session().schedules(["EURUSD", "GBPUSD", "NOSUCH"]))
    sessions = ((2 * 86400 + 82_800, 2 * 86400 + 84_540), (3 * 86400, 3 * 86400 + 75_600))
    assert schedules == {"EURUSD": Schedule("UTC", sessions)}


def test_a_close_that_meets_a_closed_market_is_refused_and_done_when_it_opens(tmp_path: Path) -> None:
    desk = Desk(tmp_path, costs=replace(COSTS, schedule=HOURS))
    run(desk.session().execute([opening()], let))
    desk.clock.instant = T0 + 2 * M15 + 1
    late: list[Intent] = [closing(1, decided_at=T0 + 2 * M15), opening(2, decided_at=T0 + 2 * M15, after_close=1)]
    closed, entry = run(desk.session().execute(late, let))
    assert (closed.status, closed.reason, closed.position_id) == ("FAIL", "MARKET_CLOSED", 1)
    assert (entry.status, entry.reason) == ("FAIL", "CLOSE_NOT_CONFIRMED")
    (alone,) = run(desk.session().execute([opening(3)], let))
    assert (alone.status, alone.reason) == ("FAIL", "MARKET_CLOSED")
    desk.clock.instant = T0 + 4 * M15 + 1
    (done,) = run(desk.session().execute([closing(1, decided_at=T0 + 4 * M15)], let))
    assert (done.status, done.reason) == ("OK", None)
    assert run(desk.session().positions()) == []


def test_balance_profit_swap_and_commission_agree_to_the_cent(tmp_path: Path) -> None:
    costs = replace(COSTS, swap_long_points=-6.5)
    desk = Desk(tmp_path, {"EURUSD": bars([(1.1,)] * 110)}, costs)
    run(desk.session().execute([opening()], let))
    desk.clock.instant = T0 + 23 * 3600 + 1  # Wednesday 17:00 in New York has passed
    (position,) = run(desk.session().positions())
    assert (position.swap, position.commission) == (-1.95, 0.35)  # 10,000 · −0.000065 · 3
    account = run(desk.session().account())
    assert (account.balance, account.equity) == (9999.65, 9996.80)  # −0.90 for the spread and the slippage, −1.95
    (ack,) = run(desk.session().execute([closing(1, decided_at=T0 + 23 * 3600)], let))
    (deal,) = ack.deals
    assert (deal.profit, deal.swap, deal.commission) == (-1.1, -1.95, 0.35)
    deals = run(desk.session().deals(0))
    total = sum(one.profit + one.swap - one.commission for one in deals)
    assert run(desk.session().account()).balance == round(10_000 + total, 2) == 9996.25


def test_a_night_is_booked_once_however_often_one_looks(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"EURUSD": bars([(1.1,)] * 110)}, replace(COSTS, swap_long_points=-6.5))
    run(desk.session().execute([opening()], let))
    for seconds in (1, 60, 3600):
        desk.clock.instant = T0 + 23 * 3600 + seconds
        assert [one.swap for one in run(desk.session().positions())] == [-1.95]
        run(desk.session().execute([amending(1, 1.0 + seconds / 1e5)], let))  # written in between


def test_an_account_file_of_the_first_schema_is_carried_over(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    run(desk.session().execute([opening()], let))
    document = desk.saved()
    document["schema"] = 1
    for part in (document, *document["positions"], *document["deals"], document["forgotten"]):
        for key in ("swap", "stop_trigger", "flows"):
            part.pop(key, None)
    for position in document["positions"]:
        for key in ("min_stop", "min_target", "swap_long", "swap_short"):
            del position["contract"][key]
    desk.state.write_text(json.dumps(document))
    (position,) = run(desk.session().positions())
    assert (position.swap, position.stop_loss) == (0.0, None)
    run(desk.session().execute([closing(1)], let))
    assert desk.saved()["schema"] == 3
    assert run(desk.session().account()).balance == 9998.2
