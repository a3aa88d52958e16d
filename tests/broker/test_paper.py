"""The paper broker as the tick uses it: a session per run, one account file, acks."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.broker import paper_account
from oracle_batch.broker.base import AmendIntent, Broker, CloseIntent, Intent, OpenIntent, StopTrigger
from oracle_batch.broker.paper import PaperBroker
from oracle_batch.broker.paper_account import save_book
from oracle_batch.clock import FrozenClock
from oracle_batch.config.settings import PaperSettings
from oracle_batch.errors import BrokerError, StateError
from oracle_batch.market import book as market_book
from oracle_batch.market.feed import Feed
from oracle_batch.market.spec_file import SymbolSettings
from tests.market.build import COSTS, M15, T0, bars

T = TypeVar("T")
FX_LOT = 10_000_000
DEFAULT = {"EURUSD": bars([(1.1,), (1.1, 1.1, 1.05, 1.08), (1.09,), (1.10,)]), "GBPUSD": bars([(1.25,)] * 4)}


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Desk:
    """A folder of bars, a state folder and a clock; every ``session`` is a new process."""

    def __init__(self, folder: Path, series: Mapping[str, Bars] = DEFAULT, costs: SymbolSettings = COSTS) -> None:
        self.data, self.state = folder / "data", folder / "state" / "paper" / "paper.json"
        self.data.mkdir(exist_ok=True)
        self.clock = FrozenClock(T0 + M15 + 1)
        self.costs = dict.fromkeys(series, costs)
        for symbol, source in series.items():
            self.write(symbol, source)

    def write(self, symbol: str, source: Bars) -> None:
        rows = zip(*(getattr(source, name).tolist() for name in FIELDS), strict=True)
        lines = [",".join(FIELDS), *(",".join(map(repr, row)) for row in rows)]
        (self.data / f"{symbol}_M15.csv").write_text("\n".join(lines) + "\n")

    def session(self, account: str = "paper", *, dry_run: bool = False, **settings: Any) -> PaperBroker:
        options = PaperSettings(**settings)
        broker = PaperBroker(account, options, Feed(self.data), self.costs, self.state, self.clock, {}, dry_run=dry_run)
        run(broker.connect())
        return broker

    def saved(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.state.read_bytes())
        return document


def opening(
    n: int = 1, symbol: str = "EURUSD", direction: int = 1, volume: int = FX_LOT // 10, **more: Any
) -> OpenIntent:
    model = f"{symbol}_M15"
    fields: dict[str, Any] = {
        "intent_id": f"ob-{model}-{T0}-{n}",
        "model": model,
        "symbol": symbol,
        "direction": direction,
        "intensity": 1,
        "volume_cents": volume,
        "label": f"oracle:{model}",
        "comment": "O|2.0|3|1|1|10234|0.5|0.00",
        "decided_at": T0 + M15,
        "deadline": T0 + M15 + 60,
    }
    return OpenIntent(**(fields | more))


def closing(position_id: int, volume: int = FX_LOT // 10, decided_at: float = T0 + M15) -> CloseIntent:
    return CloseIntent(f"close-{position_id}", "EURUSD_M15", "EURUSD", position_id, volume, decided_at)


def amending(
    position_id: int, stop: float | None, target: float | None = None, trigger: StopTrigger = "trade"
) -> AmendIntent:
    return AmendIntent(f"am-{position_id}", "EURUSD_M15", position_id, "EURUSD", stop, target, T0 + M15, trigger)


def let(_: Sequence[OpenIntent]) -> dict[str, str]:
    return {}


def test_it_is_a_broker(tmp_path: Path) -> None:
    broker: Broker = Desk(tmp_path).session()
    run(broker.close())
    run(broker.close())


def test_an_opening_is_acknowledged_with_its_deal_and_stays_for_the_next_session(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (ack,) = run(desk.session().execute([opening()], let))
    assert (ack.status, ack.reason, ack.price, ack.slippage) == ("OK", None, 1.10009, 0.00002)
    (deal,) = ack.deals
    assert (deal.client_order_id, deal.label) == (f"ob-EURUSD_M15-{T0}-1", "oracle:EURUSD_M15")
    assert (deal.commission, deal.profit, deal.closing, deal.time) == (0.35, 0.0, False, T0 + M15 + 1)
    later = desk.session()
    (position,) = run(later.positions())
    assert (position.position_id, position.symbol, position.direction) == (ack.position_id, "EURUSD", 1)
    assert (position.label, position.comment) == ("oracle:EURUSD_M15", "O|2.0|3|1|1|10234|0.5|0.00")
    assert run(later.deals(T0)) == [deal]
    assert run(later.deals(T0 + M15 + 2)) == []
    account = run(later.account())
    assert (account.balance, account.equity, account.margin_used, account.hedged) == (9999.65, 9998.75, 110.0, True)
    assert account.free_margin == pytest.approx(9888.75)


def test_a_reversal_closes_first_and_opens_then_in_one_burst(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (first,) = run(desk.session().execute([opening()], let))
    desk.clock.instant = T0 + 2 * M15 + 1
    assert first.position_id is not None
    legs: list[Intent] = [
        opening(2, direction=-1, decided_at=T0 + 2 * M15, after_close=first.position_id),
        closing(first.position_id, decided_at=T0 + 2 * M15),
    ]
    opened, closed = run(desk.session().execute(legs, let))
    assert (opened.status, opened.price) == ("OK", 1.08998)
    assert (closed.status, closed.price, closed.deals[0].profit) == ("OK", 1.08998, -101.1)
    assert [deal.closing for deal in run(desk.session().deals(0))] == [False, True, False]


def test_an_opening_waits_for_the_full_close_of_its_own_position(tmp_path: Path) -> None:
    broker = Desk(tmp_path).session()
    (first,) = run(broker.execute([opening()], let))
    assert first.position_id is not None
    dependent = opening(2, after_close=first.position_id)
    (alone,) = run(broker.execute([dependent], let))
    assert (alone.status, alone.reason) == ("FAIL", "CLOSE_NOT_CONFIRMED")
    partial, waiting = run(broker.execute([closing(first.position_id, FX_LOT // 100), dependent], let))
    assert (partial.status, waiting.reason) == ("OK", "CLOSE_NOT_CONFIRMED")
    gone, released = run(broker.execute([closing(first.position_id, FX_LOT * 9 // 100), dependent], let))
    assert (gone.status, released.status) == ("OK", "OK")
    again, after = run(broker.execute([closing(first.position_id), opening(3, after_close=first.position_id)], let))
    assert (again.status, again.reason, again.deals) == ("OK", "ALREADY_CLOSED", ())
    assert (after.status, after.reason) == ("FAIL", "CLOSE_NOT_CONFIRMED"), "it ended otherwise: no way back in"
    _, turned = run(
        broker.execute([closing(first.position_id), opening(4, direction=-1, after_close=first.position_id)], let)
    )
    assert turned.status == "OK", "the other direction is a new move"


def test_every_opening_passes_the_gate_and_closes_do_not(tmp_path: Path) -> None:
    broker = Desk(tmp_path).session()
    (first,) = run(broker.execute([opening()], let))
    assert first.position_id is not None
    asked: list[str] = []

    def gate(entries: Sequence[OpenIntent]) -> dict[str, str]:
        asked.extend(one.intent_id for one in entries)
        return {one.intent_id: "TOO_LATE" for one in entries if one.symbol == "GBPUSD"}

    acks = run(broker.execute([opening(1, "GBPUSD"), closing(first.position_id), opening(2)], gate))
    assert [(ack.status, ack.reason) for ack in acks] == [("SKIP", "TOO_LATE"), ("OK", None), ("OK", None)]
    assert asked == [f"ob-GBPUSD_M15-{T0}-1", f"ob-EURUSD_M15-{T0}-2"]


def test_one_bad_symbol_fails_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    spoiled = bars([(1.25,), (1.25, 1.2, 1.25, 1.25), (1.25,), (1.25,)])
    desk.write("GBPUSD", spoiled)
    broker = desk.session()
    legs = [opening(1, "GBPUSD"), opening(1), opening(1, "USDJPY"), opening(1, "NOSUCH"), opening(2, volume=1)]
    acks = run(broker.execute(legs, let))
    assert [(ack.status, ack.reason) for ack in acks] == [
        ("FAIL", "BAD_DATA"),
        ("OK", None),
        ("FAIL", "BAD_DATA"),
        ("FAIL", "SYMBOL_NOT_FOUND"),
        ("FAIL", "TRADING_BAD_VOLUME"),
    ]
    assert "GBPUSD_M15.csv" in broker.problems["GBPUSD"]
    assert "USDJPY.spread_points" in broker.problems["USDJPY"]
    assert list(run(broker.quotes(["GBPUSD", "EURUSD", "USDJPY", "NOSUCH"]))) == ["EURUSD"]
    assert list(run(broker.symbols(["GBPUSD", "EURUSD", "USDJPY", "NOSUCH"]))) == ["GBPUSD", "EURUSD"]


def test_quotes_are_the_open_of_the_bar_in_progress_else_the_last_close(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    broker = desk.session()
    quote = run(broker.quotes(["EURUSD"]))["EURUSD"]
    assert (quote.bid, quote.ask, quote.time) == (1.1, 1.10007, T0 + M15)
    desk.clock.instant = T0 + 9 * M15
    quote = run(broker.quotes(["EURUSD"]))["EURUSD"]
    assert (quote.bid, quote.time) == (1.1, T0 + 4 * M15)
    desk.clock.instant = T0 - 1
    assert run(desk.session().quotes(["EURUSD"])) == {}


def test_bars_are_closed_bars(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    broker = desk.session()
    for now, expected in [(T0 + M15 - 0.001, 0), (T0 + M15, 1), (T0 + 2 * M15 - 1, 1), (T0 + 2 * M15, 2)]:
        desk.clock.instant = now
        assert len(run(broker.bars("EURUSD", "M15", 0, 10**10))) == expected
    assert run(broker.bars("EURUSD", "M15", T0 + M15, 10**10)).time.tolist() == [T0 + M15]
    assert len(run(broker.bars("EURUSD", "M15", T0, T0))) == 0


def test_what_the_market_did_between_two_runs_is_booked_when_the_next_one_connects(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    broker = desk.session()
    (ack,) = run(broker.execute([opening()], let))
    assert ack.position_id is not None
    refused, done = run(broker.execute([amending(ack.position_id, 1.2), amending(ack.position_id, 1.06)], let))
    assert (refused.status, refused.reason, refused.position_id) == ("FAIL", "TRADING_BAD_STOPS", ack.position_id)
    assert (done.status, done.reason, done.position_id) == ("OK", None, ack.position_id)
    desk.clock.instant = T0 + 3 * M15
    desk.session()
    assert desk.saved()["deals"][-1]["reason"] == "stop_loss"
    later = desk.session()
    assert run(later.positions()) == []
    assert [(deal.reason, deal.price) for deal in run(later.deals(T0 + M15 + 2))] == [("stop_loss", 1.06)]
    assert run(later.account()).balance == 9598.4  # 10,000 · −0.04009 = −400.90, commission 0.70


def test_an_armed_session_sees_the_stop_that_fires_while_it_waits(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    broker = desk.session()
    (ack,) = run(broker.execute([opening()], let))
    assert ack.position_id is not None
    run(broker.execute([amending(ack.position_id, 1.06)], let))
    assert len(run(broker.positions())) == 1
    desk.clock.instant = T0 + 2 * M15 + 1
    (late,) = run(broker.execute([closing(ack.position_id, decided_at=T0 + 2 * M15)], let))
    assert (late.status, late.reason) == ("OK", "ALREADY_CLOSED")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (ack,) = run(desk.session(dry_run=True).execute([opening()], let))
    assert ack.status == "OK"
    assert not desk.state.parent.exists()
    run(desk.session().execute([opening()], let))
    before = desk.state.read_bytes()
    desk.clock.instant = T0 + 3 * M15
    assert len(run(desk.session(dry_run=True).deals(0))) == 1
    assert desk.state.read_bytes() == before


def test_connecting_and_looking_writes_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    broker = desk.session()
    run(broker.account())
    run(broker.quotes(["EURUSD"]))
    assert not desk.state.parent.exists()


def test_a_burst_that_cannot_be_written_has_not_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    broker = desk.session()
    run(broker.execute([opening()], let))
    before = desk.state.read_bytes()

    def full(path: Path, data: bytes) -> None:
        raise StateError("cannot write: No space left on device", file=path)

    with monkeypatch.context() as patch:
        patch.setattr(paper_account, "replace_atomically", full)
        with pytest.raises(StateError, match="No space left"):
            run(broker.execute([opening(2)], let))
    assert len(run(broker.positions())) == 1
    assert desk.state.read_bytes() == before
    (ack,) = run(broker.execute([opening(2)], let))
    assert (ack.status, ack.position_id) == ("OK", 2)


def test_the_conversion_used_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"EURGBP": bars([(0.85,)] * 3), "GBPUSD": bars([(1.25,)] * 3)})
    broker = desk.session()
    (ack,) = run(broker.execute([opening(1, "EURGBP")], let))
    assert ack.deals[0].conversion == "pair:GBPUSD"
    assert desk.saved()["deals"][0]["rate_source"] == "pair:GBPUSD"


def test_nothing_works_before_connect(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    broker = PaperBroker("paper", PaperSettings(), Feed(desk.data), {}, desk.state, desk.clock, {})
    with pytest.raises(BrokerError, match="not connected"):
        run(broker.account())


def test_a_clock_that_went_back_is_refused_only_with_positions_open(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (ack,) = run(desk.session().execute([opening()], let))
    desk.clock.instant -= 30
    desk.session()
    desk.clock.instant -= 3600
    with pytest.raises(StateError, match="later than now"):
        desk.session()
    desk.clock.instant += 3630
    assert ack.position_id is not None
    run(desk.session().execute([closing(ack.position_id)], let))
    desk.clock.instant -= 600
    assert run(desk.session().account()).balance == 9998.2


def test_the_leverage_set_now_counts_and_the_balance_set_first(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    run(desk.session().execute([opening()], let))
    broker = desk.session(leverage=50.0, balance=5.0)
    run(broker.execute([opening(2)], let))
    account = run(broker.account())
    assert (account.margin_used, account.balance, account.leverage) == (330.0, 9999.3, 50.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 4}, "schema: written by a newer version (schema 4, this version knows 3) (update oracle-batch)"),
        ({"schema": 0}, "schema: schema 0 is not known"),
        ({"schema": "1"}, "schema: expected `int`, got `str`"),
        ({"account": "other"}, "account: is the account 'other', not 'paper'"),
        ({"currency": "EUR"}, "currency: is in EUR, the configuration says USD"),
        ({"balance": 1}, "balance: is 1, but its deals and cash flows make 999965"),
        ({"positions": [{"position_id": 1}]}, "positions[0]: object missing required field"),
        ({"surprise": 1}, "object contains unknown field `surprise`"),
        ({"balance": 1.5}, "balance: expected `int`, got `float`"),
    ],
)
def test_a_file_that_is_not_this_account_is_refused_and_left_in_place(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    desk = Desk(tmp_path)
    run(desk.session().execute([opening()], let))
    spoiled = json.dumps(desk.saved() | change).encode()
    desk.state.write_bytes(spoiled)
    with pytest.raises(StateError) as caught:
        desk.session()
    assert str(caught.value).startswith(f"{desk.state}: {words}")
    assert str(caught.value).endswith(")")
    assert desk.state.read_bytes() == spoiled


@pytest.mark.parametrize("length", [0, 1, 100, -2])
def test_a_torn_file_is_refused_and_left_in_place(tmp_path: Path, length: int) -> None:
    desk = Desk(tmp_path)
    run(desk.session().execute([opening()], let))
    torn = desk.state.read_bytes()[:length]
    desk.state.write_bytes(torn)
    with pytest.raises(StateError) as caught:
        desk.session()
    assert "restore the file, or remove it to start a new paper account" in str(caught.value)
    assert desk.state.read_bytes() == torn


def test_the_file_keeps_the_newest_deals_and_the_totals_of_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_book, "KEPT_DEALS", 10)
    desk = Desk(tmp_path)
    broker = desk.session()
    for n in range(12):
        (ack,) = run(broker.execute([opening(n)], let))
        assert ack.position_id is not None
        run(broker.execute([closing(ack.position_id)], let))
    saved = desk.saved()
    assert [deal["deal_id"] for deal in saved["deals"]] == list(range(15, 25))
    assert saved["forgotten"] == {"deals": 14, "profit": 7 * -110, "commission": 7 * 70, "swap": 0, "flows": 0}
    assert run(desk.session().account()).balance == 10_000 - 12 * 1.80


def test_a_file_full_of_deals_is_small_and_quick(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (ack,) = run(desk.session().execute([opening()], let))
    book = paper_account.load_book(desk.state, "paper", PaperSettings(), T0)
    deal = msgspec.structs.replace(book.deals[0], commission=0)
    full = msgspec.structs.replace(book, deals=(*book.deals, *[deal] * (market_book.KEPT_DEALS - 1)))
    paper_account.save_book(desk.state, full)
    assert desk.state.stat().st_size < 1_000_000
    assert paper_account.load_book(desk.state, "paper", PaperSettings(), T0) == full
    assert ack.status == "OK"


def test_a_file_that_everybody_may_write_is_not_trusted(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    run(desk.session().execute([opening()], let))
    desk.state.chmod(0o666)
    with pytest.raises(StateError, match="chmod 600"):
        desk.session()


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(8))
def test_a_crash_at_any_step_of_the_writing_leaves_all_of_a_burst_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    desk = Desk(tmp_path)
    (first,) = run(desk.session().execute([opening()], let))
    assert first.position_id is not None
    calls = 0

    def counted(call: Any) -> Any:
        def wrapper(*args: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise Crash
            return call(*args, **more)

        return wrapper

    broker = desk.session()
    legs: list[Intent] = [closing(first.position_id), opening(2), opening(3, "GBPUSD")]
    with monkeypatch.context() as patch:
        for name in ("open", "write", "fsync", "replace"):
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            run(broker.execute(legs, let))
            assert calls <= step, "every step was tried"
        except Crash:
            pass
    after = desk.session()
    held = [position.position_id for position in run(after.positions())]
    deals = [deal.closing for deal in run(after.deals(0))]
    assert (held, deals) in [([1], [False]), ([2, 3], [False, True, False, False])]


def test_a_deposit_and_a_payout_move_the_balance_and_are_told_apart_from_deals(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    broker = desk.session()
    broker.move_cash(500.25, "deposit")
    desk.clock = FrozenClock(T0 + 2 * M15 + 1)
    broker = desk.session()
    broker.move_cash(-120.1, "withdrawal")
    again = desk.session()
    assert run(again.account()).balance == 10_380.15
    flows = run(again.cash_flows(0))
    assert [(flow.time, flow.amount, flow.kind) for flow in flows] == [
        (T0 + M15 + 1, 500.25, "deposit"),
        (T0 + 2 * M15 + 1, -120.1, "withdrawal"),
    ]
    assert run(again.cash_flows(T0 + 2 * M15)) == flows[1:]
    assert run(again.deals(0)) == []


def test_what_is_not_free_cannot_be_taken_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    broker = desk.session(balance=300.0, leverage=100)
    (ack,) = run(broker.execute([opening()], let))
    free = run(broker.account()).free_margin
    assert ack.status == "OK"
    assert 0 < free < 300
    with pytest.raises(BrokerError, match="NOT_ENOUGH_MONEY"):
        broker.move_cash(-free - 0.01, "withdrawal")
    assert run(broker.cash_flows(0)) == []
    broker.move_cash(-free, "withdrawal")
    assert run(desk.session(balance=300.0).account()).free_margin == 0


def test_the_oldest_cash_flows_become_a_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    monkeypatch.setattr(market_book, "KEPT_DEALS", 2)
    broker = desk.session()
    for amount in (1.0, 2.0, 4.0):
        broker.move_cash(amount, "deposit")
    again = desk.session()
    assert [flow.amount for flow in run(again.cash_flows(0))] == [2.0, 4.0]
    assert run(again.account()).balance == 10_007.0
    assert desk.saved()["forgotten"]["flows"] == 100


@pytest.mark.parametrize("digits", [0, 3, 8])
def test_the_account_says_how_many_digits_its_money_has(tmp_path: Path, digits: int) -> None:
    desk = Desk(tmp_path)
    save_book(desk.state, market_book.new_book("paper", "USD", 10_000, 100, clock=T0, money_digits=digits))
    account = run(desk.session().account())
    assert (account.balance, account.money_digits) == (10_000.0, digits)
