"""Bars as the stream tells them, and which of them are final (DESIGN §8).

A live bar rides on quotes, and each of its updates tells the whole bar so far. It is final when an update for a later
bar has come; a second after its close, also when no quote of it was missed since its newest update.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oracle_batch.broker.base import Bar, Series
from oracle_batch.broker.ctrader.catalogue import Catalogue
from oracle_batch.broker.ctrader.refusals import HARMLESS, Refused
from oracle_batch.broker.ctrader.session import LOST, Session
from oracle_batch.openapi import scales
from oracle_batch.openapi.messages import Envelope, api, model
from oracle_batch.types import TIMEFRAME_SECONDS

_MINUTE: Final = 60


@dataclass(slots=True)
class _Course:
    """A followed series. ``missed``: a quote has come that the newest update does not know of."""

    series: Series
    seconds: int
    digits: int
    newest: Any = None
    before: Any = None
    missed: bool = False

    def take(self, update: Any) -> None:
        if self.newest is None or update.utcTimestampInMinutes == self.newest.utcTimestampInMinutes:
            self.newest, self.missed = update, False
        elif update.utcTimestampInMinutes > self.newest.utcTimestampInMinutes:
            self.before = None if self.missed else self.newest
            self.newest, self.missed = update, False
        elif self.before is None or update.utcTimestampInMinutes >= self.before.utcTimestampInMinutes:
            self.before = update

    def pass_by(self, spot: Any) -> None:
        """A quote without this bar: of its own time, or of a later one?"""
        if self.newest is None or not spot.HasField("bid"):
            return
        later = spot.HasField("timestamp") and scales.seconds(spot.timestamp) >= self._end(self.newest)
        if not later and spot.bid != self.newest.low + self.newest.deltaClose:
            self.missed = True

    def ended_at(self, close: int) -> Bar | None:
        for update in (self.newest if not self.missed else None, self.before):
            if update is not None and self._end(update) == close:
                return self._bar(update)
        return None

    def _end(self, update: Any) -> int:
        return int(update.utcTimestampInMinutes) * _MINUTE + self.seconds

    def _bar(self, update: Any) -> Bar:
        low, digits = update.low, self.digits
        return Bar(
            int(update.utcTimestampInMinutes) * _MINUTE,
            scales.price(low + update.deltaOpen, digits),
            scales.price(low + update.deltaHigh, digits),
            scales.price(low, digits),
            scales.price(low + update.deltaClose, digits),
            float(update.volume),
        )


class LiveBars:
    """The followed series of one account. Quotes of their symbols have to be subscribed to before."""

    def __init__(self, session: Session, account_id: int, catalogue: Catalogue) -> None:
        self._session = session
        self._account_id = account_id
        self._catalogue = catalogue
        self._courses: dict[int, dict[int, _Course]] = {}
        self._final: tuple[int, dict[Series, Bar]] | None = None
        self._stop = session.listen(self._heard)

    async def follow(self, series: Sequence[Series]) -> None:
        """Subscribe to live bars; a symbol that the broker does not know, or refuses, has none.

        Raises:
            BrokerError: the server does not answer.
        """
        await asyncio.gather(*(self._follow(one) for one in series))

    def final(self, close: int) -> dict[Series, Bar]:
        """The bars that ended at ``close``, where they are known for certain; the same object until more is heard."""
        if self._final is not None and self._final[0] == close:
            return self._final[1]
        found: dict[Series, Bar] = {}
        for courses in self._courses.values():
            for course in courses.values():
                bar = course.ended_at(close)
                if bar is not None:
                    found[course.series] = bar
        self._final = close, found
        return found

    def close(self) -> None:
        """Hear no more."""
        self._stop()

    async def _follow(self, series: Series) -> None:
        symbol, timeframe = series
        symbol_id, period = await self._catalogue.id_of(symbol), model.ProtoOATrendbarPeriod.Value(timeframe)
        if symbol_id is None or period in self._courses.get(symbol_id, {}):
            return
        digits = await self._catalogue.digits_of(symbol_id)
        request = api.ProtoOASubscribeLiveTrendbarReq(
            ctidTraderAccountId=self._account_id, period=period, symbolId=symbol_id
        )
        course, self._final = _Course(series, TIMEFRAME_SECONDS[timeframe], digits), None
        self._courses.setdefault(symbol_id, {})[period] = course
        try:
            await self._session.request(request)
        except Refused as refusal:
            if refusal.code not in HARMLESS:
                del self._courses[symbol_id][period]

    def _heard(self, envelope: Envelope) -> None:
        if envelope is LOST:
            self._courses.clear()
            self._final = None
            return
        message = envelope.message
        if not isinstance(message, api.ProtoOASpotEvent) or message.ctidTraderAccountId != self._account_id:
            return
        courses = self._courses.get(message.symbolId)
        if not courses:
            return
        self._final, told = None, set()
        for update in message.trendbar:
            course = courses.get(update.period)
            if course is not None:
                course.take(update)
                told.add(update.period)
        for period, course in courses.items():
            if period not in told:
                course.pass_by(message)
