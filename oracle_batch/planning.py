"""What each model of an account does on its newest bar: candidates, legs, and which entries the rules let pass."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec.structs import replace as with_

from oracle_batch.bars import Bars
from oracle_batch.broker.base import CloseIntent, Position, Quote
from oracle_batch.config import AccountSettings, SymbolSettings
from oracle_batch.desk import Desk
from oracle_batch.endings import put_off
from oracle_batch.errors import BrokerError, OracleBatchError, StateError
from oracle_batch.hands import entries, ledger, sync, texts
from oracle_batch.hands.across import OtherPosition
from oracle_batch.hands.admission import BookState
from oracle_batch.hands.atr import atr
from oracle_batch.hands.books import ModelBooks
from oracle_batch.hands.currencies import currencies_of
from oracle_batch.hands.open_risk import held_claims
from oracle_batch.hands.outcome import legs_of
from oracle_batch.hands.plan import Candidate, ModelPlan, plan
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.refusal import REMEDY, Refusal
from oracle_batch.hands.rules import AccountFacts, EntryFacts
from oracle_batch.hands.spreads import SpreadWindow, spread_pips
from oracle_batch.hands.trade_log import counts_on
from oracle_batch.recover import DECISION_REVISED, plan_event
from oracle_batch.risk_desk import RiskView, assess_account
from oracle_batch.store.records import Event, Signal
from oracle_batch.think import Thought
from oracle_batch.types import ACTIONS, LABEL_PREFIX, TIMEFRAME_SECONDS, label_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the models of an account would do, before its entries are judged. ``view`` is None where nobody knows."""

    plans: Sequence[ModelPlan]
    candidates: Mapping[str, Candidate]
    view: RiskView | None


async def propose(
    desk: Desk, thoughts: Mapping[str, Thought], windows: Mapping[str, Bars], now: float
) -> Proposal | None:
    """What each model would do on its newest bar; None where there is nothing to do. ``windows`` are their bars."""
    due = []
    unsure = {leg.model for leg in desk.recovery.unsure}
    acted = _acted_before(desk)
    for name, thought in thoughts.items():
        _count_revisions(desk, name, thought, acted.get(name, {}))
        if name in unsure:
            desk.leave_unsure(name, thought)
        elif thought.bar_time > max(desk.books(name).last_bar, thought.twin.warmed_to):
            due.append(thought)
    pending = any(one.pending_close is not None for one in desk.executor.models.values())
    if not due and not pending and not (desk.failed and desk.positions) and not (desk.opened or desk.recovery.pause):
        return None
    view = await _assessed(desk, {thought.model.broker_symbol for thought in due}, now)
    candidates = []
    for thought in due:
        try:
            candidates.append(_candidate(desk, thought, view, windows))
        except OracleBatchError as error:
            desk.fail(thought.model.model_id, error, thought)
    ours = [position for position in desk.positions if position.label.startswith(LABEL_PREFIX)]
    paused = desk.workspace.is_paused()
    plans = plan(candidates, ours, desk.account, desk.rules, now=now, paused=paused)
    plans = [_deferred(desk, one, now) for one in plans]
    return Proposal(plans, {one.model: one for one in candidates}, view)


async def judge(
    desk: Desk,
    proposal: Proposal,
    thoughts: Mapping[str, Thought],
    others: Sequence[OtherPosition] | None,
    now: float,
) -> None:
    """Let the rules judge the entries; the legs that are left are the desk's, to be journalled and sent.

    ``others`` is what one's other accounts hold, None where that is not known.
    """
    plans, view = proposal.plans, proposal.view
    if view is not None:
        refusals = await _refusals(desk, plans, proposal.candidates, view, others, now)
        _note_spreads(desk, proposal.candidates.values(), view)
    else:
        refusals = {one.model: Refusal("UNKNOWN_LOSS_BUDGET", {}) for one in plans if one.entry is not None}
    desk.plans = entries.with_refusals(plans, refusals)
    for one in desk.plans:
        _tell(desk, one, thoughts[one.model])


async def _assessed(desk: Desk, symbols: set[str], now: float) -> RiskView | None:
    try:
        return await assess_account(desk, now, symbols)
    except BrokerError as error:
        _log.error("account %s: where it stands cannot be known, no entries: %s", desk.name, error)
        return None


def _tell(desk: Desk, one: ModelPlan, thought: Thought) -> None:
    """The signal, and what is made of it, for the log and the journal."""
    wire = texts.signal_text(thought.model.symbol, one.action, thought.hmm_state, thought.virtual_pnl)
    desk.say(wire)
    desk.before_send.append(Signal(one.model, one.bar_time, one.action, thought.hmm_state, thought.virtual_pnl, wire))
    if one.refusal is not None:
        detail = {"bar_time": one.bar_time, "code": one.refusal, "numbers": dict(one.numbers)}
        desk.before_send.append(Event("refused", one.model, detail))
        hint = REMEDY.get(one.refusal)
        words = [one.refusal, *([str(dict(one.numbers))] if one.numbers else []), *([f"({hint})"] if hint else [])]
        desk.say(f"{one.model}: {one.decision} refused: {' '.join(words)}")
    if legs := legs_of(one):
        desk.before_send.append(plan_event(one))
        desk.intents += legs


