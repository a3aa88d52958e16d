"""An account kept current from what the broker tells, so that nothing has to be asked between trigger and orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from oracle_batch.broker.base import CashFlow, Deal, Position, Stir, Wish
from oracle_batch.broker.ctrader import translate
from oracle_batch.broker.ctrader.session import LOST, Session
from oracle_batch.openapi.messages import Envelope, api, model

_GONE = (
    api.ProtoOAClientDisconnectEvent,
    api.ProtoOAAccountDisconnectEvent,
    api.ProtoOAAccountsTokenInvalidatedEvent,
)


class Mirror:
    """What an account holds, from one look at it and everything that was pushed since.

    ``holds`` says whether that is the whole truth: a lost line ends it until the next look. ``changes`` counts what was
    heard of the account.
    """

    def __init__(self, session: Session, account_id: int, money_digits: int) -> None:
        self.holds = False
        self.changes = 0
        self.balance = 0
        self.positions: dict[int, Any] = {}
        self.margins: dict[tuple[str, int], Sequence[float]] = {}
        self._account_id = account_id
        self._money_digits = money_digits
        self._views: list[Position] | None = None
        self._deals: tuple[float, list[Deal]] | None = None
        self._flows: tuple[float, list[CashFlow]] | None = None
        self._stirred = asyncio.Event()
        self._why: Stir | None = None
        self._stop = session.listen(self._heard)

    def close(self) -> None:
        """Hear no more."""
        self._stop()

    def look(self, trader: Any, held: Any) -> None:
        """Take what the broker shows when it is asked."""
        self.balance = trader.balance
        self.positions = {one.positionId: one for one in held.position}
        self._views, self.holds = None, True

    async def stirred(self) -> Stir:
        """Wait for something that makes what was worked out before worthless."""
        await self._stirred.wait()
        self._stirred.clear()
        why, self._why = self._why, None
        assert why is not None
        return why

    def views(self, name_of: Callable[[int], str]) -> list[Position]:
        """Every open position."""
        if self._views is None:
            self._views = [
                translate.position(one, name_of(one.tradeData.symbolId), self._money_digits)
                for one in self.positions.values()
            ]
        return list(self._views)

    # what was asked before, and is still so

    def deals(self, since: float) -> list[Deal] | None:
        """The deals since an instant, None where they were not asked for."""
        if self._deals is None or since < self._deals[0]:
            return None
        return [deal for deal in self._deals[1] if deal.time >= since]

    def keep_deals(self, since: float, deals: list[Deal]) -> None:
        """Remember the answer, until there is another deal."""
        self._deals = since, deals

    def flows(self, since: float) -> list[CashFlow] | None:
        """The cash flows since an instant, None where they were not asked for."""
        if self._flows is None or since < self._flows[0]:
            return None
        return [flow for flow in self._flows[1] if flow.time >= since]

    def keep_flows(self, since: float, flows: list[CashFlow]) -> None:
        """Remember the answer, until there is another one."""
        self._flows = since, flows

    def known_margins(self, wishes: Sequence[Wish]) -> list[float | None] | None:
        """The margin of each order, None where one of them was not asked for."""
        found: list[float | None] = []
        for symbol, direction, volume in wishes:
            sides = self.margins.get((symbol, volume))
            if sides is None:
                return None
            found.append(sides[0 if direction > 0 else 1])
        return found

    # inside

    def _heard(self, envelope: Envelope) -> None:
        message = envelope.message
        if envelope is LOST or isinstance(message, _GONE):
            self.holds = False
            self._stir("line_lost")
        elif getattr(message, "ctidTraderAccountId", None) != self._account_id:
            return
        elif isinstance(message, api.ProtoOAExecutionEvent):
            self._execution(message)
        elif isinstance(message, api.ProtoOATraderUpdatedEvent):
            moved, self.balance = message.trader.balance != self.balance, message.trader.balance
            self.changes += 1
            if moved:
                self._changed()
        elif isinstance(message, api.ProtoOAMarginChangedEvent):
            self.changes += 1
            held = self.positions.get(message.positionId)
            if held is not None:
                held.usedMargin = message.usedMargin
        elif isinstance(message, api.ProtoOATrailingSLChangedEvent):
            self.changes += 1
            held = self.positions.get(message.positionId)
            if held is not None:
                held.stopLoss = message.stopPrice
                self._views = None

    def _execution(self, message: Any) -> None:
        self.changes += 1
        if message.HasField("position"):
            held = message.position
            if held.positionStatus == model.POSITION_STATUS_OPEN and held.tradeData.volume > 0:
                self.positions[held.positionId] = held
            else:
                self.positions.pop(held.positionId, None)
        if message.HasField("deal") and message.deal.HasField("closePositionDetail"):
            self.balance = message.deal.closePositionDetail.balance
        if message.HasField("depositWithdraw"):
            self.balance = message.depositWithdraw.balance
        self._changed()

    def _changed(self) -> None:
        self._views = self._deals = self._flows = None
        self._stir("account_changed")

    def _stir(self, why: Stir) -> None:
        self._why = why if self._why != "line_lost" else "line_lost"
        self._stirred.set()
