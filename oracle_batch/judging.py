"""Which of an account's proposed entries the rules let pass, and the legs that are then journalled and sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from msgspec.structs import replace as with_

from oracle_batch.broker.base import CloseIntent, Quote
from oracle_batch.config import AccountSettings
from oracle_batch.desk import Desk
from oracle_batch.hands import entries, texts
from oracle_batch.hands.across import OtherPosition
from oracle_batch.hands.admission import BookState
from oracle_batch.hands.currencies import currencies_of
from oracle_batch.hands.open_risk import held_claims
from oracle_batch.hands.outcome import legs_of
from oracle_batch.hands.plan import Candidate, ModelPlan
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.refusal import REMEDY, Refusal
from oracle_batch.hands.rules import AccountFacts, EntryFacts
from oracle_batch.hands.spreads import SpreadWindow, spread_pips
from oracle_batch.hands.trade_log import counts_on
from oracle_batch.planning import Proposal
from oracle_batch.recover import plan_event
from oracle_batch.risk_desk import RiskView
from oracle_batch.store.records import Event, Signal
from oracle_batch.think import Thought


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
