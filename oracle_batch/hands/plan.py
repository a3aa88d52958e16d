"""From signals and books to legs: what each model does on this bar, and why it may not (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from oracle_batch.broker.base import Account, CloseCause, CloseIntent, OpenIntent, Position, SymbolSpec
from oracle_batch.hands import sync, watch
from oracle_batch.hands.books import Decision, ModelBooks, PendingClose, Waiting
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.refusal import Number, Refusal
from oracle_batch.hands.sizing import VolumeRefusedError, volume_cents
from oracle_batch.hands.texts import order_comment
from oracle_batch.types import ACTIONS, label_of

if TYPE_CHECKING:
    from oracle_batch.config import SymbolSettings, TickSettings


class Candidate(msgspec.Struct, frozen=True):
    """One model's wish on one bar, with all that is known about fulfilling it.

    ``edge``: the action differs from that of the model's previous bar. ``real_intensity`` goes with ``position`` (0
    when flat); ``close_time`` is the bar's close, Unix seconds; ``virtual_pnl`` the floating profit that the
    observation saw; ``sized`` the volume and protection of what is wished, None for the fixed lots without any.
    """

    model: str
    broker_symbol: str
    bar_time: int
    close_time: int
    entry_deadline_s: int
    action: int
    edge: bool
    hmm_state: int
    virtual_pnl: float
    settings: SymbolSettings
    spec: SymbolSpec | None
    books: ModelBooks
    position: Position | None
    real_intensity: int
    sized: Sized | Refusal | None = None


class ModelPlan(msgspec.Struct, frozen=True):
    """What one model does. ``refusal`` is the reason code of an entry that is not even sent, ``numbers`` what it saw.

    ``waiting`` is what the model waits for when the legs go as wished; ``relabel`` keeps the position and gives it
    this intensity in the books alone. ``upkeep`` is how the entry's position is to be looked after; ``pending`` a close
    that is put off.
    """

    model: str
    bar_time: int
    action: int
    decision: Decision
    waiting: Waiting | None
    close: CloseIntent | None = None
    entry: OpenIntent | None = None
    refusal: str | None = None
    relabel: int | None = None
    numbers: Mapping[str, Number] = {}
    upkeep: watch.Upkeep | None = None
    pending: PendingClose | None = None


class Standing(msgspec.Struct, frozen=True):
    """A decision of which some legs are out: a later run of the same bar carries this one out, whatever it would say.

    ``action`` indexes ``types.ACTIONS``.
    """

    bar_time: int
    action: int
    edge: bool


def intent_id(model: str, bar_time: int, leg: int) -> str:
    """``ob-{model}-{bar_time}-{n}``, the same for the same leg in every run: 0 closes, 1 opens.

    2 closes without a signal; its time is that of the decision.
    """
    return f"ob-{model}-{bar_time}-{leg}"


def plan(
    candidates: Sequence[Candidate],
    held: Sequence[Position],
    account: Account,
    rules: TickSettings,
    *,
    now: float,
    paused: bool,
) -> list[ModelPlan]:
    """Plans in the order in which entries are judged: by priority, then model id.

    ``held`` are all open positions that carry a label of ours. An unconfirmed close frees nothing.
    """
    exposed = [(position.symbol, position.direction, position.label) for position in held]
    plans = []
    for candidate in sorted(candidates, key=lambda one: (one.settings.priority, one.model)):
        one = _plan_model(candidate, account, rules, now=now, paused=paused)
        if one.entry is not None and rules.same_symbol == "no_opposite":
            entry = one.entry
            if any(
                symbol == entry.symbol and direction == -entry.direction and label != entry.label
                for symbol, direction, label in exposed
            ):
                one = _refused(one, "OPPOSITE_SAME_SYMBOL", entry.direction)
            else:
                exposed.append((entry.symbol, entry.direction, entry.label))
        plans.append(one)
    return plans


def _plan_model(candidate: Candidate, account: Account, rules: TickSettings, *, now: float, paused: bool) -> ModelPlan:
    desired = ACTIONS[candidate.action]
    position, pending = candidate.position, candidate.books.pending_close
    if (
        position is not None
        and position.direction == desired.direction
        and pending is not None
        and pending.position_id == position.position_id
        and pending.cause != "signal"
    ):
        leg = _close(candidate, position, now, pending.cause)
        waiting = Waiting(pending.cause, position.direction)
        return ModelPlan(candidate.model, candidate.bar_time, candidate.action, "CLOSE", waiting, leg)
    verdict = sync.decide(
        position.direction if position else 0,
        candidate.real_intensity,
        desired,
        edge=candidate.edge,
        waiting=candidate.books.waiting,
        enter_first=rules.first_signal == "enter" and candidate.books.last_bar == 0,
    )
    decided_at = _decided_at(candidate, now)
    head = (candidate.model, candidate.bar_time, candidate.action, verdict.decision)
    volume, refusal, numbers = _volume(candidate)
    if (
        verdict.decision == "CLOSE_OPEN"
        and position is not None
        and position.direction == desired.direction
        and position.volume_cents == volume
        and rules.same_volume == "hold"
    ):
        return ModelPlan(*head, verdict.waiting, relabel=desired.intensity)
    close = None
    if verdict.decision in ("CLOSE", "CLOSE_OPEN") and position is not None:
        close = _close(candidate, position, decided_at)
    if verdict.decision not in ("OPEN", "CLOSE_OPEN"):
        return ModelPlan(*head, verdict.waiting, close)
    prior = _refusal(candidate, now=now, paused=paused)
    if prior is not None or refusal is not None:
        missed = Waiting("missed", desired.direction)
        return ModelPlan(*head, missed, close, None, prior or refusal, numbers={} if prior is not None else numbers)
    found = candidate.sized if isinstance(candidate.sized, Sized) else None
    entry = _entry(candidate, account, volume, found, decided_at, close)
    keep = watch.upkeep(candidate.settings, found.share) if found is not None else None
    return ModelPlan(*head, verdict.waiting, close, entry, upkeep=keep)


def _entry(
    candidate: Candidate,
    account: Account,
    volume: int,
    found: Sized | None,
    decided_at: float,
    close: CloseIntent | None,
) -> OpenIntent:
    desired = ACTIONS[candidate.action]
    comment = order_comment(
        candidate.hmm_state,
        candidate.action,
        account.balance,
        max(0.0, (account.balance - account.equity) / account.balance * 100) if account.balance > 0 else 0.0,
        candidate.virtual_pnl,
    )
    return OpenIntent(
        intent_id(candidate.model, candidate.bar_time, 1),
        candidate.model,
        candidate.broker_symbol,
        desired.direction,
        desired.intensity,
        volume,
        label_of(candidate.model),
        comment,
        decided_at,
        candidate.close_time + candidate.entry_deadline_s,
        close.position_id if close is not None else None,
        found.distances.stop_relative or 0 if found is not None else 0,
        found.distances.target_relative or 0 if found is not None else 0,
        candidate.settings.max_slippage_points,
        candidate.settings.stop_trigger_method,
        close is not None and candidate.position is not None and candidate.position.direction == desired.direction,
    )


def _decided_at(candidate: Candidate, now: float) -> float:
    """The instant a decision belongs to: the bar's close for a tick in time, else now."""
    return candidate.close_time if now <= candidate.close_time + candidate.entry_deadline_s else now