# candidates


def _candidate(desk: Desk, thought: Thought, view: RiskView | None, windows: Mapping[str, Bars]) -> Candidate:
    model, name = thought.model, thought.model.model_id
    if name in desk.executor.damaged:
        raise desk.executor.damaged[name].error
    settings = desk.symbol_settings[name]
    if isinstance(settings, OracleBatchError):
        raise settings
    books = _outlasted(desk, thought)
    position, intensity = _real(desk, name, books)
    action, edge = _decision(desk, thought)
    return Candidate(
        name,
        model.broker_symbol,
        thought.bar_time,
        thought.bar_time + TIMEFRAME_SECONDS[model.timeframe],
        desk.rules.entry_deadline(model.timeframe),
        action,
        edge,
        thought.hmm_state,
        thought.virtual_pnl,
        settings,
        desk.specs.get(model.broker_symbol),
        books,
        position,
        intensity,
        _size(desk, thought, action, settings, view, windows),
    )


def _decision(desk: Desk, thought: Thought) -> tuple[int, bool]:
    """The action on the newest bar and whether it is an edge; a decision that is carried out in part stands."""
    standing = desk.recovery.standing.get(thought.model.model_id)
    if standing is not None and standing.bar_time == thought.bar_time:
        return standing.action, standing.edge
    return thought.action, thought.action != thought.before.last_action


def _size(
    desk: Desk,
    thought: Thought,
    action: int,
    settings: SymbolSettings,
    view: RiskView | None,
    windows: Mapping[str, Bars],
) -> Sized | Refusal | None:
    """Volume and protection of what a model wishes for; None where it wishes for nothing, or nothing can be known."""
    if not ACTIONS[action].intensity or view is None:
        return None
    symbol, bars = thought.model.broker_symbol, None
    if settings.sl_atr or settings.tp_atr:  # not looked at otherwise: an armed run has not put the newest bar in yet
        bars = windows.get(thought.model.model_id)
    return entries.size(
        settings,
        view.market.terms.get(symbol),
        view.market.quotes.get(symbol),
        action=action,
        atr=atr(bars, settings.atr_period) if bars is not None else None,
        balance=desk.account.balance,
        equity=desk.account.equity,
    )


def _outlasted(desk: Desk, thought: Thought) -> ModelBooks:
    """A model's books, without a waiting cause that ended on a bar which it consumed silently."""
    name, books = thought.model.model_id, desk.books(thought.model.model_id)
    seconds = TIMEFRAME_SECONDS[thought.model.timeframe]
    since = max(books.last_bar + seconds, desk.ended_at.get(name, 0.0))
    silent = [state.last_action for state in thought.past if state.bar_time + seconds > since]
    return with_(books, waiting=sync.outlasted(books.waiting, silent))


def _real(desk: Desk, name: str, books: ModelBooks) -> tuple[Position | None, int]:
    label = label_of(name)
    mine = [position for position in desk.positions if position.label == label]
    if not mine:
        return None, 0
    if len(mine) > 1:
        ids = ", ".join(str(position.position_id) for position in mine)
        raise StateError(f"{name} holds several positions ({ids})", fix="close all but one by hand")
    intensity = ledger.real_intensity(mine[0], books)
    if intensity is None:
        raise StateError(
            f"the intensity of position {mine[0].position_id} of {name} is unknown: "
            f"its comment {mine[0].comment!r} does not say, nor do the books",
            fix="close the position by hand; the model waits for its next signal",
        )
    return mine[0], intensity


def _acted_before(desk: Desk) -> dict[str, dict[int, int]]:
    """What an interrupted run has acted upon: the action by bar, by model."""
    acted: dict[str, dict[int, int]] = {}
    for one in desk.recovery.concluded:
        acted.setdefault(one.model, {})[one.bar_time] = one.action
    for name, standing in desk.recovery.standing.items():
        acted.setdefault(name, {})[standing.bar_time] = standing.action
    return acted


def _count_revisions(desk: Desk, name: str, thought: Thought, acted: Mapping[int, int]) -> None:
    again = [thought.bar_time] if acted.get(thought.bar_time, thought.action) != thought.action else []
    for bar_time in dict.fromkeys((*thought.replaced, *again)):
        books = desk.books(name)
        if (name, bar_time) in desk.recovery.decisions_revised or (bar_time > books.last_bar and bar_time not in again):
            continue
        desk.book(name, with_(books, decisions_revised=books.decisions_revised + 1))
        desk.before_send.append(Event(DECISION_REVISED, name, {"bar_time": bar_time}))


