"""An account's orders: intents to requests, one burst, and whom to ask what became of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from oracle_batch.broker.base import Ack, AmendIntent, CloseIntent, Gate, Intent, OpenIntent, Request
from oracle_batch.broker.ctrader import reports, translate
from oracle_batch.broker.ctrader.burst import Burst
from oracle_batch.broker.ctrader.catalogue import Catalogue
from oracle_batch.broker.ctrader.history import History
from oracle_batch.broker.ctrader.outcomes import Answers, Leg
from oracle_batch.broker.ctrader.prices import Prices
from oracle_batch.broker.ctrader.session import Session
from oracle_batch.clock import Clock
from oracle_batch.openapi.messages import Packed, packed

_log = logging.getLogger(__name__)

WARN_SKEW_S: Final = 0.5
MAX_SKEW_S: Final = 2.0
"""Entries are refused where our clock is further from the server's."""
LOOK_BACK_S: Final = 120.0
"""Orders and deals are looked for from so long before the burst: the server's clock need not be ours."""


class Execution:
    """Executes intents on one account. ``reconcile`` asks for what is open now."""

    def __init__(
        self,
        session: Session,
        account_id: int,
        catalogue: Catalogue,
        prices: Prices,
        history: History,
        clock: Clock,
        reconcile: Callable[[], Awaitable[Any]],
        *,
        money_digits: int,
        limited_risk: bool,
    ) -> None:
        self._session = session
        self._account_id = account_id
        self._catalogue = catalogue
        self._prices = prices
        self._history = history
        self._clock = clock
        self._reconcile = reconcile
        self._money_digits = money_digits
        self._limited_risk = limited_risk
        self._gone: set[int] = set()
        self._ours: set[int] = set()
        self._packed: dict[str, tuple[Intent, Packed]] = {}
        self.last_sent: float | None = None
        """When the last order was handed on, on the monotonic clock."""

    def prepare(self, intents: Sequence[Intent]) -> None:
        """Make the requests of these intents, and of no others, in advance; not those that depend on a quote."""
        self._packed = {}
        for intent in intents:
            light = self._catalogue.known(intent.symbol)
            message = self._message(Leg(intent), light.symbol_id if light is not None else None)
            depends = isinstance(intent, OpenIntent) and bool(intent.max_slippage_points)
            if message is not None and not depends:
                self._packed[intent.intent_id] = intent, packed(message, self._session.new_id())

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        """All legs in one burst; see ``burst``. An entry whose stop is triggered otherwise is amended once filled."""
        ids: dict[str, int | None] = {}
        for symbol in {intent.symbol for intent in intents}:
            light = self._catalogue.known(symbol)
            ids[symbol] = light.symbol_id if light is not None else await self._catalogue.id_of(symbol)
        limited = [one.symbol for one in intents if isinstance(one, OpenIntent) and one.max_slippage_points]
        if limited:
            await self._prices.quotes(sorted(set(limited)))
        gone = await self._known_gone(intents)
        since = self._clock.now() - LOOK_BACK_S
        refused = self._clock_reason()

        def guarded(entries: Sequence[OpenIntent]) -> Mapping[str, str]:
            return {entry.intent_id: refused for entry in entries} if refused else gate(entries)

        burst = self._burst(ids, since, guarded)
        legs = await burst.run(intents, gone, frozenset(self._ours))
        self.last_sent = burst.last_sent or self.last_sent
        closes = [(leg, leg.intent.position_id) for leg in legs if isinstance(leg.intent, CloseIntent)]
        self._gone |= {position_id for leg, position_id in closes if leg.confirmed}
        self._ours |= {position_id for leg, position_id in closes if leg.closed_by_us}
        triggers = [one for leg in legs if (one := _trigger_amendment(leg)) is not None]
        if triggers:
            await self._burst(ids, since, guarded).run(triggers, frozenset(), frozenset())
        return [leg.ack or Ack(leg.intent.intent_id, "UNKNOWN") for leg in legs]

    # inside

    def _burst(self, ids: Mapping[str, int | None], since: float, gate: Gate) -> Burst:
        async def ask() -> Answers:
            held = await self._reconcile()
            orders = await self._history.orders(since)
            return Answers(
                frozenset(one.positionId for one in held.position),
                orders,
                await self._history.deals(since),
                {
                    one.positionId: (
                        reports.optional(one, "stopLoss") or None,
                        reports.optional(one, "takeProfit") or None,
                    )
                    for one in held.position
                },
            )

        def prepare(leg: Leg) -> Any:
            return self._message(leg, ids[leg.intent.symbol])

        return Burst(self._session, prepare, ask, self._catalogue.known_name, self._money_digits, gate)

    def _message(self, leg: Leg, symbol_id: int | None) -> Any:
        """The request of a leg; one that cannot be made fails the leg."""
        intent, account_id = leg.intent, self._account_id
        leg.quote = None if symbol_id is None else self._prices.newest(symbol_id)
        known = self._packed.pop(intent.intent_id, None)  # its message id serves once
        if known is not None and (known[0] is intent or known[0] == intent):
            return known[1]
        if isinstance(intent, CloseIntent):
            return translate.close_request(intent, account_id)
        if isinstance(intent, AmendIntent):
            return translate.amend_request(intent, account_id)
        if symbol_id is None:
            leg.fail("UNKNOWN_SYMBOL")
            return None
        if intent.max_slippage_points and leg.quote is None:
            leg.fail("NO_QUOTES")
            return None
        try:
            return translate.open_request(intent, account_id, symbol_id, leg.quote, limited_risk=self._limited_risk)
        except ValueError as error:
            _log.error("%s cannot be sent: %s", intent.intent_id, error)
            leg.fail("INVALID_ORDER")
            return None

    async def _known_gone(self, intents: Sequence[Request]) -> frozenset[int]:
        """Which positions that entries wait for, and nobody closes now, are closed already."""
        closing = {one.position_id for one in intents if isinstance(one, CloseIntent)}
        awaited = {one.after_close for one in intents if isinstance(one, OpenIntent) and one.after_close is not None}
        if not awaited - closing - self._gone:
            return frozenset(self._gone)
        held = {one.positionId for one in (await self._reconcile()).position}
        return frozenset(self._gone | (awaited - held))

    def _clock_reason(self) -> str | None:
        skew = self._prices.skew_s()
        if abs(skew) > WARN_SKEW_S:
            side = "behind" if skew > 0 else "ahead of"
            _log.warning("our clock is at least %.1f s %s the server's: set it by NTP", abs(skew), side)
        return "CLOCK_SKEW" if abs(skew) > MAX_SKEW_S else None


def _trigger_amendment(leg: Leg) -> AmendIntent | None:
    """An order cannot say what triggers its stop; the filled position is told."""
    intent, ack = leg.intent, leg.ack
    if not isinstance(intent, OpenIntent) or intent.stop_trigger == "trade" or ack is None or ack.status != "OK":
        return None
    if ack.position_id is None or leg.stop_loss is None:
        return None
    return AmendIntent(
        f"{intent.intent_id}-t",
        intent.model,
        ack.position_id,
        intent.symbol,
        leg.stop_loss,
        leg.take_profit,
        intent.decided_at,
        intent.stop_trigger,
    )
