"""The cTrader broker: the whole broker protocol on one session of one account."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oracle_batch.bars import Bars
from oracle_batch.broker.base import (
    Account,
    Ack,
    Bar,
    CashFlow,
    CashKind,
    Deal,
    Gate,
    Intent,
    PlacedOrder,
    Position,
    Quote,
    Request,
    Series,
    Stir,
    SymbolSpec,
    Wish,
)
from oracle_batch.broker.ctrader import reports, translate
from oracle_batch.broker.ctrader.access import AccountAccess
from oracle_batch.broker.ctrader.catalogue import Catalogue
from oracle_batch.broker.ctrader.execution import Execution
from oracle_batch.broker.ctrader.history import History
from oracle_batch.broker.ctrader.line import Pace
from oracle_batch.broker.ctrader.live_bars import LiveBars
from oracle_batch.broker.ctrader.mirror import Mirror
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
LOOKS: Final = 5
"""How often an account is looked at that changes meanwhile."""
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
        self._mirror: Mirror | None = None
        self._live: LiveBars | None = None

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
        if self._connected:
            return
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
        mirrored = await self._mirrored_account()
        if mirrored is not None:
            return mirrored
        of = self._access.account_id
        trader, held, floating = await asyncio.gather(
            self._trader(),
            self._reconcile(),
            self._session.request(api.ProtoOAGetPositionUnrealizedPnLReq(ctidTraderAccountId=of)),
        )
        gross = sum(one.grossUnrealizedPnL for one in floating.positionUnrealizedPnL)
        return await self._account_of(trader.balance, held.position, scales.money(gross, floating.moneyDigits))

    async def _account_of(self, balance_minor: int, held: Collection[Any], gross: float) -> Account:
        swap = sum(scales.money(one.swap, self._digits_of(one)) for one in held)
        balance = scales.money(balance_minor, self._money_digits)
        return Account(
            account=self._account,
            currency=await self._catalogue.asset_name(self._deposit),
            balance=balance,
            equity=round(balance + gross + swap, self._money_digits),
            margin_used=sum(scales.money(one.usedMargin, self._digits_of(one)) for one in held),
            leverage=self._leverage,
            hedged=self._hedged,
            money_digits=self._money_digits,
        )

    async def symbols(self, names: Sequence[str]) -> dict[str, SymbolSpec]:
        return await self._catalogue.specs(names)

    async def positions(self) -> list[Position]:
        if self._mirror is not None and self._mirror.holds:
            return self._mirror.views(self._catalogue.known_name)
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
        known = self._mirror.deals(since) if self._mirror is not None else None
        if known is not None:
            return known
        found = await self._history.deals(since)
        if self._mirror is not None:
            self._mirror.keep_deals(since, found)
        return found

    @property
    def absence_grace_s(self) -> float:
        return ABSENCE_GRACE_S

    async def orders(self, since: float) -> list[PlacedOrder]:
        views = await self._history.orders(since)
        return [reports.placed(one) for one in views if not one.protection]

    async def cash_flows(self, since: float) -> list[CashFlow]:
        """Deposits and withdrawals, and what else moved the balance without a deal, oldest first."""
        known = self._mirror.flows(since) if self._mirror is not None else None
        if known is not None:
            return known
        flows = [self._flow(one) for one in await self._history.cash_flows(since)]
        found = sorted((one for one in flows if one.time >= since), key=lambda one: one.time)
        if self._mirror is not None:
            self._mirror.keep_flows(since, found)
        return found

    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        return await self._conditions.terms(names)

    async def margins(self, wishes: Sequence[Wish]) -> list[float | None]:
        known = self._mirror.known_margins(wishes) if self._mirror is not None else None
        return await self._conditions.margins(wishes) if known is None else known

    async def schedules(self, names: Sequence[str]) -> dict[str, Schedule]:
        return await self._conditions.schedules(names)

    async def arm(self, series: Sequence[Series], wishes: Sequence[Wish]) -> None:
        account_id = self._access.account_id
        await self._session.restore()
        if self._mirror is None:
            self._mirror = Mirror(self._session, account_id, self._money_digits)
            self._live = LiveBars(self._session, account_id, self._catalogue)
        await self._look(self._mirror)
        for one in self._mirror.positions.values():
            await self._catalogue.name_of(one.tradeData.symbolId)
        held = {one.symbol for one in self._mirror.views(self._catalogue.known_name)}
        await self._prices.quotes(sorted(held | {symbol for symbol, _ in series} | {symbol for symbol, *_ in wishes}))
        assert self._live is not None
        await self._live.follow(series)
        self._mirror.margins |= await self._conditions.both_margins(wishes)
        await self._mirrored_account()

    async def _look(self, mirror: Mirror) -> None:
        for _ in range(LOOKS):
            before = mirror.changes
            trader, held = await asyncio.gather(self._trader(), self._reconcile())
            if mirror.changes == before:
                mirror.look(trader, held)
                return
        raise BrokerError("the account changes too fast to be looked at", fix="run again")

    async def stirred(self) -> Stir:
        assert self._mirror is not None
        return await self._mirror.stirred()

    async def confirm(self) -> None:
        await self._session.ask(api.ProtoOAVersionReq())

    def final_bars(self, close: int) -> dict[Series, Bar]:
        return self._live.final(close) if self._live is not None else {}

    def prepare(self, intents: Sequence[Intent]) -> None:
        self._execution.prepare(intents)

    @property
    def version(self) -> int | None:
        if self._mirror is None or not self._mirror.holds:
            return None
        return self._mirror.changes + self._prices.changes

    def disarm(self) -> None:
        if self._mirror is not None:
            self._mirror.close()
            self._execution.prepare(())
        if self._live is not None:
            self._live.close()
        self._mirror = self._live = None

    @property
    def last_sent(self) -> float | None:
        return self._execution.last_sent if self._connected else None

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        if self._data_only:
            raise BrokerError("this connection is for data only")
        if self._mirror is not None:
            self._mirror.holds = False  # from here on the account is what the answers say
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

    async def _mirrored_account(self) -> Account | None:
        """The account of an armed broker, floating results from the quotes of now; None where it has to be asked."""
        mirror = self._mirror
        if mirror is None or not mirror.holds:
            return None
        gross, rates = 0.0, dict[int, float | None]()
        for one in mirror.positions.values():
            trade = one.tradeData
            light = await self._catalogue.light(self._catalogue.known_name(trade.symbolId))
            quote = self._prices.newest(trade.symbolId)
            if light is None or quote is None:
                return None
            if light.quote not in rates:
                rates[light.quote] = await self._prices.rate(light.quote, self._deposit)
            rate, direction = rates[light.quote], reports.direction_of(trade.tradeSide)
            if rate is None:
                return None
            price = quote.bid if direction > 0 else quote.ask
            gross += round((price - one.price) * direction * trade.volume / 100 * rate, self._money_digits)
        return await self._account_of(mirror.balance, mirror.positions.values(), gross)

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
