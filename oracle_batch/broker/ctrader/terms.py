"""What a symbol costs and how near protection may lie, from the broker's description and the quotes of now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import Any, Final

from oracle_batch.broker.base import Quote, Wish
from oracle_batch.broker.ctrader.catalogue import Catalogue
from oracle_batch.broker.ctrader.prices import Prices
from oracle_batch.broker.ctrader.refusals import Refused
from oracle_batch.broker.ctrader.session import Session
from oracle_batch.errors import BrokerError
from oracle_batch.hands.calendar import DAY_S, Holiday, Schedule
from oracle_batch.hands.protection import Terms
from oracle_batch.openapi import scales
from oracle_batch.openapi.messages import api, model

_log = logging.getLogger(__name__)

PRECISE: Final = 10**8
"""The scale of precise commission rates."""
PERCENT_PARTS: Final = 10_000
"""Protection distances in per cent come in hundredths of one."""
_EPOCH: Final = date(1970, 1, 1)
MARGIN_KEPT_S: Final = 10.0
"""A margin that was asked for is good for so long: it moves with the price, by little."""
RateOf = Callable[[int, int], Awaitable[float | None]]
"""What one unit of an asset is worth in another."""


class Conditions:
    """Terms, margins and opening hours of one account's symbols."""

    def __init__(self, session: Session, account_id: int, catalogue: Catalogue, prices: Prices, deposit: int) -> None:
        self._session = session
        self._account_id = account_id
        self._catalogue = catalogue
        self._prices = prices
        self._deposit = deposit
        self._known: dict[tuple[str, int], tuple[float, tuple[float, float]]] = {}

    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        """Terms by symbol; absent where a quote, a rate or a cost is not known, which the log tells."""
        contracts = await self._catalogue.contracts(names)
        specs = await self._catalogue.specs(names)
        quotes = await self._prices.quotes(list(specs))
        found, rates = {}, dict[tuple[int, int], float | None]()

        async def rate_of(first: int, last: int) -> float | None:
            if (first, last) not in rates:
                rates[first, last] = await self._prices.rate(first, last)
            return rates[first, last]

        for name, spec in specs.items():
            light, quote = await self._catalogue.light(name), quotes.get(name)
            if light is None or quote is None:
                continue
            contract = contracts[name]
            try:
                rate = await rate_of(light.quote, self._deposit)
                commission = await self._commission(contract, quote, light.base, rate, rate_of)
            except BrokerError as error:
                _log.warning("%s: its terms are not known: %s", name, error)
                continue
            if rate is None or commission is None:
                _log.warning("%s: its terms are not known: no rate into the account currency", name)
                continue
            found[name] = Terms(
                spec,
                rate,
                round(quote.ask - quote.bid, spec.digits),
                0.0,
                commission,
                least_distance(contract, contract.slDistance, quote),
                least_distance(contract, contract.tpDistance, quote),
            )
        return found

    async def margins(self, wishes: Sequence[Wish]) -> list[float | None]:
        """The margin of each order by itself, None where the broker does not tell."""
        since = time.monotonic() - MARGIN_KEPT_S
        self._known = {key: one for key, one in self._known.items() if one[0] >= since}
        fresh = await self.both_margins([one for one in wishes if (one[0], one[2]) not in self._known])
        known = {key: sides for key, (_, sides) in self._known.items()} | fresh
        found: list[float | None] = []
        for symbol, direction, volume in wishes:
            sides = known.get((symbol, volume))
            found.append(None if sides is None else sides[0 if direction > 0 else 1])
        return found

    async def both_margins(self, wishes: Sequence[Wish]) -> dict[tuple[str, int], tuple[float, float]]:
        """The margins of buying and of selling by symbol and volume; absent where the broker does not tell."""
        asked: dict[str, list[int]] = {}
        for symbol, _, volume in wishes:
            asked.setdefault(symbol, [])
            if volume not in asked[symbol]:
                asked[symbol].append(volume)
        answers = await asyncio.gather(*(self._margins(symbol, volumes) for symbol, volumes in asked.items()))
        found = {key: sides for answer in answers for key, sides in answer.items()}
        now = time.monotonic()
        self._known |= {key: (now, sides) for key, sides in found.items()}
        return found

    async def _margins(self, symbol: str, volumes: Sequence[int]) -> dict[tuple[str, int], tuple[float, float]]:
        symbol_id = await self._catalogue.id_of(symbol)
        if symbol_id is None:
            return {}
        request = api.ProtoOAExpectedMarginReq(ctidTraderAccountId=self._account_id, symbolId=symbol_id, volume=volumes)
        try:
            answer = await self._session.request(request)
        except Refused as refusal:
            _log.warning("%s: no margin: %s", symbol, refusal)
            return {}
        digits = answer.moneyDigits
        return {
            (symbol, one.volume): (scales.money(one.buyMargin, digits), scales.money(one.sellMargin, digits))
            for one in answer.margin
        }

    async def schedules(self, names: Sequence[str]) -> dict[str, Schedule]:
        """Opening hours by symbol; absent where the broker tells none that make sense."""
        found = {}
        for name, contract in (await self._catalogue.contracts(names)).items():
            try:
                found[name] = schedule_of(contract)
            except ValueError as error:
                _log.warning("%s: its opening hours are not known: %s", name, error)
        return found

    async def _commission(
        self, contract: Any, quote: Quote, base: int, rate: float | None, rate_of: RateOf
    ) -> float | None:
        """Account currency per lot and round turn. What the broker takes at least for a tiny order is not in it."""
        if contract.HasField("preciseTradingCommissionRate"):
            value = contract.preciseTradingCommissionRate / PRECISE
        elif not contract.commission:
            value = 0.0
        else:
            percent = contract.commissionType == model.PERCENTAGE_OF_VALUE
            value = contract.commission / (100_000 if percent else 100)
        if value == 0:
            return 0.0
        units = contract.lotSize / 100
        kind = contract.commissionType
        if kind == model.QUOTE_CCY_PER_LOT:
            return None if rate is None else float(2 * value * rate)
        if kind == model.PERCENTAGE_OF_VALUE:
            return None if rate is None else float(2 * value / 100 * units * quote.bid * rate)
        usd = await self._catalogue.asset_id("USD")
        if usd is None:
            raise BrokerError("its commission is in USD, which the broker does not list")
        into_account = await rate_of(usd, self._deposit)
        if kind == model.USD_PER_LOT:
            return None if into_account is None else float(2 * value * into_account)
        worth = await rate_of(base, usd)
        if worth is None or into_account is None:
            return None
        return float(2 * value * units * worth / 1e6 * into_account)


def least_distance(contract: Any, distance: int, quote: Quote) -> float:
    """How far from the price protection has to lie at least, as a price distance."""
    if contract.distanceSetIn == model.SYMBOL_DISTANCE_IN_PERCENTAGE:
        return float(distance / PERCENT_PARTS * quote.ask)
    return float(round(distance * 10.0**-contract.digits, contract.digits))


def schedule_of(contract: Any) -> Schedule:
    """A symbol's sessions and holidays.

    Raises:
        ValueError: there are none, or they are no part of a week or a day.
    """
    zone = contract.scheduleTimeZone or "UTC"
    sessions = tuple((one.startSecond, one.endSecond) for one in contract.schedule)
    holidays = tuple(
        Holiday(
            _EPOCH + timedelta(days=one.holidayDate),
            one.scheduleTimeZone or zone,
            one.startSecond,
            one.endSecond if one.HasField("endSecond") else DAY_S,
            one.isRecurring,
        )
        for one in contract.holiday
    )
    return Schedule(zone, sessions, holidays)
