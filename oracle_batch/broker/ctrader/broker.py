"""The cTrader broker: the whole broker protocol on one session of one account."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oracle_batch.bars import Bars
from oracle_batch.broker.base import (
    Account,
    Ack,
    CashFlow,
    CashKind,
    Deal,
    Gate,
    PlacedOrder,
    Position,
    Quote,
    Request,
    SymbolSpec,
    Wish,
)
from oracle_batch.broker.ctrader import reports, translate
from oracle_batch.broker.ctrader.access import AccountAccess
from oracle_batch.broker.ctrader.catalogue import Catalogue
from oracle_batch.broker.ctrader.execution import Execution
from oracle_batch.broker.ctrader.history import History
from oracle_batch.broker.ctrader.line import Pace
from oracle_batch.broker.ctrader.prices import ClockGauge, Prices
from oracle_batch.broker.ctrader.session import Door, Patience, Session
from oracle_batch.broker.ctrader.terms import Conditions
from oracle_batch.broker.ctrader.tokens import TokenStore
from oracle_batch.clock import Clock
from oracle_batch.config.settings import CtraderSettings
from oracle_batch.errors import BrokerError, ConfigError
from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.protection import Terms
from oracle_batch.openapi import scales
from oracle_batch.openapi.messages import api, model
from oracle_batch.store.workspace import Workspace

_log = logging.getLogger(__name__)

HOSTS: Final = {"demo": "demo.ctraderapi.com", "live": "live.ctraderapi.com"}
ABSENCE_GRACE_S: Final = 2.0
"""What is in none of the lists, now and so much later, never arrived."""
_WITHDRAWALS: Final = frozenset({model.BALANCE_WITHDRAW, model.BALANCE_WITHDRAW_TRANSFER})
_DEPOSITS: Final = frozenset({model.BALANCE_DEPOSIT, model.BALANCE_DEPOSIT_TRANSFER})


def door_of(settings: CtraderSettings, home: Path) -> Door:
    """Where the configured server is; ``cafile`` is relative to the workspace."""
    cafile = home / settings.cafile if settings.cafile else None
    return Door(settings.host or HOSTS[settings.environment], settings.port, cafile)


class CtraderBroker:
    """A ``Broker`` on a cTrader account. ``dry_run`` keeps no cache; a renewed token is always kept.

    With ``data_only`` it never trades, and a token that may only look will do.
    """

    def __init__(
        self,
        account: str,
        settings: CtraderSettings,
        workspace: Workspace,
        clock: Clock,
        *,
        dry_run: bool = False,
        data_only: bool = False,
        environment: Mapping[str, str] | None = None,
        pace: Pace | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._account = account
        self._clock = clock
        self._cache = None if dry_run else workspace.ctrader_symbols_path(account)
        self._access = AccountAccess(settings, TokenStore(workspace.tokens, environment), data_only=data_only)
        self._session = Session(door_of(settings, workspace.home), self._access, pace, patience)
        self._data_only = data_only
        self._connected = False
        self._money_digits = 2
        self._deposit = 0
        self._leverage = 0.0
        self._hedged = True

    def __repr__(self) -> str:
        return f"CtraderBroker({self._account!r})"

    @property
    def gauge(self) -> ClockGauge:
        """What the server's times show of our clock."""
        return self._prices.gauge

    async def connect(self) -> None:
        """Open the session and see whether the account may trade.

        Raises:
            ConfigError: credentials, account or environment are refused, or the account cannot be traded like this.
            BrokerError: the server cannot be reached.
        """
        await self._session.open()
        self._connected = True
        trader = await self._trader()
        if trader.accessRights in (model.NO_TRADING, model.NO_LOGIN) and not self._data_only:
            raise ConfigError(f"account {self._access.account_id} may not trade", fix="ask the broker")
        if trader.accessRights == model.CLOSE_ONLY:
            _log.warning("account %d may only close positions", self._access.account_id)
        if trader.accountType == model.SPREAD_BETTING:
            raise ConfigError("spread betting accounts are not supported", field="broker.ctrader.account_id")
        if not trader.HasField("moneyDigits"):
            raise BrokerError("the broker does not tell the digits of the account's money")
        self._money_digits, self._deposit = trader.moneyDigits, trader.depositAssetId
        self._hedged = trader.accountType == model.HEDGED
        self._leverage = trader.leverageInCents / 100
        account_id = self._access.account_id
        self._catalogue = Catalogue(self._session, account_id, self._cache, self._clock)
        self._prices = Prices(self._session, account_id, self._catalogue, self._clock)
        self._history = History(self._session, account_id, self._catalogue, self._clock, self._money_digits)
        self._execution = Execution(
            self._session,
            account_id,
            self._catalogue,
            self._prices,
            self._history,
            self._clock,
            self._reconcile,
            money_digits=self._money_digits,
            limited_risk=trader.isLimitedRisk,
        )
        self._conditions = Conditions(self._session, account_id, self._catalogue, self._prices, self._deposit)

    async def close(self) -> None:
        """End the session. Idempotent."""
        if self._connected and hasattr(self, "_catalogue"):
            self._catalogue.save()
        self._connected = False
        await self._session.close()

    async def account(self) -> Account:
        """The account now. Equity is the balance, and gross profit and swap of all positions.

        A commission counts when the broker books it, which may be as late as the close.
        """
        of = self._access.account_id
        trader, held, floating = await asyncio.gather(
            self._trader(),
            self._reconcile(),
            self._session.request(api.ProtoOAGetPositionUnrealizedPnLReq(ctidTraderAccountId=of)),
        )
        gross = sum(one.grossUnrealizedPnL for one in floating.positionUnrealizedPnL)
        swap = sum(scales.money(one.swap, self._digits_of(one)) for one in held.position)
        balance = scales.money(trader.balance, self._money_digits)
        equity = balance + scales.money(gross, floating.moneyDigits) + swap
        return Account(
            account=self._account,
            currency=await self._catalogue.asset_name(self._deposit),
            balance=balance,
            equity=round(equity, self._money_digits),
            margin_used=sum(scales.money(one.usedMargin, self._digits_of(one)) for one in held.position),
            leverage=self._leverage,
            hedged=self._hedged,
            money_digits=self._money_digits,
        )

    async def symbols(self, names: Sequence[str]) -> dict[str, SymbolSpec]:
        return await self._catalogue.specs(names)

    async def positions(self) -> list[Position]:
        held = await self._reconcile()
        return [
            translate.position(one, await self._catalogue.name_of(one.tradeData.symbolId), self._money_digits)
            for one in held.position
        ]

    async def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        return await self._history.bars(symbol, timeframe, start, end)

    async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
        return await self._prices.quotes(names)

    async def deals(self, since: float) -> list[Deal]:
        return await self._history.deals(since)

    @property
    def absence_grace_s(self) -> float:
        return ABSENCE_GRACE_S

    async def orders(self, since: float) -> list[PlacedOrder]:
        views = await self._history.orders(since)
        return [reports.placed(one) for one in views if not one.protection]

    async def cash_flows(self, since: float) -> list[CashFlow]:
        """Deposits and withdrawals, and what else moved the balance without a deal, oldest first."""
        flows = [self._flow(one) for one in await self._history.cash_flows(since)]
        return sorted((one for one in flows if one.time >= since), key=lambda one: one.time)

    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        return await self._conditions.terms(names)

    async def margins(self, wishes: Sequence[Wish]) -> list[float | None]:
        return await self._conditions.margins(wishes)

    async def schedules(self, names: Sequence[str]) -> dict[str, Schedule]:
        return await self._conditions.schedules(names)

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        if self._data_only:
            raise BrokerError("this connection is for data only")
        return await self._execution.execute(intents, gate)

    async def conversion_symbols(self, names: Sequence[str], currency: str) -> list[str]:
        """The symbols whose prices turn results of these symbols into a currency."""
        target = await self._catalogue.asset_id(currency)
        found: dict[str, None] = {}
        for name in names:
            light = await self._catalogue.light(name)
            if light is None or target is None:
                continue
            try:
                chain = await self._catalogue.chain(light.quote, target)
            except BrokerError as error:
                _log.warning("%s: no way into %s: %s", name, currency, error)
                continue
            found |= dict.fromkeys(one.name for one in chain)
        return list(found)

    # inside

    async def _trader(self) -> Any:
        request = api.ProtoOATraderReq(ctidTraderAccountId=self._access.account_id)
        return (await self._session.request(request)).trader

    async def _reconcile(self) -> Any:
        return await self._session.request(api.ProtoOAReconcileReq(ctidTraderAccountId=self._access.account_id))

    def _digits_of(self, position: Any) -> int:
        return int(position.moneyDigits) if position.HasField("moneyDigits") else self._money_digits

    def _flow(self, message: Any) -> CashFlow:
        digits = message.moneyDigits if message.HasField("moneyDigits") else self._money_digits
        out = "WITHDRAW" in model.ProtoOAChangeBalanceType.Name(message.operationType)
        amount = abs(scales.money(message.delta, digits)) * (-1 if out else 1)
        kind: CashKind = "other"
        if message.operationType in _DEPOSITS:
            kind = "deposit"
        elif message.operationType in _WITHDRAWALS:
            kind = "withdrawal"
        return CashFlow(scales.seconds(message.changeBalanceTimestamp), amount, kind)
