"""The past: trend bars, ticks, deals. These requests have the smaller rate."""

from __future__ import annotations

from typing import Any, Final

from oracle_batch.openapi.messages import api, model
from oracle_batch.openapi.scales import seconds
from oracle_batch.sim.calls import Call, Route, Routes
from oracle_batch.sim.handlers_market import find_symbol
from oracle_batch.sim.refused import Refused

LAST_MS: Final = 2_147_483_646_000
"""The latest instant that the API knows: 19 January 2038."""
PAGE_BARS: Final = 14_000
PAGE_TICKS: Final = 5_000
PAGE_DEALS: Final = 500
_WEEK_MS: Final = 7 * 86_400_000
_YEAR_MS: Final = 366 * 86_400_000
RANGE_MS: Final = {
    **dict.fromkeys(("M1", "M2", "M3", "M4", "M5"), 5 * _WEEK_MS),
    **dict.fromkeys(("M10", "M15", "M30", "H1"), 35 * _WEEK_MS),
    **dict.fromkeys(("H4", "H12", "D1"), _YEAR_MS),
    **dict.fromkeys(("W1", "MN1"), 5 * _YEAR_MS),
}
"""The longest stretch that one request of a period may ask for."""


def trend_bars(call: Call) -> None:
    """Bars that open within a stretch, oldest first. Of too many the newest are told, as with ``count``.

    The bar in progress is among them.
    """
    asked = call.message
    find_symbol(call, asked.symbolId)
    period = model.ProtoOATrendbarPeriod.Name(asked.period)
    start, end = boundaries(call, RANGE_MS[period])
    count = min(asked.count, PAGE_BARS) if asked.HasField("count") else PAGE_BARS
    bars = call.server.exchange.trendbars(asked.symbolId, period, start, end, count)
    call.reply(
        api.ProtoOAGetTrendbarsRes(
            ctidTraderAccountId=call.account,
            period=asked.period,
            timestamp=round(end * 1000),
            trendbar=call.server.wire.bars(bars, period),
            symbolId=asked.symbolId,
        )
    )


def tick_data(call: Call) -> None:
    """Ticks of one side, newest first."""
    asked = call.message
    find_symbol(call, asked.symbolId)
    start, end = boundaries(call, _WEEK_MS)
    found = call.server.exchange.ticks(asked.symbolId, 1 if asked.type == model.BID else -1, start, end)
    call.reply(
        api.ProtoOAGetTickDataRes(
            ctidTraderAccountId=call.account,
            tickData=call.server.wire.ticks(found[:PAGE_TICKS]),
            hasMore=len(found) > PAGE_TICKS,
        )
    )


def deal_list(call: Call) -> None:
    """Deals of a stretch of at most a week, oldest first."""
    asked = call.message
    start, end = boundaries(call, _WEEK_MS)
    rows = min(asked.maxRows, PAGE_DEALS) if asked.maxRows > 0 else PAGE_DEALS
    found = call.server.exchange.deals(call.account, start, end)
    call.reply(_deals(call, api.ProtoOADealListRes, found, rows))


def deals_of_position(call: Call) -> None:
    """Deals of one position, oldest first."""
    start, end = boundaries(call, LAST_MS)
    every = call.server.exchange.deals(call.account, start, end)
    found = [deal for deal in every if deal.position_id == call.message.positionId]
    call.reply(_deals(call, api.ProtoOADealListByPositionIdRes, found, PAGE_DEALS))


def boundaries(call: Call, longest_ms: int) -> tuple[float, float]:
    """The stretch that a request asks for, Unix seconds. Without an end it is now, without a start the longest.

    Raises:
        Refused: it is too long, runs backwards, or leaves the time that the API knows.
    """
    asked = call.message
    end = asked.toTimestamp if asked.HasField("toTimestamp") else call.server.wire.ms(call.server.exchange.now)
    start = asked.fromTimestamp if asked.HasField("fromTimestamp") else max(0, end - longest_ms)
    if not (0 <= start <= end <= LAST_MS and end - start <= longest_ms):
        raise Refused("INCORRECT_BOUNDARIES", f"{start} to {end} is not within {longest_ms} ms")
    return seconds(start), seconds(end)


def _deals(call: Call, kind: type[Any], found: list[Any], rows: int) -> Any:
    shown = [call.server.wire.deal(view) for view in found[:rows]]
    return kind(ctidTraderAccountId=call.account, deal=shown, hasMore=int(len(found) > rows))


ROUTES: Final[Routes] = {
    api.ProtoOAGetTrendbarsReq: Route(trend_bars, historical=True),
    api.ProtoOAGetTickDataReq: Route(tick_data, historical=True),
    api.ProtoOADealListReq: Route(deal_list, historical=True),
    api.ProtoOADealListByPositionIdReq: Route(deals_of_position, historical=True),
}
