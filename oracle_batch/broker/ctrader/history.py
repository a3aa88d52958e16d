"""The past: trend bars, deals, orders, cash flows, however the broker cuts its pages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import numpy as np

from oracle_batch import bars as bars_module
from oracle_batch.bars import Bars, validate
from oracle_batch.broker.base import Deal
from oracle_batch.broker.ctrader import reports, translate
from oracle_batch.broker.ctrader.catalogue import Catalogue
from oracle_batch.broker.ctrader.refusals import Refused
from oracle_batch.broker.ctrader.reports import OrderView
from oracle_batch.broker.ctrader.session import Session
from oracle_batch.clock import Clock
from oracle_batch.errors import BrokerError
from oracle_batch.openapi import scales
from oracle_batch.openapi.messages import api, model
from oracle_batch.types import TIMEFRAME_SECONDS

_log = logging.getLogger(__name__)

WEEK_S: Final = 7 * 86400
CHUNK_S: Final = {
    **dict.fromkeys(("M1", "M5"), 5 * WEEK_S),
    **dict.fromkeys(("M15", "M30", "H1"), 35 * WEEK_S),
    **dict.fromkeys(("H4", "D1"), 365 * 86400),
}
"""The longest stretch that one request for bars may ask for."""
PAGES: Final = 200
"""The most requests that one call makes."""
BREAK_S: Final = 54 * 3600
"""A gap at the edge of a page that is longer than a weekend is asked for once more: the page may be cut short."""
AHEAD_S: Final = 120.0
"""The server's clock may be ahead of ours by so much in questions about the newest past, or ours was set back since."""

Page = Callable[[int, int], Awaitable[tuple[Sequence[Any], bool]]]
"""What lies in a stretch of milliseconds, both ends included, and whether there is more."""