# what the rules say


def _deferred(desk: Desk, one: ModelPlan, now: float) -> ModelPlan:
    """A plan, its ordinary close put off where news say so."""
    if one.close is None:
        return one
    why = put_off(desk, one.close.symbol, one.close.cause, now)
    return one if why is None else entries.deferred(one, why, now)


async def _refusals(
    desk: Desk,
    plans: Sequence[ModelPlan],
    candidates: Mapping[str, Candidate],
    view: RiskView,
    others: Sequence[OtherPosition] | None,
    now: float,
) -> dict[str, Refusal]:
    """Why entries of these plans are refused, by model."""
    planned = [(one, one.entry) for one in plans if one.entry is not None]
    if not planned:
        return {}
    rules, market, memory = desk.settings.risk, view.market, desk.executor.risk
    asked = [(position.symbol, position.direction, position.volume_cents) for position in desk.positions]
    asked += [(entry.symbol, entry.direction, entry.volume_cents) for _, entry in planned]
    margins = await desk.broker.margins(asked)
    held = {one.position_id: margin for one, margin in zip(desk.positions, margins, strict=False)}
    wishes = []
    for (one, entry), margin in zip(planned, margins[len(desk.positions) :], strict=True):
        found, terms = candidates[one.model].sized, market.terms.get(entry.symbol)
        quote = market.quotes.get(entry.symbol)
        if not isinstance(found, Sized) or terms is None or quote is None:
            continue  # not reached: an entry without a size was refused before
        facts = _entry_facts(desk, view, candidates[one.model], quote, now)
        wishes.append(entries.wish_of(one, found, terms, quote, facts, margin, candidates[one.model].settings.priority))
    counts = counts_on(memory.trades, view.anchors.day_start)
    closes = sum(one.close is not None for one in plans) + sum(isinstance(leg, CloseIntent) for leg in desk.intents)
    state = BookState(
        held=held_claims(desk.positions, market.terms, market.quotes, held, rules),
        in_flight=(),
        equity=desk.account.equity,
        free_margin=desk.account.free_margin,
        loss_budget=view.loss_budget,
        trades_today=counts.trades,
        requests_today=counts.requests + closes,
    )
    account = AccountFacts(
        live=is_live(desk.settings),
        log=memory.trades,
        equity=desk.account.equity,
        closing_costs=view.closing_costs,
        initial_balance=view.anchors.initial_balance / 10**view.money.money_digits,
        news=view.news,
    )
    return entries.judged(wishes, rules, account, state, _whole(desk, view), others, now)


def _whole(desk: Desk, view: RiskView) -> Refusal | None:
    """Why the account takes no entry at all."""
    reached = desk.executor.risk.target_reached
    if reached is not None:
        return Refusal("PROFIT_TARGET", {"since": reached, "equity": desk.account.equity})
    return view.entries


def _entry_facts(desk: Desk, view: RiskView, candidate: Candidate, quote: Quote, now: float) -> EntryFacts:
    symbol, spec = candidate.broker_symbol, candidate.spec
    if desk.settings.kind == "paper":  # a bar's price stands for as long as the bar does
        seconds = candidate.close_time - candidate.bar_time
        quote = replace(quote, time=max(quote.time, min(now, quote.time + seconds)))
    return EntryFacts(
        model=candidate.model,
        symbol=symbol,
        source=desk.feed,
        bar_close=candidate.close_time,
        quote=quote,
        digits=spec.digits if spec is not None else None,
        max_spread_pips=candidate.settings.max_spread_pips,
        spreads=desk.executor.risk.spreads.get(symbol, SpreadWindow()),
        currencies=currencies_of(spec, desk.settings.risk.symbol_currencies) if spec is not None else None,
        schedule=view.market.schedules.get(symbol),
    )


def _note_spreads(desk: Desk, candidates: Iterable[Candidate], view: RiskView) -> None:
    """Remember the spread of every symbol that had a bar."""
    spreads = dict(desk.executor.risk.spreads)
    for symbol in sorted({one.broker_symbol for one in candidates}):
        quote, spec = view.market.quotes.get(symbol), desk.specs.get(symbol)
        pips = spread_pips(quote, spec.digits) if quote is not None and spec is not None else None
        if pips is not None:
            spreads[symbol] = spreads.get(symbol, SpreadWindow()).with_spread(pips)
    if spreads != desk.executor.risk.spreads:
        desk.remember(with_(desk.executor.risk, spreads=spreads))


def is_live(settings: AccountSettings) -> bool:
    """Whether an account's money is real."""
    return settings.kind == "ctrader" and settings.ctrader.environment == "live"
