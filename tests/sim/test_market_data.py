"""Symbols, history and streams as a client sees them."""

from __future__ import annotations

from typing import Any

import pytest

from oracle_batch.bars import Bars
from oracle_batch.market.feed import Feed
from oracle_batch.openapi.messages import api, model
from oracle_batch.sim import handlers_history
from tests.sim.market import DATA, EURUSD, LOT, START, USDJPY, exchange, on_account, subscribe
from tests.sim.serving import Client, run, serving

WEEK_MS = 7 * 86_400_000


def trend_bars(**fields: Any) -> Any:
    span = {"fromTimestamp": int(START - 86400) * 1000, "toTimestamp": int(START + 86400) * 1000}
    return on_account(api.ProtoOAGetTrendbarsReq, **{"symbolId": EURUSD, "period": "M15"} | span | fields)


def file_bars(start: float, end: float) -> Bars:
    return Feed(DATA).bars("EURUSD", "M15", int(start), int(end))


async def told(client: Client, **fields: Any) -> list[tuple[float, ...]]:
    answer = await client.get(trend_bars(**fields))
    return [
        (
            bar.utcTimestampInMinutes * 60,
            *((bar.low + delta) / 1e5 for delta in (bar.deltaOpen, bar.deltaHigh, 0, bar.deltaClose)),
        )
        for bar in answer.trendbar
    ]


def test_symbols_are_listed_briefly_and_told_in_full_by_id() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            listed = (await client.get(on_account(api.ProtoOASymbolsListReq))).symbol
            assert {one.symbolName: one.symbolId for one in listed} == {"EURUSD": EURUSD, "USDJPY": USDJPY}
            assets = {one.assetId: one.name for one in (await client.get(on_account(api.ProtoOAAssetListReq))).asset}
            assert [(assets[one.baseAssetId], assets[one.quoteAssetId]) for one in listed] == [
                ("EUR", "USD"),
                ("USD", "JPY"),
            ]
            full = await client.get(on_account(api.ProtoOASymbolByIdReq, symbolId=[USDJPY, EURUSD]))
            assert [(one.symbolId, one.digits, one.pipPosition) for one in full.symbol] == [
                (USDJPY, 3, 2),
                (EURUSD, 5, 4),
            ]
            assert {one.lotSize for one in full.symbol} == {LOT}
            unknown = on_account(api.ProtoOASymbolByIdReq, symbolId=[99])
            assert await client.code(unknown) == "ProtoOAErrorRes SYMBOL_NOT_FOUND"
            (category,) = (await client.get(on_account(api.ProtoOASymbolCategoryListReq))).symbolCategory
            assert {one.symbolCategoryId for one in listed} == {category.id}
            (asset_class,) = (await client.get(on_account(api.ProtoOAAssetClassListReq))).assetClass
            assert asset_class.id == category.assetClassId

    run(scenario)


def test_a_conversion_chain_leads_from_asset_to_asset() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            ids = {one.name: one.assetId for one in (await client.get(on_account(api.ProtoOAAssetListReq))).asset}

            def chain(first: int, last: int) -> Any:
                return on_account(api.ProtoOASymbolsForConversionReq, firstAssetId=first, lastAssetId=last)

            found = (await client.get(chain(ids["EUR"], ids["JPY"]))).symbol
            assert [one.symbolName for one in found] == ["EURUSD", "USDJPY"]
            assert await client.code(chain(ids["EUR"], 99)) == "ProtoOAErrorRes SYMBOL_NOT_FOUND"

    run(scenario)


def test_trend_bars_are_those_of_the_folder_and_the_one_in_progress() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            running.server.advance(START + 300)
            rows = await told(client, count=5)
            closed = file_bars(START - 4 * 900, START)
            assert rows[:-1] == [
                pytest.approx(row, abs=1e-9)
                for row in zip(closed.time, closed.open, closed.high, closed.low, closed.close, strict=True)
            ]
            forming = file_bars(START, START + 1)
            assert rows[-1][:2] == pytest.approx((START, forming.open[0]))
            assert rows[-1][2] < forming.high[0] or rows[-1][3] > forming.low[0]

    run(scenario)


def test_a_stretch_takes_bars_that_open_within_it_and_count_its_newest() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            span = {"fromTimestamp": int(START - 3600) * 1000, "toTimestamp": int(START - 900) * 1000}
            assert [row[0] for row in await told(client, **span)] == [START - 3600 + 900 * step for step in range(4)]
            assert [row[0] for row in await told(client, count=2, **span)] == [START - 1800, START - 900]
            assert [row[0] for row in await told(client, period="H1", count=2)] == [START - 3600, START]

    run(scenario)


