"""From wishes to entries: size and protection, then the rules, then admission one after another (DESIGN §6). Pure.

Whatever says no here refuses an entry alone: closes pass, but for an ordinary one that news defer, which stays pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from oracle_batch.broker.base import Quote
from oracle_batch.hands.across import OtherPosition, opposite_across_accounts
from oracle_batch.hands.admission import BookState, EntryCandidate, admit
from oracle_batch.hands.books import PendingClose, Waiting
from oracle_batch.hands.exposure import Claim
from oracle_batch.hands.open_risk import contract_value, is_sound
from oracle_batch.hands.plan import ModelPlan
from oracle_batch.hands.prices import exact
from oracle_batch.hands.protection import ProtectionRefused, ProtectionSettings, Sized, Terms, sized
from oracle_batch.hands.refusal import Number, Refusal
from oracle_batch.hands.rules import AccountFacts, EntryFacts, entry_refusal
from oracle_batch.types import ACTIONS

if TYPE_CHECKING:
    from oracle_batch.config.rules import EntryRules


class SizeSettings(ProtectionSettings, Protocol):
    """What the operator decided of a symbol's or model's volume, beside its protection."""

    @property
    def risk_per_trade_pct(self) -> float: ...

    def lots(self, intensity: int) -> float: ...


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One entry that a plan holds, and all that is known of it. None is unknown.

    ``loss`` is what its stop, or its spread where it has no stop, can cost with all commission and slippage; ``margin``
    what the broker would take for it, both in account currency.
    """

    plan: ModelPlan
    priority: int
    facts: EntryFacts
    value: float | None
    loss: float | None
    margin: float | None


def size(
    settings: SizeSettings,
    terms: Terms | None,
    quote: Quote | None,
    *,
    action: int,
    atr: float | None,
    balance: float,
    equity: float,
) -> Sized | Refusal:
    """Volume and protection of the entry that an action wishes for, or why there is none."""
    wished = ACTIONS[action]
    if terms is None:
        return Refusal("UNKNOWN_TERMS", {})
    if quote is None or not is_sound(quote):
        return Refusal("UNKNOWN_QUOTE", {"rule": "sl_usd"})
    found = sized(
        settings,
        terms,
        direction=wished.direction,
        lots=settings.lots(wished.intensity),
        risk_per_trade_pct=settings.risk_per_trade_pct,
        equity=equity,
        atr=atr,
        balance=balance,
        entry_price=quote.ask if wished.direction > 0 else quote.bid,
    )
    return Refusal(found.reason, dict(found.numbers)) if isinstance(found, ProtectionRefused) else found


def wish_of(
    plan: ModelPlan, found: Sized, terms: Terms, quote: Quote, facts: EntryFacts, margin: float | None, priority: int
) -> Wish:
    """A planned entry with what it takes of the account."""
    assert plan.entry is not None
    price = quote.ask if plan.entry.direction > 0 else quote.bid
    loss = None
    if terms.rate_known:
        commission, one = float(terms.commission(found.volume_cents)), terms.value_of_one(found.volume_cents)
        if found.distances.loss is not None:
            loss = found.distances.loss + commission / 2 + float(exact(terms.slippage) * one)
        else:
            loss = float((exact(terms.spread) + exact(terms.slippage) * 2) * one) + commission
    value = contract_value(found.volume_cents, price, terms)
    return Wish(plan=plan, priority=priority, facts=facts, value=value, loss=loss, margin=margin)


def judged(
    wishes: Iterable[Wish],
    rules: EntryRules,
    account: AccountFacts,
    state: BookState,
    whole: Refusal | None,
    others: Sequence[OtherPosition] | None,
    now: float,
) -> dict[str, Refusal]:
    """The refusals, by model. ``whole`` refuses every entry of the account; ``others`` are one's other accounts'."""
    candidates = []
    for wish in wishes:
        entry, facts = wish.plan.entry, wish.facts
        assert entry is not None
        refusal = (
            whole
            or entry_refusal(rules, account, facts, now)
            or opposite_across_accounts(rules, entry.symbol, entry.direction, others)
        )
        claim = Claim(entry.symbol, entry.direction, wish.value, facts.currencies, wish.margin, wish.loss)
        candidates.append(
            EntryCandidate(
                model=entry.model,
                priority=wish.priority,
                claim=claim,
                replaces=entry.after_close,
                refusal=refusal,
            )
        )
    return {one.model: one.refusal for one in admit(candidates, state, rules) if one.refusal is not None}


def with_refusals(plans: Iterable[ModelPlan], refusals: Mapping[str, Refusal]) -> list[ModelPlan]:
    """The plans, without the entries that are refused."""
    return [
        refused(one, refusals[one.model].code, refusals[one.model].numbers)
        if one.entry is not None and one.model in refusals
        else one
        for one in plans
    ]


def refused(plan: ModelPlan, code: str, numbers: Mapping[str, Number]) -> ModelPlan:
    """A plan without its entry, which is missed from now on."""
    assert plan.entry is not None
    waiting = Waiting("missed", plan.entry.direction)
    return replace(plan, entry=None, upkeep=None, refusal=code, numbers=numbers, waiting=waiting)


def deferred(plan: ModelPlan, why: Refusal, now: float) -> ModelPlan:
    """A plan whose ordinary close waits: it stays pending, and what was to follow it is missed."""
    assert plan.close is not None
    direction = ACTIONS[plan.action].direction
    return replace(
        plan,
        close=None,
        entry=None,
        upkeep=None,
        refusal=why.code,
        numbers=why.numbers,
        waiting=Waiting("missed", direction) if direction else None,
        pending=PendingClose(plan.close.position_id, now, "signal"),
    )
