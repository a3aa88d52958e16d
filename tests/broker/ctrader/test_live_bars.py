"""Which streamed bars are final, and what an armed broker knows of its account without asking (§8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oracle_batch.broker.base import Bar
from oracle_batch.broker.ctrader.live_bars import _Course
from oracle_batch.openapi.messages import api, model
from tests.broker.ctrader.lab import Lab, entry, exit_of, flat, lab, open_gate, opened, run
from tests.market.build import T0

SERIES = ("EURUSD", "M15")
CLOSE = T0 + 9 * 900
BAR = CLOSE - 900


def update(time: int = BAR, close: int = 10, volume: int = 5) -> Any:
    return model.ProtoOATrendbar(
        utcTimestampInMinutes=time // 60, low=110_000, deltaOpen=1, deltaHigh=20, deltaClose=close, volume=volume
    )


def quote(bid: int | None = None, at: float | None = None) -> Any:
    event = api.ProtoOASpotEvent(ctidTraderAccountId=1, symbolId=1)
    if bid is not None:
        event.bid = bid
    if at is not None:
        event.timestamp = int(at * 1000)
    return event


def course() -> _Course:
    return _Course(SERIES, 900, 5)


def test_the_newest_update_is_the_bar() -> None:
    one = course()
    one.take(update(volume=4))
    one.take(update(close=12, volume=5))
    assert one.ended_at(CLOSE) == Bar(BAR, 1.10001, 1.1002, 1.1, 1.10012, 5.0)
    assert one.ended_at(CLOSE + 900) is None


def test_an_update_of_a_later_bar_makes_it_final() -> None:
    one = course()
    one.take(update())
    one.take(update(CLOSE))
    one.pass_by(quote(bid=1))  # concerns the later bar alone
    found = one.ended_at(CLOSE)
    assert found is not None
    assert found.time == BAR


@pytest.mark.parametrize(
    ("spot", "certain"),
    [
        (quote(bid=110_011), False),
        (quote(bid=110_010), True),
        (quote(), True),
        (quote(bid=110_500, at=CLOSE), True),
        (quote(bid=110_500, at=CLOSE - 1), False),
    ],
)
def test_a_quote_that_no_update_knows_of_leaves_it_open(spot: Any, certain: bool) -> None:
    one = course()
    one.take(update())
    one.pass_by(spot)
    assert (one.ended_at(CLOSE) is not None) is certain


def test_an_update_after_a_missed_quote_tells_the_whole_bar_again() -> None:
    one = course()
    one.take(update())
    one.pass_by(quote(bid=110_500))
    one.take(update(close=15))
    assert one.ended_at(CLOSE) is not None


def test_a_bar_with_a_missed_quote_is_not_made_final_by_a_later_one() -> None:
    one = course()
    one.take(update())
    one.pass_by(quote(bid=110_500))
    one.take(update(CLOSE))
    assert one.ended_at(CLOSE) is None
    one.take(update(close=15))  # comes after all, out of order
    assert one.ended_at(CLOSE) is not None


async def play(found: Lab, to: float) -> None:
    found.server.advance(to)
    await found.broker.quotes(["EURUSD"])
    await found.broker.bars("EURUSD", "M15", T0, T0 + 1)  # an answer: what was pushed before it has come


def test_a_streamed_bar_is_the_official_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            await found.broker.arm([SERIES], [])
            await play(found, CLOSE + 1)
            bar = found.broker.final_bars(CLOSE)[SERIES]
            official = await found.broker.bars("EURUSD", "M15", BAR, CLOSE)
            assert bar == Bar(BAR, *(getattr(official, name)[0] for name in ("open", "high", "low", "close", "volume")))
            found.broker.disarm()
            assert found.broker.final_bars(CLOSE) == {}

    run(scenario())


def test_a_lost_line_forgets_the_bars(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            await found.broker.arm([SERIES], [])
            await play(found, CLOSE - 300)
            for line in list(found.server.lines):
                line.drop("test")
            assert await found.broker.stirred() == "line_lost"
            assert found.broker.version is None
            await found.broker.arm([SERIES], [])
            assert found.broker.final_bars(CLOSE) == {}
            await play(found, CLOSE + 1)
            assert SERIES in found.broker.final_bars(CLOSE), "quotes after the break tell the whole bar"

    run(scenario())


def test_an_armed_account_is_what_the_server_says_without_asking_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        series = {"EURUSD": flat(1.1), "GBPUSD": flat(1.3), "USDJPY": flat(150.0)}
        async with lab(tmp_path, series) as found:
            (ack, *_) = await opened(found, entry(), entry(2, "USDJPY", -1))
            wishes = [("EURUSD", 1, 1_000_000), ("USDJPY", -1, 1_000_000)]
            asked = await found.broker.account(), await found.broker.positions(), await found.broker.margins(wishes)
            await found.broker.arm([SERIES], wishes)
            before = len(found.server.received)
            known = await found.broker.account(), await found.broker.positions(), await found.broker.margins(wishes)
            assert len(found.server.received) == before
            assert known[0].balance == asked[0].balance
            assert known[0].margin_used == asked[0].margin_used
            assert known[0].equity == pytest.approx(asked[0].equity, abs=0.011)
            assert known[1:] == asked[1:]
            assert ack.position_id is not None

    run(scenario())


def test_what_happens_to_the_account_shows_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            (ack,) = await opened(found)
            assert ack.position_id is not None
            await found.broker.arm([SERIES], [])
            version, balance = found.broker.version, (await found.broker.account()).balance
            found.server.publish(found.exchange.close(found.account, ack.position_id, entry().volume_cents))
            assert await found.broker.stirred() == "account_changed"
            assert found.broker.version != version
            assert await found.broker.positions() == []
            mirrored = await found.broker.account()
            found.broker.disarm()
            told = await found.broker.account()
            assert mirrored.balance == told.balance != balance
            assert mirrored.margin_used == told.margin_used == 0

    run(scenario())


def test_prepared_legs_go_out_as_they_would_otherwise(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            await found.broker.arm([SERIES], [])
            found.broker.prepare([entry(), entry(2, max_slippage_points=5.0)])
            acks = await found.broker.execute([entry(volume=2_000_000), entry(2, max_slippage_points=5.0)], open_gate)
            assert [ack.status for ack in acks] == ["OK", "OK"]
            held = {one.volume_cents for one in await found.broker.positions()}
            assert held == {2_000_000, entry().volume_cents}, "a leg that has changed since is not the prepared one"
            assert acks[0].position_id is not None
            found.broker.prepare([exit_of(acks[0].position_id, volume=2_000_000)])
            (ack,) = await found.broker.execute([exit_of(acks[0].position_id, volume=2_000_000)], open_gate)
            assert ack.status == "OK"

    run(scenario())


def test_a_prepared_leg_that_is_refused_once_goes_out_again_under_another_id(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            await found.broker.arm([SERIES], [])
            found.faults({"fault": "refuse", "on": "NewOrderReq", "code": "SERVER_IS_UNDER_MAINTENANCE"})
            ids, incoming = [], found.server.incoming

            def noted(line: Any, envelope: Any, stamp_ns: int) -> None:
                if envelope.name == "NewOrderReq":
                    ids.append(envelope.client_msg_id)
                incoming(line, envelope, stamp_ns)

            found.server.incoming = noted  # type: ignore[method-assign]
            found.broker.prepare([entry()])
            (ack,) = await found.broker.execute([entry()], open_gate)
            assert ack.status == "OK"
            await found.broker.execute([entry()], open_gate)
            assert len(ids) == len(set(ids)) == 3, "a message id serves once"

    run(scenario())