def test_too_many_bars_are_cut_at_the_old_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            monkeypatch.setattr(handlers_history, "PAGE_BARS", 3)
            for fields in ({}, {"count": 100}):
                assert [row[0] for row in await told(client, **fields)] == [START - 1800, START - 900, START]

    run(scenario)


@pytest.mark.parametrize(
    ("period", "longest_ms"),
    [("M5", 5 * WEEK_MS), ("M15", 35 * WEEK_MS), ("H1", 35 * WEEK_MS), ("H4", 366 * 86_400_000)],
)
def test_a_stretch_may_be_as_long_as_its_period_allows(period: str, longest_ms: int) -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client, end = await running.client(), int(START) * 1000
            fields = {"period": period, "toTimestamp": end}
            if period != "M5":
                await client.get(trend_bars(fromTimestamp=end - longest_ms, **fields))
            for start in (end - longest_ms - 1, end + 1, -1):
                refused = await client.code(trend_bars(fromTimestamp=start, **fields))
                assert refused == "ProtoOAErrorRes INCORRECT_BOUNDARIES"

    run(scenario)


def test_ticks_run_backwards_and_the_ask_is_above_the_bid() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            running.server.advance(START + 3600)
            sides = {}
            for side in ("BID", "ASK"):
                span = {"fromTimestamp": int(START) * 1000, "toTimestamp": int(START + 3600) * 1000}
                asked = on_account(api.ProtoOAGetTickDataReq, symbolId=EURUSD, type=side, **span)
                answer = await client.get(asked)
                assert not answer.hasMore
                at = price = 0
                series = []
                for tick in answer.tickData:
                    at, price = at + tick.timestamp, price + tick.tick
                    series.append((at, price))
                sides[side] = series
            assert len(sides["BID"]) > 4
            assert [at for at, _ in sides["BID"]] == sorted((at for at, _ in sides["BID"]), reverse=True)
            assert all(START * 1000 <= at <= (START + 3600) * 1000 for at, _ in sides["BID"])
            assert all(ask > bid for (_, bid), (_, ask) in zip(sides["BID"], sides["ASK"], strict=True))

    run(scenario)


def test_historical_requests_have_a_rate_of_their_own() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            numbers = [client.send(trend_bars(count=1)) for _ in range(7)]
            answers = [(await client.answers(number))[0] for number in numbers]
            codes = [answer.errorCode for answer in answers if isinstance(answer, api.ProtoOAErrorRes)]
            assert codes == ["REQUEST_FREQUENCY_EXCEEDED"] * 2
            rates = running.server.traffic.rates
            assert (rates.historical, rates.max_historical_per_second) == (7, 7)
            assert (await client.get(api.ProtoOAVersionReq())).version

    run(scenario)


def test_the_first_spot_comes_with_the_subscription_and_every_later_one_as_the_market_moves() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client, other = await running.client(), await running.client()
            asked = on_account(api.ProtoOASubscribeSpotsReq, symbolId=[EURUSD], subscribeToSpotTimestamp=True)
            await client.get(asked)
            (first,) = await client.pushed(api.ProtoOASpotEvent)
            opened = file_bars(START, START + 1).open[0]
            assert first.bid / 1e5 == pytest.approx(opened)
            assert first.ask > first.bid
            assert await client.code(asked) == "ProtoOAErrorRes ALREADY_SUBSCRIBED"
            running.server.advance(START + 900)
            assert (await client.get(api.ProtoOAVersionReq())).version
            spots = client.seen(api.ProtoOASpotEvent)[1:]
            assert len(spots) >= 3
            assert {spot.symbolId for spot in spots} == {EURUSD}
            assert [spot.timestamp for spot in spots] == sorted(spot.timestamp for spot in spots)
            assert not any(spot.trendbar for spot in spots)
            assert not other.seen(api.ProtoOASpotEvent)
            await client.get(on_account(api.ProtoOAUnsubscribeSpotsReq, symbolId=[EURUSD]))
            running.server.advance(START + 1800)
            assert (await client.get(api.ProtoOAVersionReq())).version
            assert len(client.seen(api.ProtoOASpotEvent)) == len(spots) + 1

    run(scenario)


