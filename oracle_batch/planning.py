"""What each model of an account would do on its newest bar: candidates, and the plans that are made of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace as with_

from oracle_batch.bars import Bars
from oracle_batch.broker.base import Position
from oracle_batch.config import SymbolSettings
from oracle_batch.desk import Desk
from oracle_batch.endings import put_off
from oracle_batch.errors import BrokerError, OracleBatchError, StateError
from oracle_batch.hands import entries, ledger, sync
from oracle_batch.hands.atr import atr
from oracle_batch.hands.books import ModelBooks
from oracle_batch.hands.plan import Candidate, ModelPlan, plan
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.refusal import Refusal
from oracle_batch.recover import DECISION_REVISED
from oracle_batch.risk_desk import RiskView, assess_account
from oracle_batch.store.records import Event
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
        elif thought.bar_time > desk.books(name).last_bar and (not _is_silent(thought) or _stands(desk, thought)):
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


def _is_silent(thought: Thought) -> bool:
    """Whether the newest bar was consumed by a warm-up."""
    return thought.bar_time <= thought.twin.warmed_to


def _stands(desk: Desk, thought: Thought) -> bool:
    """Whether the newest bar's decision is on its way: then it is carried out, whatever warmed the twin up since."""
    standing = desk.recovery.standing.get(thought.model.model_id)
    return standing is not None and standing.bar_time == thought.bar_time


async def _assessed(desk: Desk, symbols: set[str], now: float) -> RiskView | None:
    try:
        return await assess_account(desk, now, symbols)
    except BrokerError as error:
        _log.error("account %s: where it stands cannot be known, no entries: %s", desk.name, error)
        return None


def _deferred(desk: Desk, one: ModelPlan, now: float) -> ModelPlan:
    """A plan, its ordinary close put off where news say so."""
    if one.close is None:
        return one
    why = put_off(desk, one.close.symbol, one.close.cause, now)
    return one if why is None else entries.deferred(one, why, now)


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
    if _stands(desk, thought):
        standing = desk.recovery.standing[thought.model.model_id]
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
