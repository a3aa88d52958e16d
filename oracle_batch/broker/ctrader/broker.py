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
    AmendIntent,
    Bar,
    CashFlow,
    CashKind,
    CloseIntent,
    Deal,
    Gate,
    Intent,
    OpenIntent,
    PlacedOrder,
    Position,
    Quote,
    Request,
    Series,
    Stir,
    SymbolSpec,
    Wish,
)
from oracle_batch.broker.ctrader import translate
from oracle_batch.broker.ctrader.access import AccountAccess
from oracle_batch.broker.ctrader.burst import Answers, Burst
from oracle_batch.broker.ctrader.catalogue import Catalogue
from oracle_batch.broker.ctrader.history import History
from oracle_batch.broker.ctrader.line import Pace
from oracle_batch.broker.ctrader.live_bars import LiveBars
from oracle_batch.broker.ctrader.mirror import Mirror
from oracle_batch.broker.ctrader.outcomes import Leg
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
from oracle_batch.openapi.messages import Packed, api, model, packed
from oracle_batch.store.workspace import Workspace

_log = logging.getLogger(__name__)

HOSTS: Final = {"demo": "demo.ctraderapi.com", "live": "live.ctraderapi.com"}
WARN_SKEW_S: Final = 0.5
MAX_SKEW_S: Final = 2.0
"""Entries are refused where our clock is further from the server's."""
ABSENCE_GRACE_S: Final = 2.0
"""What is in none of the lists, now and so much later, never arrived."""
LOOK_BACK_S: Final = 120.0
"""Orders and deals are looked for from so long before the burst: the server's clock need not be ours."""
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
        self._gone: set[int] = set()
        self._limited_risk = False
        self._money_digits = 2
        self._deposit = 0
        self._leverage = 0.0
        self._hedged = True
        self._mirror: Mirror | None = None
        self._live: LiveBars | None = None
        self._last_sent: float | None = None
        self._packed: dict[str, tuple[Intent, Packed]] = {}

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
        self._limited_risk = trader.isLimitedRisk
        self._leverage = trader.leverageInCents / 100
        account_id = self._access.account_id
        self._catalogue = Catalogue(self._session, account_id, self._cache, self._clock)
        self._prices = Prices(self._session, account_id, self._catalogue, self._clock)
        self._history = History(self._session, account_id, self._catalogue, self._clock, self._money_digits)
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
        return [translate.placed(one) for one in views if not one.protection]

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
        self._packed = {}
        for intent in intents:
            light = self._catalogue.known(intent.symbol)
            message = self._message(Leg(intent), light.symbol_id if light is not None else None)
            depends = isinstance(intent, OpenIntent) and bool(intent.max_slippage_points)  # on the quote of its moment
            if message is not None and not depends:
                self._packed[intent.intent_id] = intent, packed(message)

    @property
    def version(self) -> int | None:
        if self._mirror is None or not self._mirror.holds:
            return None
        return self._mirror.changes + self._prices.changes

    def disarm(self) -> None:
        if self._mirror is not None:
            self._mirror.close()
        if self._live is not None:
            self._live.close()
        self._mirror = self._live = None
        self._packed = {}

    @property
    def last_sent(self) -> float | None:
        return self._last_sent

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        if self._data_only:
            raise BrokerError("this connection is for data only")
        return await self._execute(intents, gate)

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

    async def _execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        """All legs in one burst; see ``burst``. An entry whose stop is triggered otherwise is amended once filled."""
        ids = {}
        for symbol in {intent.symbol for intent in intents}:
            ids[symbol] = await self._catalogue.id_of(symbol)
        limited = [one.symbol for one in intents if isinstance(one, OpenIntent) and one.max_slippage_points]
        if limited:
            await self._prices.quotes(sorted(set(limited)))
        gone = await self._known_gone(intents)
        since = self._clock.now() - LOOK_BACK_S
        refused = self._clock_reason()

        def guarded(entry: OpenIntent) -> str | None:
            return refused or gate(entry)

        burst = self._burst(ids, since, guarded)
        if self._mirror is not None:
            self._mirror.holds = False  # from here on the account is what the answers say
        legs = await burst.run(intents, gone)
        self._last_sent = burst.last_sent or self._last_sent
        self._gone |= {leg.intent.position_id for leg in legs if isinstance(leg.intent, CloseIntent) and leg.confirmed}
        triggers = [one for leg in legs if (one := _trigger_amendment(leg)) is not None]
        if triggers:
            await self._burst(ids, since, guarded).run(triggers, frozenset())
        return [leg.ack or Ack(leg.intent.intent_id, "UNKNOWN") for leg in legs]

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
            rate, direction = rates[light.quote], translate.direction_of(trade.tradeSide)
            if rate is None:
                return None
            price = quote.bid if direction > 0 else quote.ask
            gross += round((price - one.price) * direction * trade.volume / 100 * rate, self._money_digits)
        return await self._account_of(mirror.balance, mirror.positions.values(), gross)

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
                        translate.optional(one, "stopLoss") or None,
                        translate.optional(one, "takeProfit") or None,
                    )
                    for one in held.position
                },
            )

        def prepare(leg: Leg) -> Any:
            return self._message(leg, ids[leg.intent.symbol])

        return Burst(self._session, prepare, ask, self._catalogue.known_name, self._money_digits, gate)

    def _message(self, leg: Leg, symbol_id: int | None) -> Any:
        """The request of a leg; one that cannot be made fails the leg."""
        intent, account_id = leg.intent, self._access.account_id
        leg.quote = None if symbol_id is None else self._prices.newest(symbol_id)
        known = self._packed.get(intent.intent_id)
        if known is not None and known[0] == intent:
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
