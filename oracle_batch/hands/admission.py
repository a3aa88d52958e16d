"""Admission: entries are judged one after another, and each accepted one reserves what it takes (DESIGN §6).

So twenty entries that pass alone cannot breach together. An unconfirmed close frees nothing, with one exception: the
opening leg of a reversal leaves only after the confirmed close of its own position, so it may take over what that
position holds. For everybody else the larger of the two stays reserved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from oracle_batch.hands.exposure import ANY_CURRENCY, Claim, Key, amount, exposures
from oracle_batch.hands.refusal import DUST, Code, Number, Refusal
from oracle_batch.hands.rules_trades import REQUESTS_SHARE

if TYPE_CHECKING:
    from oracle_batch.config.rules import EntryRules

_SLOTS, _TRADES, _REQUESTS = Key("slots"), Key("trades"), Key("requests")
_MARGIN, _LOSS = Key("margin"), Key("loss")

_EXPOSURES: Final = frozenset({"symbol", "symbol_gross", "currency", "currency_gross"})
_CODES: Final[dict[str, tuple[Code, Code]]] = {
    "slots": ("MAX_OPEN_POSITIONS", "MAX_OPEN_POSITIONS"),
    "trades": ("MAX_TRADES_DAY", "MAX_TRADES_DAY"),
    "requests": ("TRADE_REQUESTS_DAY", "TRADE_REQUESTS_DAY"),
    "margin": ("FREE_MARGIN", "UNKNOWN_MARGIN"),
    "loss": ("LOSS_BUDGET", "UNKNOWN_POSSIBLE_LOSS"),
    "symbol": ("EXPOSURE_SYMBOL", "UNKNOWN_EXPOSURE"),
    "symbol_gross": ("EXPOSURE_SYMBOL_GROSS", "UNKNOWN_EXPOSURE"),
    "currency": ("EXPOSURE_CURRENCY", "UNKNOWN_EXPOSURE"),
    "currency_gross": ("EXPOSURE_CURRENCY_GROSS", "UNKNOWN_EXPOSURE"),
}
"""Of each kind: the code when its limit would be passed, and when a quantity of it is unknown."""


class BookState(msgspec.Struct, frozen=True, kw_only=True):
    """An account before its entries are judged. Money in account currency; None is unknown.

    ``held`` is every open position by id, also foreign ones and those that are being closed; they are inside
    ``free_margin`` and ``loss_budget`` already. ``in_flight`` are entries whose outcome is unknown; they are in
    neither. ``loss_budget`` is what may still be lost before a limit (infinite: no limit). ``requests_today``
    includes the closes that are about to be sent.
    """

    held: Mapping[int, Claim]
    in_flight: tuple[Claim, ...]
    equity: float | None
    free_margin: float | None
    loss_budget: float | None
    trades_today: int
    requests_today: int


class EntryCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """One model's wish to enter. ``replaces`` is its own position, whose confirmed close releases the entry.

    ``refusal`` is what the rules said of it by itself; a refused one reserves nothing. ``requests`` is how many trade
    requests the entry takes (two where its protection is amended after the fill).
    """

    model: str
    priority: int
    claim: Claim
    replaces: int | None = None
    refusal: Refusal | None = None
    requests: int = 1


class Verdict(msgspec.Struct, frozen=True):
    """What became of a candidate."""

    model: str
    refusal: Refusal | None

    @property
    def admitted(self) -> bool:
        return self.refusal is None


class Ledger(msgspec.Struct, frozen=True):
    """What is taken of each limited thing, held and reserved; NaN is unknown. ``held`` can still be replaced.

    What has no limit (infinite) is not counted.
    """

    limits: Mapping[str, float]
    taken: Mapping[Key, float]
    held: Mapping[int, Claim]

    @classmethod
    def of(cls, state: BookState, rules: EntryRules) -> Ledger:
        """The ledger before the first candidate: open positions, and entries that may have been filled."""
        limits = {kind: limit for kind, limit in _limits(state, rules).items() if limit != math.inf}
        taken: dict[Key, float] = {_TRADES: state.trades_today, _REQUESTS: state.requests_today}
        for claim in state.held.values():
            _add(taken, {key: value for key, value in _needs(claim, limits).items() if key not in (_MARGIN, _LOSS)})
        for claim in state.in_flight:
            _add(taken, _needs(claim, limits))
        return cls(limits, taken, dict(state.held))

    def judge(self, candidate: EntryCandidate) -> tuple[Verdict, Ledger]:
        """A verdict, and the ledger for the next candidate."""
        if candidate.refusal is not None:
            return Verdict(candidate.model, candidate.refusal), self
        needed = _needs(candidate.claim, self.limits)
        if "trades" in self.limits:
            needed[_TRADES] = 1.0
        if "requests" in self.limits:
            needed[_REQUESTS] = candidate.requests
        own = self.held.get(candidate.replaces) if candidate.replaces is not None else None
        freed = {} if own is None else {key: _whole(value) for key, value in _needs(own, self.limits).items()}
        for key, value in needed.items():
            refusal = self._refusal(key, value, freed.get(key, 0.0))
            if refusal is not None:
                return Verdict(candidate.model, refusal), self
        taken, held = dict(self.taken), self.held
        if own is None:
            _add(taken, needed)
        else:
            _add(taken, {key: max(0.0, value - freed.get(key, 0.0)) for key, value in needed.items()})
            held = {position: claim for position, claim in held.items() if position != candidate.replaces}
        return Verdict(candidate.model, None), Ledger(self.limits, taken, held)

    def _refusal(self, key: Key, needed: float, freed: float) -> Refusal | None:
        limit = self.limits[key.kind]
        taken = self.taken.get(key, 0.0)
        if key.kind in ("currency", "currency_gross"):
            taken += self.taken.get(Key(key.kind, ANY_CURRENCY), 0.0)
        if taken - freed + needed <= limit + DUST:
            return None
        seen = {"taken": taken, "freed": freed, "needed": needed, "limit": limit}
        numbers: dict[str, Number] = {name: value if math.isfinite(value) else None for name, value in seen.items()}
        if key.name:
            numbers |= {"name": key.name, "side": key.side}
        if key.kind == "loss" and numbers["limit"] is None:
            return Refusal("UNKNOWN_LOSS_BUDGET", numbers)
        exceeded, unknown = _CODES[key.kind]
        return Refusal(unknown if None in numbers.values() else exceeded, numbers)


def admit(candidates: Iterable[EntryCandidate], state: BookState, rules: EntryRules) -> list[Verdict]:
    """Verdicts in the order of judgement: ``priority``, then model id. A model has one candidate at most.

    Raises:
        ValueError: a model has two.
    """
    ordered = sorted(candidates, key=lambda one: (one.priority, one.model))
    if len({one.model for one in ordered}) < len(ordered):
        raise ValueError("a model has two candidates")
    ledger = Ledger.of(state, rules)
    verdicts = []
    for candidate in ordered:
        verdict, ledger = ledger.judge(candidate)
        verdicts.append(verdict)
    return verdicts


def _limits(state: BookState, rules: EntryRules) -> dict[str, float]:
    """The limit of each kind; infinite: off, NaN: unknown."""
    limits = {
        "slots": rules.max_open_positions,
        "trades": rules.max_trades_per_day,
        "requests": REQUESTS_SHARE * rules.max_trade_requests_day,
        "symbol": rules.max_symbol_exposure,
        "symbol_gross": rules.max_symbol_exposure_gross,
        "currency": rules.max_currency_exposure,
        "currency_gross": rules.max_currency_exposure_gross,
    }
    on = {kind: float(limit) or math.inf for kind, limit in limits.items()}
    return on | {
        "margin": _free_margin(state, rules),
        "loss": math.nan if state.loss_budget is None else state.loss_budget,
    }


def _free_margin(state: BookState, rules: EntryRules) -> float:
    """What entries may take: the broker's free margin less the share of equity that must stay free."""
    if state.free_margin is None or not math.isfinite(state.free_margin):
        return math.nan
    if not rules.min_free_margin_pct:
        return state.free_margin
    if state.equity is None or not math.isfinite(state.equity):
        return math.nan
    return state.free_margin - state.equity * rules.min_free_margin_pct / 100


def _needs(claim: Claim, limits: Mapping[str, float]) -> dict[Key, float]:
    """What a position takes of everything that is limited."""
    needs: dict[Key, float] = {}
    if "slots" in limits:
        needs[_SLOTS] = 1.0
    if "margin" in limits:
        needs[_MARGIN] = amount(claim.margin)
    if "loss" in limits:
        needs[_LOSS] = amount(claim.possible_loss)
    if not _EXPOSURES.isdisjoint(limits):
        needs |= {key: value for key, value in exposures(claim) if key.kind in limits}
    return needs


def _whole(value: float) -> float:
    """What a position of ours frees: nothing where that is unknown."""
    return 0.0 if math.isnan(value) else value


def _add(taken: dict[Key, float], more: Mapping[Key, float]) -> None:
    for key, value in more.items():
        taken[key] = taken.get(key, 0.0) + value