class History:
    """What one account can be asked about the past. Times are Unix seconds."""

    def __init__(
        self, session: Session, account_id: int, catalogue: Catalogue, clock: Clock, money_digits: int
    ) -> None:
        self._session = session
        self._account_id = account_id
        self._catalogue = catalogue
        self._clock = clock
        self._money_digits = money_digits
        self._orders: dict[int, OrderView] = {}

    async def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        """Closed bars with ``start <= time < end``: complete, each once, in order. Never the forming one.

        Raises:
            BarError: a bar breaks the rules.
            BrokerError: the symbol is not known, or the server does not answer.
        """
        symbol_id = await self._catalogue.id_of(symbol)
        if symbol_id is None:
            raise BrokerError(f"the broker does not know the symbol {symbol}", fix="correct the bundle's symbol.clean")
        digits = await self._catalogue.digits_of(symbol_id)
        seconds = TIMEFRAME_SECONDS[timeframe]
        end = min(end, int(self._clock.now()) + 1)
        found = bars_module.empty()
        chunk = CHUNK_S[timeframe]
        todo = [(left, min(left + chunk, end)) for left in range(start, end, chunk)]
        asked = 0
        while todo and asked < PAGES:
            left, right = todo.pop()
            asked += 1
            page = await self._trend_bars(symbol_id, timeframe, left, right, digits)
            if not len(page):
                continue
            new = page[~_within(page, found)]
            found = bars_module.join(found, page)
            if len(new):
                todo += _edges(left, right, int(page.time[0]), int(page.time[-1]), seconds)
        if todo:
            raise BrokerError(f"{symbol} {timeframe}: the history came in more than {PAGES} pages")
        closed = found.time + seconds <= self._clock.now()
        wanted = (found.time >= start) & (found.time < end)
        return validate(found[closed & wanted], symbol, timeframe)

    async def deals(self, since: float) -> list[Deal]:
        """Deals executed at or after an instant, oldest first, each once, with what their orders know of them."""
        found = await self._paged(since, self._deal_page, lambda one: one.dealId, lambda one: one.executionTimestamp)
        if not found:
            return []
        missing = {one.orderId for one in found} - self._orders.keys()
        if missing:
            await self.orders(min(scales.seconds(one.createTimestamp) for one in found) - 1)
        for order_id in sorted(missing - self._orders.keys()):
            await self._order(order_id)
        labels = {one.position_id: one.label for one in self._orders.values() if one.position_id and one.label}
        views = []
        for one in sorted(found, key=lambda one: (one.executionTimestamp, one.dealId)):
            name = await self._catalogue.name_of(one.symbolId)
            label = labels.get(one.positionId, "")
            views.append(reports.deal(one, name, self._orders.get(one.orderId), label, self._money_digits))
        return [one for one in views if one is not None and one.time >= since]

    async def orders(self, since: float) -> list[OrderView]:
        """Orders that changed at or after an instant, each in its newest state."""
        found = await self._paged(
            since, self._order_page, lambda one: one.orderId, lambda one: one.utcLastUpdateTimestamp
        )
        views = [reports.order(one) for one in found]
        self._orders |= {one.order_id: one for one in views}
        return views

    async def cash_flows(self, since: float) -> list[Any]:
        """Deposits and withdrawals at or after an instant, as the broker tells them."""
        return await self._paged(
            since, self._flow_page, lambda one: one.balanceHistoryId, lambda one: one.changeBalanceTimestamp
        )

    # inside

    async def _trend_bars(self, symbol_id: int, timeframe: str, left: int, right: int, digits: int) -> Bars:
        answer = await self._session.request(
            api.ProtoOAGetTrendbarsReq(
                ctidTraderAccountId=self._account_id,
                symbolId=symbol_id,
                period=model.ProtoOATrendbarPeriod.Value(timeframe),
                fromTimestamp=scales.milliseconds(left),
                toTimestamp=scales.milliseconds(right),
            ),
            historical=True,
        )
        page = translate.bars(list(answer.trendbar), digits)
        return bars_module.join(bars_module.empty(), _last_of_each(page))

    async def _paged(
        self, since: float, page: Page, identity: Callable[[Any], int], time: Callable[[Any], int]
    ) -> list[Any]:
        """Everything since an instant: week by week, and around what a page that is cut short holds."""
        first = scales.milliseconds(since)
        last = scales.milliseconds(max(self._clock.now(), since) + AHEAD_S)
        week = WEEK_S * 1000
        todo = [(left, min(left + week, last)) for left in range(first, last + 1, week)]
        if len(todo) > PAGES:
            raise BrokerError(f"{len(todo)} weeks of history are more than the {PAGES} that are asked for")
        found: dict[int, Any] = {}
        asked = 0
        while todo:
            left, right = todo.pop()
            asked += 1
            if asked > 2 * PAGES:
                raise BrokerError(f"the history came in more than {2 * PAGES} pages")
            rows, more = await page(left, right)
            fresh = [one for one in rows if identity(one) not in found]
            found |= {identity(one): one for one in rows}
            if more and not fresh:
                raise BrokerError("the history cannot be read: a page repeats what is known")
            if more:
                times = [time(one) for one in rows]
                todo += [(left, min(times))] if min(times) > left else []
                todo += [(max(times), right)] if max(times) < right else []
        return list(found.values())

    async def _deal_page(self, left: int, right: int) -> tuple[Sequence[Any], bool]:
        request = api.ProtoOADealListReq(ctidTraderAccountId=self._account_id, fromTimestamp=left, toTimestamp=right)
        answer = await self._session.request(request, historical=True)
        return answer.deal, answer.hasMore

    async def _order_page(self, left: int, right: int) -> tuple[Sequence[Any], bool]:
        request = api.ProtoOAOrderListReq(ctidTraderAccountId=self._account_id, fromTimestamp=left, toTimestamp=right)
        answer = await self._session.request(request, historical=True)
        return answer.order, answer.hasMore

    async def _flow_page(self, left: int, right: int) -> tuple[Sequence[Any], bool]:
        request = api.ProtoOACashFlowHistoryListReq(
            ctidTraderAccountId=self._account_id, fromTimestamp=left, toTimestamp=right
        )
        return (await self._session.request(request, historical=True)).depositWithdraw, False

    async def _order(self, order_id: int) -> None:
        """One order that no list shows: of a position older than the list, such as a stop that was hit now."""
        request = api.ProtoOAOrderDetailsReq(ctidTraderAccountId=self._account_id, orderId=order_id)
        try:
            answer = await self._session.request(request)
        except Refused as refusal:
            _log.warning("order %d: %s", order_id, refusal)
        else:
            self._orders[order_id] = reports.order(answer.order)


def _within(page: Bars, known: Bars) -> Any:
    return np.isin(page.time, known.time)


def _last_of_each(page: Bars) -> Bars:
    """Each time once, the later of two rows, in order."""
    _, first_from_behind = np.unique(page.time[::-1], return_index=True)
    return page[len(page) - 1 - first_from_behind]


def _edges(left: int, right: int, first: int, last: int, seconds: int) -> list[tuple[int, int]]:
    """What of a stretch a page leaves out at its edges, where that is more than a break of the market explains."""
    slack = max(BREAK_S, 3 * seconds)
    before = [(left, first)] if first - left > slack else []
    return [*before, *([(last + seconds, right)] if right - last - seconds > slack else [])]
