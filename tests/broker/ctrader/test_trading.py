"""Trading through the simulator: what is sent, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracle_batch.broker.base import AmendIntent
from tests.broker.ctrader.lab import LOT, entry, exit_of, lab, open_gate, opened, run
from tests.market.build import T0


def test_an_entry_is_filled_and_shows_in_positions_and_deals(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found, entry(stop_relative=500, target_relative=1000))
            assert ack.reason is None
            [position] = await found.broker.positions()
            assert ack.position_id == position.position_id
            assert (position.symbol, position.direction, position.volume_cents) == ("EURUSD", 1, LOT // 10)
            assert (position.label, position.comment) == ("oracle:EURUSD_M15", "O|2.0|3|1|1|10234|0.5|0.00")
            assert position.stop_loss == pytest.approx(position.entry_price - 0.005)
            assert position.take_profit == pytest.approx(position.entry_price + 0.01)
            [deal] = await found.broker.deals(T0)
            assert ack.deals == (deal,)
            assert deal.client_order_id == entry().intent_id
            assert (deal.label, deal.symbol, deal.closing) == ("oracle:EURUSD_M15", "EURUSD", False)

    run(scenario())


def test_a_close_ends_the_position_and_tells_its_result(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            [closed] = await found.broker.execute([exit_of(ack.position_id or 0)], open_gate)
            assert (closed.status, closed.reason) == ("OK", None)
            [deal] = closed.deals
            assert deal.closing
            assert deal.profit < 0
            assert await found.broker.positions() == []
            account = await found.broker.account()
            deals = await found.broker.deals(T0)
            assert account.balance == pytest.approx(
                10_000 + sum(one.profit + one.swap - one.commission for one in deals)
            )
            assert account.equity == account.balance

    run(scenario())


def test_closes_and_free_entries_leave_in_one_write_and_a_reversal_follows_its_close(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [first] = await opened(found)
            legs = [
                entry(2, direction=-1, after_close=first.position_id),
                entry(3, "GBPUSD"),
                exit_of(first.position_id or 0),
            ]
            acks = await found.broker.execute(legs, open_gate)
            assert [ack.status for ack in acks] == ["OK"] * 3
            sent = [one.type for one in found.server.received if one.type in ("ClosePositionReq", "NewOrderReq")]
            assert sent == ["NewOrderReq", "ClosePositionReq", "NewOrderReq", "NewOrderReq"]
            held = {one.symbol: one.direction for one in await found.broker.positions()}
            assert held == {"EURUSD": -1, "GBPUSD": 1}

    run(scenario())


def test_an_amendment_sets_both_sides(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            amend = AmendIntent("a", "EURUSD_M15", ack.position_id or 0, "EURUSD", 1.09, 1.12, float(T0))
            [done] = await found.broker.execute([amend], open_gate)
            assert (done.status, done.reason) == ("OK", None)
            [position] = await found.broker.positions()
            assert (position.stop_loss, position.take_profit) == (1.09, 1.12)

    run(scenario())


def test_a_stop_that_fired_first_makes_the_close_done_already(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            found.exchange.close(found.account, ack.position_id or 0, LOT // 10)
            [closed] = await found.broker.execute([exit_of(ack.position_id or 0)], open_gate)
            assert (closed.status, closed.reason) == ("OK", "ALREADY_CLOSED")

    run(scenario())


@pytest.mark.parametrize(("direction", "answer"), [(1, ("FAIL", "CLOSE_NOT_CONFIRMED")), (-1, ("OK", None))])
def test_after_a_stop_that_fired_first_only_the_other_side_may_follow(
    tmp_path: Path, direction: int, answer: tuple[str, str | None]
) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            found.exchange.close(found.account, ack.position_id or 0, LOT // 10)
            entered = entry(2, direction=direction, after_close=ack.position_id, same_side=direction > 0)
            closed, followed = await found.broker.execute([exit_of(ack.position_id or 0), entered], open_gate)
            assert (closed.status, closed.reason) == ("OK", "ALREADY_CLOSED")
            assert (followed.status, followed.reason) == answer
            later = entry(3, direction=direction, after_close=ack.position_id, same_side=direction > 0)
            [again] = await found.broker.execute([later], open_gate)
            assert (again.status, again.reason) == answer

    run(scenario())


def test_a_change_of_strength_follows_our_own_close(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            stronger = entry(2, after_close=ack.position_id, same_side=True)
            closed, followed = await found.broker.execute([exit_of(ack.position_id or 0), stronger], open_gate)
            assert [(one.status, one.reason) for one in (closed, followed)] == [("OK", None), ("OK", None)]
            [later] = await found.broker.execute([entry(3, after_close=ack.position_id, same_side=True)], open_gate)
            assert later.status == "OK"

    run(scenario())


def test_an_entry_whose_close_nobody_sent_waits_for_proof(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await opened(found)
            [held] = await found.broker.execute([entry(2, after_close=ack.position_id)], open_gate)
            assert (held.status, held.reason) == ("FAIL", "CLOSE_NOT_CONFIRMED")
            [free] = await found.broker.execute([entry(3, after_close=987654)], open_gate)
            assert free.status == "OK"

    run(scenario())


def test_the_gate_has_the_last_word(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            [ack] = await found.broker.execute([entry()], lambda entries: {one.intent_id: "PAUSED" for one in entries})
            assert (ack.status, ack.reason) == ("SKIP", "PAUSED")
            assert found.requests("NewOrderReq") == 0

    run(scenario())


def test_forty_entries_leave_in_one_burst_within_the_rate(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, balance=10_000_000.0) as found:
            await found.broker.account()
            legs = [entry(number, "EURUSD" if number % 2 else "GBPUSD") for number in range(40)]
            found.server.received.clear()
            await opened(found, *legs)
            stamps = [one.monotonic_ns for one in found.server.received if one.type == "NewOrderReq"]
            assert len(stamps) == 40
            assert len(set(stamps)) <= 2, "one write: whoever reads has them all at once"
            assert found.server.traffic.rates.max_per_second <= 50
            assert len(found.deals()) == 40

    run(scenario())


def test_more_than_the_rate_takes_leaves_in_order_and_none_is_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, balance=10_000_000.0) as found:
            await opened(found, *[entry(number) for number in range(120)])
            assert found.server.traffic.rates.max_per_second <= 50
            assert len(found.deals()) == 120

    run(scenario())