def test_live_bars_need_spots_and_ride_on_them_until_they_are_final() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            live = on_account(api.ProtoOASubscribeLiveTrendbarReq, symbolId=EURUSD, period="M15")
            assert await client.code(live) == "ProtoOAErrorRes NOT_SUBSCRIBED_TO_SPOTS"
            await subscribe(client)
            await client.get(live)
            assert await client.code(live) == "ProtoOAErrorRes ALREADY_SUBSCRIBED"
            running.server.advance(START + 1800)
            assert (await client.get(api.ProtoOAVersionReq())).version
            bars = [bar for spot in client.seen(api.ProtoOASpotEvent) for bar in spot.trendbar]
            assert {bar.period for bar in bars} == {model.M15}
            times = [bar.utcTimestampInMinutes * 60 for bar in bars]
            assert times == sorted(times)
            assert set(times) == {START, START + 900, START + 1800}
            last = [bar for bar in bars if bar.utcTimestampInMinutes * 60 == START][-1]
            official = file_bars(START, START + 1)
            prices = [(last.low + delta) / 1e5 for delta in (last.deltaOpen, last.deltaHigh, 0, last.deltaClose)]
            columns = (official.open, official.high, official.low, official.close)
            assert prices == pytest.approx([column[0] for column in columns])
            await client.get(on_account(api.ProtoOAUnsubscribeLiveTrendbarReq, symbolId=EURUSD, period="M15"))
            client.pushes.clear()
            running.server.advance(START + 2700)
            await client.pushed(api.ProtoOASpotEvent)
            assert not any(spot.trendbar for spot in client.seen(api.ProtoOASpotEvent))

    run(scenario)


def test_depth_tells_the_book_and_then_its_changes() -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            asked = on_account(api.ProtoOASubscribeDepthQuotesReq, symbolId=[EURUSD])
            assert await client.code(asked) == "ProtoOAErrorRes NOT_SUBSCRIBED_TO_SPOTS"
            await subscribe(client)
            await client.get(asked)
            running.server.advance(START + 3600)
            assert (await client.get(api.ProtoOAVersionReq())).version
            book: dict[int, Any] = {}
            for event in client.seen(api.ProtoOADepthEvent):
                assert set(event.deletedQuotes) <= set(book)
                assert not {quote.id for quote in event.newQuotes} & (set(book) - set(event.deletedQuotes))
                book = {number: quote for number, quote in book.items() if number not in event.deletedQuotes}
                book |= {quote.id: quote for quote in event.newQuotes}
                bids = [quote.bid for quote in book.values() if quote.HasField("bid")]
                asks = [quote.ask for quote in book.values() if quote.HasField("ask")]
                assert max(bids) < min(asks)
            quote = running.server.exchange.quote(EURUSD)
            assert quote is not None
            assert max(bids) / 1e5 == pytest.approx(quote.bid)
            assert min(asks) / 1e5 == pytest.approx(quote.ask)

    run(scenario)


@pytest.mark.parametrize(
    "asked",
    [
        on_account(api.ProtoOASubscribeSpotsReq, symbolId=[99]),
        on_account(api.ProtoOASubscribeLiveTrendbarReq, symbolId=99, period="M15"),
        on_account(api.ProtoOASubscribeDepthQuotesReq, symbolId=[99]),
        trend_bars(symbolId=99),
        on_account(api.ProtoOAGetTickDataReq, symbolId=99, type="BID", fromTimestamp=0, toTimestamp=1),
        on_account(api.ProtoOAExpectedMarginReq, symbolId=99, volume=[1]),
    ],
)
def test_a_symbol_that_is_not_there_is_refused_everywhere(asked: Any) -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            assert await client.code(asked) == "ProtoOAErrorRes SYMBOL_NOT_FOUND"

    run(scenario)


@pytest.mark.parametrize("period", model.ProtoOATrendbarPeriod.keys())
def test_every_period_is_told_on_its_grid_or_refused_where_no_bars_are_as_fine(period: str) -> None:
    async def scenario() -> None:
        async with serving(exchange()) as running:
            client = await running.client()
            since = int(START - 8 * 86400) * 1000
            answer = await client.ask(trend_bars(period=period, count=3, fromTimestamp=since))
            if period in ("M1", "M2", "M3", "M4", "M5", "M10", "MN1"):
                assert not getattr(answer, "trendbar", [])
            else:
                assert answer.trendbar
                assert {bar.period for bar in answer.trendbar} == {model.ProtoOATrendbarPeriod.Value(period)}

    run(scenario)