def _volume(candidate: Candidate) -> tuple[int, str | None, Mapping[str, Number]]:
    """Volume in cents for the wished intensity; where there can be no entry, also the reason and its numbers.

    Without protection the fixed lots still tell whether the volume that is held would be the same.
    """
    intensity, found = ACTIONS[candidate.action].intensity, candidate.sized
    if not intensity:
        return 0, None, {}
    if candidate.spec is None:
        return 0, "UNKNOWN_SYMBOL", {}
    if isinstance(found, Sized):
        return found.volume_cents, None, {}
    lots = candidate.settings.lots(intensity)
    try:
        volume = volume_cents(lots, candidate.spec)
    except VolumeRefusedError as refusal:
        return 0, refusal.reason, {"lots": lots}
    return (volume, None, {}) if found is None else (volume, found.code, found.numbers)


def _refusal(candidate: Candidate, *, now: float, paused: bool) -> str | None:
    """Why an entry may not even be sent."""
    if not candidate.settings.enabled:
        return "DISABLED"
    if paused:
        return "PAUSED"
    if now > candidate.close_time + candidate.entry_deadline_s:
        return "LATE"
    return None


def _close(candidate: Candidate, position: Position, decided_at: float, cause: CloseCause = "signal") -> CloseIntent:
    return CloseIntent(
        intent_id(candidate.model, candidate.bar_time, 0),
        candidate.model,
        position.symbol,
        position.position_id,
        position.volume_cents,
        decided_at,
        cause,
    )


def _refused(result: ModelPlan, reason: str, direction: int) -> ModelPlan:
    return replace(result, entry=None, refusal=reason, waiting=Waiting("missed", direction))
