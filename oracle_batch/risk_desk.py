"""Where an account stands against its limits, and which of its positions must go: the step that tick and guard share.

What is found is put into the desk: anchors and pauses into the account's memory, a pending emergency close into the
books of each model whose position must go (``unattended`` and ``plan`` carry those out), events into the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from dataclasses import replace as with_

from msgspec.structs import replace

from oracle_batch.broker.base import Position, Quote
from oracle_batch.config.risk_files import limit_rules, news_calendar
from oracle_batch.desk import Desk
from oracle_batch.errors import BrokerError, DataError
from oracle_batch.hands import rules_time, rules_trades
from oracle_batch.hands.anchors import (
    AccountMoney,
    Anchors,
    Booking,
    History,
    LimitEvent,
    account_money,
    paused,
    start,
)
from oracle_batch.hands.books import PendingClose
from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.currencies import currencies_of
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.limits import Assessment, OpenRisk, assess, budget
from oracle_batch.hands.money import have
from oracle_batch.hands.news import NewsCalendar
from oracle_batch.hands.open_risk import position_risk
from oracle_batch.hands.protection import Terms
from oracle_batch.hands.refusal import Number, Refusal
from oracle_batch.hands.reset_days import last_reset
from oracle_batch.hands.roll import roll
from oracle_batch.recover import ACCOUNT_PAUSED
from oracle_batch.store.records import Event
from oracle_batch.types import model_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Market:
    """What the broker tells of some symbols now; a symbol that it does not tell of is absent."""

    terms: Mapping[str, Terms]
    quotes: Mapping[str, Quote]
    schedules: Mapping[str, Schedule]


@dataclass(frozen=True, slots=True)
class RiskView:
    """An account at one instant.

    ``must_close`` are our positions that must go, by id, with the reason. ``loss_budget`` is what entries may still
    lose, in account currency (infinite: no limit); ``closing_costs`` what closing everything would cost.
    ``explained``: it is known whether trades or cash have moved the balance.
    """

    now: float
    rules: LimitRules
    anchors: Anchors
    money: AccountMoney
    open_risk: OpenRisk
    assessment: Assessment
    market: Market
    news: NewsCalendar | None
    must_close: Mapping[int, Refusal]
    explained: bool = True

    @property
    def loss_budget(self) -> float:
        left = budget(self.anchors, self.rules, self.money, self.open_risk)
        return float("inf") if left is None else self._money(left)

    @property
    def closing_costs(self) -> float:
        return self._money(sum(position.closing_cost for position in self.open_risk.positions))

    @property
    def entries(self) -> Refusal | None:
        """Why no entry may be sent at all, None while they may."""
        found = self.assessment
        if found.reason is None and not self.explained:
            return Refusal("UNKNOWN_LOSS_BUDGET", {"balance": self._money(self.money.balance)})
        if found.reason is None:
            return None
        numbers: dict[str, Number] = {"equity": self._money(found.equity), "stopped": self._money(found.stopped_equity)}
        for state in found.states:
            if state.line.limit == found.limit:
                numbers |= {"used_pct": state.used_pct, "possible_pct": state.possible_pct}
                numbers |= {"floor": self._money(state.line.floor)}
        if self.anchors.pause is not None:
            numbers |= {"limit": self.anchors.pause.limit, "until": self.anchors.pause.until}
        return Refusal(found.reason, numbers)

    def _money(self, minor: int) -> float:
        return float(minor / 10**self.money.money_digits)


async def assess_account(desk: Desk, now: float, symbols: Collection[str] = ()) -> RiskView:
    """Look at an open and recovered account; ``symbols`` are asked for beside those of its positions.

    Raises:
        ConfigError: the account's own limits cannot be read.
        BrokerError: the broker does not answer.
    """
    rules = limit_rules(desk.settings.risk, desk.workspace.home)
    money = account_money(desk.account.balance, desk.account.equity, desk.account.money_digits)
    anchors, explained = await _rolled(desk, rules, money, now)
    market = await _market(desk, {position.symbol for position in desk.positions} | set(symbols))
    risk = _open_risk(desk, market, money.money_digits)
    assessment = assess(anchors, rules, money, risk)
    if assessment.close_ours and assessment.limit is not None:
        before, anchors = anchors, paused(anchors, assessment.limit, rules, now)
        if anchors.pause is not None and anchors.pause != before.pause:
            _tell_pause(desk, anchors, assessment, money.money_digits)
    desk.remember(replace(desk.executor.risk, anchors=anchors))
    view = RiskView(now, rules, anchors, money, risk, assessment, market, _news(desk), {}, explained)
    view = _with_must_close(desk, view, now)
    _book_closes(desk, view, now)
    desk.view = view
    return view


# anchors


async def _rolled(desk: Desk, rules: LimitRules, money: AccountMoney, now: float) -> tuple[Anchors, bool]:
    """The anchors as of now, and whether it is known what has moved the balance."""
    explained, memory, wanted = True, desk.executor.risk, desk.settings.risk.initial_balance
    events: tuple[LimitEvent, ...]
    if memory.anchors is None:
        initial = have(wanted, money.money_digits) if wanted else money.balance
        history = await _history(desk, last_reset(rules.day, now)[1], money.money_digits)
        anchors, events = start(rules, now, money, initial, history)
    else:
        history, before = None, memory.anchors
        day_start = last_reset(rules.day, now)[1]
        moved = money.balance != before.last_seen.balance
        other_day = day_start > before.day_start or before.reset != str(rules.day)
        if moved or other_day or before.balance_source == "estimated":
            history = await _history(desk, min(day_start, before.last_seen.time), money.money_digits)
        anchors, events = roll(before, rules, now, money, history)
        if moved and history is None:
            # The next look must see the same difference, and ask again.
            explained = False
            anchors = replace(anchors, last_seen=replace(anchors.last_seen, balance=before.last_seen.balance))
        if wanted and wanted != memory.initial_balance:
            anchors = replace(anchors, initial_balance=have(wanted, money.money_digits))
            desk.before_send.append(Event("initial_balance", None, {"before": memory.initial_balance, "now": wanted}))
    pause = desk.recovery.pause
    if pause is not None and anchors.pause is None and (pause.until is None or pause.until > now):
        anchors = replace(anchors, pause=pause)
    desk.remember(replace(memory, anchors=anchors, initial_balance=wanted))
    for event in events:
        _log.info("account %s: %s %s", desk.name, event.code, event.numbers)
        desk.before_send.append(Event(event.code.lower(), None, {"time": event.time, **event.numbers}))
    return anchors, explained


async def _history(desk: Desk, since: float, money_digits: int) -> History | None:
    """What moved the balance since an instant; None where the broker does not tell: anchors are the stricter guess."""
    try:
        deals, flows = await desk.broker.deals(since), await desk.broker.cash_flows(since)
    except BrokerError as error:
        _log.warning("account %s: deals and cash flows since %.0f cannot be had: %s", desk.name, since, error)
        return None
    results = [Booking(deal.time, _minor(deal.profit + deal.swap - deal.commission, money_digits)) for deal in deals]
    results += [Booking(one.time, _minor(one.amount, money_digits)) for one in flows if one.kind == "other"]
    cash = [Booking(one.time, _minor(one.amount, money_digits)) for one in flows if one.kind != "other"]
    return History(since, tuple(sorted(results, key=lambda one: one.time)), tuple(cash))


def _minor(amount: float, money_digits: int) -> int:
    return round(amount * float(10**money_digits))


# what the broker tells


async def _market(desk: Desk, symbols: Collection[str]) -> Market:
    names = sorted(symbols)
    if not names:
        return Market({}, {}, {})
    rules = desk.settings.risk
    breaks = rules.no_entry_before_break_min or rules.flat_before_break_min
    return Market(
        await desk.broker.terms(names),
        await desk.broker.quotes(names),
        await desk.broker.schedules(names) if breaks else {},
    )


def _news(desk: Desk) -> NewsCalendar | None:
    try:
        return news_calendar(desk.settings.risk, desk.workspace.home)
    except DataError as error:
        _log.error("account %s: no calendar of news: %s", desk.name, error)
        return None


def _open_risk(desk: Desk, market: Market, money_digits: int) -> OpenRisk:
    found = []
    for position in desk.positions:
        name = model_of(position.label)
        watch = desk.books(name).watch if name is not None else None
        trigger = watch.upkeep.stop_trigger_method if watch is not None else "trade"
        found.append(
            position_risk(
                position,
                market.terms.get(position.symbol),
                market.quotes.get(position.symbol),
                money_digits,
                ours=name is not None,
                trigger=trigger,
            )
        )
    return OpenRisk(tuple(found))


# what must go


def _with_must_close(desk: Desk, view: RiskView, now: float) -> RiskView:
    rules, everything = desk.settings.risk, None
    if view.assessment.close_ours:
        everything = view.entries
    initial = view.anchors.initial_balance / 10**view.money.money_digits
    target = rules_trades.profit_target(rules, desk.account.equity, view.closing_costs, initial)
    if target is not None and target.code == "PROFIT_TARGET":
        everything = everything or target
        if desk.executor.risk.target_reached is None:
            desk.remember(replace(desk.executor.risk, target_reached=now))
            desk.before_send.append(Event("profit_target", None, dict(target.numbers)))
            _log.warning("account %s: the profit target is reached; it pauses until `risk reset`", desk.name)
    found = {}
    for position in desk.positions:
        if model_of(position.label) is None:
            continue
        reason = everything or _flat_before(desk, view, position, now)
        if reason is not None:
            found[position.position_id] = reason
    return with_(view, must_close=found)


def _flat_before(desk: Desk, view: RiskView, position: Position, now: float) -> Refusal | None:
    """Why a position must go before a break of its market, or before news."""
    rules, terms = desk.settings.risk, view.market.terms.get(position.symbol)
    currencies = currencies_of(terms.spec, rules.symbol_currencies) if terms is not None else None
    return rules_time.flat_before_break(
        rules, view.market.schedules.get(position.symbol), now
    ) or rules_time.flat_before_news(rules, view.news, currencies, now)


def _book_closes(desk: Desk, view: RiskView, now: float) -> None:
    """Give each position that must go a pending emergency close, which whoever acts on its model carries out."""
    for position in desk.positions:
        reason, name = view.must_close.get(position.position_id), model_of(position.label)
        if reason is None or name is None:
            continue
        desk.causes[position.position_id] = reason.code
        pending = desk.books(name).pending_close
        if pending is None or pending.cause == "signal" or pending.position_id != position.position_id:
            desk.book(
                name, replace(desk.books(name), pending_close=PendingClose(position.position_id, now, "emergency"))
            )
            detail = {"position_id": position.position_id, "code": reason.code, **reason.numbers}
            desk.before_send.append(Event("emergency_close", name, detail))
            _log.warning("account %s: closing position %d: %s", desk.name, position.position_id, reason.code)


def _tell_pause(desk: Desk, anchors: Anchors, found: Assessment, money_digits: int) -> None:
    pause = anchors.pause
    assert pause is not None
    unit = 10**money_digits
    detail: dict[str, Number] = {"limit": pause.limit, "since": pause.since, "until": pause.until, "level": found.level}
    detail |= {"equity": found.equity / unit, "stopped": found.stopped_equity / unit}
    for state in found.states:
        if state.line.limit == found.limit:
            detail |= {"flatten_at": state.line.flatten_at / unit, "floor": state.line.floor / unit}
    desk.before_send.append(Event(ACCOUNT_PAUSED, None, dict(detail)))
    how = "the next reset" if pause.until is not None else "`oracle-batch risk reset`"
    _log.error("account %s: %s; our positions are closed, no entries until %s", desk.name, found.reason, how)
