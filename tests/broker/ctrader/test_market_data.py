"""What the broker is asked: bars, deals, quotes, terms, margins, hours, the account."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle_batch.bars import Bars
from oracle_batch.broker.ctrader.session import Patience
from oracle_batch.errors import BarError, BrokerError, ConfigError
from oracle_batch.hands.calendar import Holiday, Schedule
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.sim.values import OrderRequest, Rejection
from tests.broker.ctrader.lab import LOT, entry, exit_of, flat, lab, open_gate, opened, run
from tests.market.build import T0, bars

WEEK = 7 * 86400


def walk(count: int, start: int = T0, seconds: int = 900) -> Bars:
    """Bars that differ from each other."""
    points = [110_000 + (place % 97) * 10 for place in range(count)]
    return bars([tuple((one + by) / 1e5 for by in (0, 30, -20, 10)) for one in points], start, seconds)


def test_bars_are_closed_complete_and_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        series = walk(40)
        async with lab(tmp_path, {"EURUSD": series}, start=T0 + 20 * 900 + 1) as found:
            got = await found.broker.bars("EURUSD", "M15", T0, int(found.clock.now()))
            assert got.equals(series[:20])
            part = await found.broker.bars("EURUSD", "M15", T0 + 900, T0 + 3 * 900)
            assert part.equals(series[1:3])
            assert len(await found.broker.bars("EURUSD", "M15", T0 + 20 * 900, T0 + 30 * 900)) == 0

    run(scenario())


def test_a_long_history_comes_in_chunks_and_pages_that_are_cut_short_are_completed(tmp_path: Path) -> None:
    async def scenario() -> None:
        series = walk(25_000)  # two chunks; the server tells 14,000 bars at most
        now = T0 + 25_000 * 900 + 1
        patience = Patience(answer_s=30)  # a page of 14,000 bars takes the pure-Python messages a while
        async with lab(tmp_path, {"EURUSD": series}, start=now, patience=patience) as found:
            got = await found.broker.bars("EURUSD", "M15", T0, int(now))
            assert got.equals(series)
            assert found.requests("GetTrendbarsReq") > 2
            assert found.server.traffic.rates.max_historical_per_second <= 5

    run(scenario())


def test_odd_grids_of_long_bars_are_the_brokers(tmp_path: Path) -> None:
    async def scenario() -> None:
        start = T0 - T0 % 86400 + 22 * 3600
        days = walk(30, start, 86400)
        async with lab(tmp_path, {("EURUSD", "D1"): days}, start=start + 10 * 86400 + 1) as found:
            got = await found.broker.bars("EURUSD", "D1", start - WEEK, int(found.clock.now()))
            assert len(got)
            assert set(np.diff(got.time).tolist()) <= {86400}

    run(scenario())


def test_an_interval_without_ticks_has_no_bar_and_no_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        series = walk(40)
        gap = series[np.r_[0:10, 14:40]]
        async with lab(tmp_path, {"EURUSD": gap}, start=T0 + 20 * 900 + 1) as found:
            got = await found.broker.bars("EURUSD", "M15", T0, int(found.clock.now()))
            assert got.equals(gap[:16])

    run(scenario())


def test_a_bar_that_breaks_the_rules_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, {"EURUSD": walk(40)}, start=T0 + 20 * 900 + 1) as found:
            zero = {"volume": 1, "low": 0, "utcTimestampInMinutes": T0 // 60}
            found.faults({"fault": "replace", "on": "GetTrendbarsRes", "fields": {"trendbar": [zero]}})
            with pytest.raises(BarError, match="is not above 0"):
                await found.broker.bars("EURUSD", "M15", T0, int(found.clock.now()))

    run(scenario())


def test_an_unknown_symbol_is_absent_and_has_no_bars(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            assert list(await found.broker.symbols(["EURUSD", "NOPE"])) == ["EURUSD"]
            assert list(await found.broker.quotes(["NOPE", "EURUSD"])) == ["EURUSD"]
            assert await found.broker.margins([("NOPE", 1, LOT)]) == [None]
            with pytest.raises(BrokerError, match="NOPE"):
                await found.broker.bars("NOPE", "M15", T0, T0 + 900)

    run(scenario())


@pytest.mark.parametrize(
    ("symbol", "price", "digits"), [("EURUSD", 1.12345, 5), ("USDJPY", 151.234, 3), ("XAUUSD", 2401.55, 2)]
)
def test_every_price_scale_is_right(tmp_path: Path, symbol: str, price: float, digits: int) -> None:
    async def scenario() -> None:
        point = 10.0**-digits
        series = bars([(price, price + 20 * point, price - 20 * point, price)] * 40)
        async with lab(tmp_path, {symbol: series}, balance=1e6) as found:
            spec = (await found.broker.symbols([symbol]))[symbol]
            assert spec.digits == digits
            quote = (await found.broker.quotes([symbol]))[symbol]
            assert quote.bid == pytest.approx(price, abs=25 * point)
            assert round(quote.ask - quote.bid, digits) == pytest.approx(7 * point)
            got = await found.broker.bars(symbol, "M15", T0, int(found.clock.now()))
            assert np.allclose(got.close, price, atol=point / 100)
            distance = 50 * 10 ** (5 - digits)
            volume = spec.min_volume_cents * 10
            [ack] = await opened(found, entry(symbol=symbol, volume=volume, stop_relative=distance))
            [position] = await found.broker.positions()
            assert position.stop_loss == pytest.approx(position.entry_price - 50 * point)
            [closed] = await found.broker.execute([exit_of(ack.position_id or 0, symbol, volume)], open_gate)
            units = volume / 100 * (1.0 if symbol != "USDJPY" else 1 / quote.bid)
            assert closed.deals[0].profit == pytest.approx((closed.price - ack.price) * units, abs=0.011)

    run(scenario())


@pytest.mark.parametrize("digits", [0, 2, 8])
def test_money_has_the_digits_that_come_with_it(tmp_path: Path, digits: int) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, money_digits=digits, balance=12_345.0) as found:
            account = await found.broker.account()
            assert (account.balance, account.equity, account.money_digits) == (12_345.0, 12_345.0, digits)
            await opened(found, entry(volume=LOT))
            account = await found.broker.account()
            book = found.exchange.trader(found.account)
            assert account.balance == pytest.approx(book.balance / 10**digits)
            assert account.equity == pytest.approx(book.equity / 10**digits)
            assert account.margin_used == pytest.approx(book.used_margin / 10**digits)

    run(scenario())


def test_terms_and_margins_are_what_the_exchange_charges(tmp_path: Path) -> None:
    async def scenario() -> None:
        costs = SymbolSettings(
            spread_points=7, slippage_points=0, commission_per_lot=7, min_stop_points=30, min_target_points=40
        )
        series = {"EURUSD": flat(1.1), "USDJPY": flat(150.0)}
        async with lab(tmp_path, series, costs=costs) as found:
            terms = await found.broker.terms(["EURUSD", "USDJPY"])
            euro, yen = terms["EURUSD"], terms["USDJPY"]
            assert (euro.rate, euro.commission_per_lot) == (1.0, 7.0)
            assert (euro.min_stop_distance, euro.min_target_distance) == (0.0003, 0.0004)
            assert euro.spread == pytest.approx(0.00007)
            bid = (await found.broker.quotes(["USDJPY"]))["USDJPY"].bid
            assert yen.rate == pytest.approx(1 / bid)
            wishes = [("EURUSD", 1, LOT), ("EURUSD", -1, LOT), ("USDJPY", 1, LOT // 10), ("NOPE", 1, LOT)]
            margins = await found.broker.margins(wishes)
            symbol_id = found.exchange.symbol_id("EURUSD")
            assert symbol_id is not None
            sides = found.exchange.expected_margin(found.account, symbol_id, LOT)
            assert isinstance(sides, tuple)
            assert margins[:2] == [sides[0] / 100, sides[1] / 100]
            assert margins[3] is None

    run(scenario())


def test_opening_hours_and_holidays_come_across(tmp_path: Path) -> None:
    from oracle_batch.broker.ctrader.terms import schedule_of
    from oracle_batch.openapi.messages import model

    symbol = model.ProtoOASymbol(symbolId=1, digits=5, pipPosition=4, scheduleTimeZone="America/New_York")
    symbol.schedule.add(startSecond=61_200, endSecond=493_200)
    symbol.holiday.add(
        holidayId=1, name="x", scheduleTimeZone="UTC", holidayDate=20_000, isRecurring=True, endSecond=43_200
    )
    symbol.holiday.add(holidayId=2, name="y", scheduleTimeZone="", holidayDate=20_001, isRecurring=False)
    expected = Schedule(
        "America/New_York",
        ((61_200, 493_200),),
        (
            Holiday(date(2024, 10, 4), "UTC", 0, 43_200, True),
            Holiday(date(2024, 10, 5), "America/New_York"),
        ),
    )
    assert schedule_of(symbol) == expected
    symbol.schedule[0].endSecond = 61_200
    with pytest.raises(ValueError, match="no part of a week"):
        schedule_of(symbol)

    async def scenario() -> None:
        async with lab(tmp_path) as found:
            hours = (await found.broker.schedules(["EURUSD", "NOPE"]))["EURUSD"]
            assert hours.is_open(T0)

    run(scenario())


def test_deals_of_many_pages_are_each_there_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, balance=1e8) as found:
            for number in range(600):
                found.server.advance(found.exchange.now + 0.1)
                request = OrderRequest(1, "MARKET", 1, LOT // 100, client_order_id=f"mine-{number}")
                assert not isinstance(found.exchange.place(found.account, request), Rejection)
            deals = await found.broker.deals(T0)
            assert [deal.client_order_id for deal in deals] == [f"mine-{number}" for number in range(600)]
            assert found.requests("DealListReq") > 1

    run(scenario())


def test_a_stop_that_was_hit_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        series = {"EURUSD": bars([(1.1, 1.1002, 1.0998, 1.1)] * 10 + [(1.1, 1.1, 1.08, 1.08)] * 5)}
        async with lab(tmp_path, series) as found:
            [ack] = await opened(found, entry(stop_relative=1000, target_relative=5000))
            found.server.advance(T0 + 11 * 900 + 1)
            assert await found.broker.positions() == []
            last = (await found.broker.deals(T0))[-1]
            assert (last.position_id, last.closing, last.reason) == (ack.position_id, True, "stop_loss")
            assert last.label == "oracle:EURUSD_M15"

    run(scenario())


def test_the_list_of_symbols_is_kept_for_a_day(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            specs = await found.broker.symbols(["EURUSD", "GBPUSD"])
            await found.broker.close()
            found.server.received.clear()
            again = found.make()
            await again.connect()
            assert await again.symbols(["EURUSD", "GBPUSD"]) == specs
            assert found.requests("SymbolsListReq") == found.requests("SymbolByIdReq") == 0
            await again.close()
            path = found.workspace.ctrader_symbols_path("demo")
            for spoiled in (b"", b"{", path.read_bytes().replace(b'"schema":1', b'"schema":9')):
                path.write_bytes(spoiled)
                found.server.received.clear()
                other = found.make()
                await other.connect()
                assert await other.symbols(["EURUSD", "GBPUSD"]) == specs
                assert found.requests("SymbolsListReq") == 1
                await other.close()
            found.clock.off_s = 90_000
            found.server.received.clear()
            late = found.make()
            await late.connect()
            await late.symbols(["EURUSD"])
            assert found.requests("SymbolsListReq") == 1
            await late.close()

    run(scenario())


def test_a_view_only_token_and_a_wrong_environment_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, may_trade=False, connect=False) as found:
            with pytest.raises(ConfigError, match="may only look"):
                await found.broker.connect()
        async with lab(tmp_path, settings={"environment": "live"}, connect=False) as found:
            with pytest.raises(ConfigError) as refusal:
                await found.broker.connect()
            assert refusal.value.field == "broker.ctrader.environment"
        async with lab(tmp_path, accounts=2, connect=False) as found:
            with pytest.raises(ConfigError, match="only account") as refusal:
                await found.broker.connect()
            assert refusal.value.field == "broker.ctrader.account_id"
            second = found.make(account_id=found.exchange.account_ids[1])
            await second.connect()
            await second.close()
            stranger = found.make(account_id=5)
            with pytest.raises(ConfigError, match="5 is no account of this token"):
                await stranger.connect()
            await stranger.close()

    run(scenario())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ORACLE_CTRADER_CLIENT_ID": "xyzzy"}, "the application is refused: CH_OA_CLIENT_NOT_FOUND"),
        ({"ORACLE_CTRADER_CLIENT_SECRET": "xyzzy"}, "the application is refused: CH_CLIENT_AUTH_FAILURE"),
        ({"ORACLE_CTRADER_ACCESS_TOKEN": "xyzzy"}, "the access token is refused: CH_ACCESS_TOKEN_INVALID"),
    ],
)
def test_who_is_refused_is_said_without_the_secret(tmp_path: Path, wrong: dict[str, str], says: str) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, environment=wrong, connect=False) as found:
            with pytest.raises(ConfigError) as refusal:
                await found.broker.connect()
            assert says in str(refusal.value)
            assert "xyzzy" not in repr(refusal.value) + str(refusal.value)

    run(scenario())


def test_a_wrong_account_session_is_told_as_that(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, connect=False) as found:
            found.faults({"fault": "refuse", "on": "AccountAuthReq", "code": "RET_ACCOUNT_DISABLED"})
            with pytest.raises(ConfigError, match=r"account \d+ is refused: RET_ACCOUNT_DISABLED"):
                await found.broker.connect()

    run(scenario())


def test_netted_accounts_say_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, hedged=False) as found:
            assert not (await found.broker.account()).hedged

    run(scenario())


def test_quotes_follow_the_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        series = {"EURUSD": bars([(1.1,)] * 9 + [(1.2,)] * 9)}
        async with lab(tmp_path, series) as found:
            before = (await found.broker.quotes(["EURUSD"]))["EURUSD"]
            found.server.advance(T0 + 9 * 900 + 1)
            await found.broker.confirm()
            after = (await found.broker.quotes(["EURUSD"]))["EURUSD"]
            assert (before.bid, after.bid) == (1.1, 1.2)
            assert after.time > before.time
            assert found.requests("SubscribeSpotsReq") == 1

    run(scenario())


def test_what_an_order_left_behind_is_told_while_it_is_worked_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path) as found:
            await opened(found)
            assert [one.state for one in await found.broker.orders(T0)] == ["filled"]
            found.faults({"fault": "replace", "on": "OrderListRes", "fields": {}} | _still_accepted(found))
            (order,) = await found.broker.orders(T0)
            assert (order.client_order_id, order.state) == (entry().intent_id, "working")

    run(scenario())


def _still_accepted(found: Any) -> dict[str, Any]:
    order = {
        "orderId": 1,
        "tradeData": {"symbolId": 1, "volume": LOT, "tradeSide": "BUY"},
        "orderType": "MARKET",
        "orderStatus": "ORDER_STATUS_ACCEPTED",
        "clientOrderId": entry().intent_id,
    }
    return {
        "message": "OrderListRes",
        "fields": {"ctidTraderAccountId": found.account, "hasMore": False, "order": [order]},
    }
