"""Watching over the protection of an open position: trailing, break-even, and stops that went missing (DESIGN §6).

What is watched is persisted; each step takes the broker's truth and a quote and returns the next watch, so that a
restart between any two steps changes nothing. One round is::

    watch = seen(watch, direction, stop, target, terms)              # what the broker holds, where it is no worse
    gap = missing_stop(watch, direction, stop, target, quote, terms) # not there, or looser than it was
    watch, amend = maintain(watch, direction, entry, volume, quote, terms)

The watch that ``maintain`` returns counts on its amendment. It may be stored before the answer is known: if the broker
refused it, the next round finds the stop looser than the watch says, and asks again or closes.

We move the stop ourselves, by amendments that carry both sides (amending the stop alone may clear the target) and the
trigger method. The broker's own trailing flag stays off: it has no distance field and trails the distance that the stop
has when it is set, so whoever turns it on sets that distance first.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from oracle_batch.broker.base import Quote
from oracle_batch.hands.prices import distance, down, exact, up
from oracle_batch.hands.protection import OPPOSITE, Distances, ProtectionSettings, StopTrigger, Terms


class Upkeep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters in force when a position was opened. Account currency; 0 means none."""

    trailing_usd: float = 0.0
    breakeven_usd: float = 0.0
    trail_step_usd: float = 0.0
    stop_trigger_method: StopTrigger = "trade"


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Protection of one open position, as it should be at the broker.

    ``stop_loss`` and ``take_profit`` are absolute prices on the grid, None where there is none; ``best_price`` is the
    best quote that the position could have left at so far; ``breakeven_done``: the stop has reached entry plus costs.
    """

    position_id: int
    stop_loss: float | None
    take_profit: float | None
    best_price: float
    breakeven_done: bool
    upkeep: Upkeep


@dataclass(frozen=True, slots=True)
class Amend:
    """New protection of a position; both sides and the trigger method are sent, changed or not."""

    position_id: int
    stop_loss: float | None
    take_profit: float | None
    stop_trigger_method: StopTrigger


@dataclass(frozen=True, slots=True)
class Unprotectable:
    """The stop that a position should have can no longer be set: the market is past it, or too near. Close and alert.

    ``at_broker`` is the looser stop that is still there, None when the position has no stop at all.
    """

    position_id: int
    stop_loss: float
    at_broker: float | None


def upkeep(settings: ProtectionSettings, share: float = 1.0) -> Upkeep:
    """The parameters of a new position; ``share`` is its volume as a share of the fixed lot's (``Sized.share``)."""
    return Upkeep(
        settings.trailing_usd * share,
        settings.breakeven_usd * share,
        settings.trail_step_usd * share,
        settings.stop_trigger_method,
    )


def begin(
    position_id: int, direction: int, entry_price: float, distances: Distances, terms: Terms, keep: Upkeep
) -> Watch:
    """The watch over a position that was just filled at a price, with the protection its order carried."""
    stop, target = distances.prices(direction, entry_price, terms.spec.digits)
    best = float(exact(entry_price) - direction * exact(terms.spread))
    return Watch(position_id, stop, target, best, breakeven_done=False, upkeep=keep)


def seen(watch: Watch, direction: int, stop: float | None, target: float | None, terms: Terms) -> Watch:
    """The watch after a look at the broker's position: a tighter stop, or another target, is taken over."""
    tighter = stop is not None and (
        watch.stop_loss is None or (exact(stop) - exact(watch.stop_loss)) * direction >= terms.step
    )
    moved = target is not None and (
        watch.take_profit is None or abs(exact(target) - exact(watch.take_profit)) >= terms.step
    )
    if not tighter and not moved:
        return watch
    return replace(
        watch,
        stop_loss=stop if tighter else watch.stop_loss,
        take_profit=target if moved else watch.take_profit,
    )


def missing_stop(
    watch: Watch, direction: int, stop: float | None, target: float | None, quote: Quote | None, terms: Terms
) -> Amend | Unprotectable | None:
    """What repairs a protection that is not at the broker, or a stop looser than it should be; None: all is there.

    ``stop`` and ``target`` are the broker's. A stop within one price step of ours is ours, since a broker may round a
    relative one otherwise. A target that the market has come too near to is put as near as the broker takes it.
    """
    wanted = watch.stop_loss
    stop_missing = wanted is not None and (stop is None or (exact(wanted) - exact(stop)) * direction > terms.step)
    target_missing = watch.take_profit is not None and target is None
    if not stop_missing and not target_missing:
        return None
    take_profit = watch.take_profit
    if quote is not None and _sound(quote):
        if (
            stop_missing
            and wanted is not None
            and (_nearest_stop(direction, quote, terms) - exact(wanted)) * direction < 0
        ):
            return Unprotectable(watch.position_id, wanted, stop)
        if target_missing and take_profit is not None:
            nearest = _nearest_target(direction, quote, terms)
            ahead = max if direction > 0 else min
            take_profit = float(ahead(exact(take_profit), nearest))
    kept = wanted if stop_missing or stop is None else stop
    return Amend(watch.position_id, kept, take_profit, watch.upkeep.stop_trigger_method)


def maintain(
    watch: Watch, direction: int, entry_price: float, volume_cents: int, quote: Quote, terms: Terms
) -> tuple[Watch, Amend | None]:
    """The next watch, and the amendment that moves the stop where it is worth one.

    Break-even: once the best quote has made ``breakeven_usd``, the stop goes to entry plus what closing there costs
    (commission of both sides, slippage; the spread is in the entry). If the market has fallen back through that level
    meanwhile, the move waits for it to return. Trailing: the stop stays ``trailing_usd`` behind the best quote, or as
    near to it as the broker's minimum lets it.

    Levels are rounded to the grid in the position's favour; a stop never moves against the position, and moves by at
    least ``trail_step_usd``. While the market is within the broker's minimum of the target, nothing is amended: the
    target would be refused, and the stop with it. An unsound quote or an unknown rate changes nothing.
    """
    if not _sound(quote) or not terms.rate_known:
        return watch, None
    leave = exact(quote.bid if direction > 0 else quote.ask)
    best = max(exact(watch.best_price) * direction, leave * direction) * direction
    watch = replace(watch, best_price=float(best))
    one = terms.value_of_one(volume_cents)
    even = _breakeven(watch, direction, exact(entry_price), one, terms)
    level = _best_level(watch, direction, best, even, one, quote, terms)
    moves = (
        level is not None
        and _worth_it(watch, direction, level, one, terms)
        and not _at_target(watch, direction, quote, terms)
    )
    if moves and level is not None:
        watch = replace(watch, stop_loss=float(level))
    if even is not None and watch.stop_loss is not None and (exact(watch.stop_loss) - even) * direction >= 0:
        watch = replace(watch, breakeven_done=True)
    if not moves:
        return watch, None
    return watch, Amend(watch.position_id, watch.stop_loss, watch.take_profit, watch.upkeep.stop_trigger_method)


def _breakeven(watch: Watch, direction: int, entry: Decimal, one: Decimal, terms: Terms) -> Decimal | None:
    """The stop that leaves nothing lost, None while the profit for it has not been reached, or when it is done."""
    if watch.breakeven_done or not watch.upkeep.breakeven_usd:
        return None
    if (exact(watch.best_price) - entry) * direction * one < exact(watch.upkeep.breakeven_usd):
        return None
    lot = terms.value_of_one(terms.spec.lot_size_cents)
    costs = distance(exact(terms.commission_per_lot), lot) + exact(terms.slippage)
    return _in_favour(direction, entry + direction * costs, watch, terms)


def _best_level(
    watch: Watch, direction: int, best: Decimal, even: Decimal | None, one: Decimal, quote: Quote, terms: Terms
) -> Decimal | None:
    """The stop nearest to the market that break-even and trailing ask for and the broker takes."""
    nearest = _nearest_stop(direction, quote, terms)
    levels = [even] if even is not None and (nearest - even) * direction >= 0 else []
    if watch.upkeep.trailing_usd:
        behind = best - direction * distance(exact(watch.upkeep.trailing_usd), one)
        trailed = _in_favour(direction, behind, watch, terms)
        levels.append(min(trailed * direction, nearest * direction) * direction)
    return max(levels, key=lambda level: level * direction, default=None)


def _worth_it(watch: Watch, direction: int, level: Decimal, one: Decimal, terms: Terms) -> bool:
    """Whether a stop at this level is new, or better by at least one price step and the least move asked for."""
    if level <= 0:
        return False
    if watch.stop_loss is None:
        return True
    gain = (level - exact(watch.stop_loss)) * direction
    return gain >= terms.step and gain * one >= exact(watch.upkeep.trail_step_usd)


def _at_target(watch: Watch, direction: int, quote: Quote, terms: Terms) -> bool:
    """Whether the market is so near to the target, or past it, that the broker would refuse to have it sent again."""
    if watch.take_profit is None:
        return False
    return (exact(watch.take_profit) - _nearest_target(direction, quote, terms)) * direction < 0


def _in_favour(direction: int, leave_at: Decimal, watch: Watch, terms: Terms) -> Decimal:
    """The stop price on the grid that lets a position leave at a price or better."""
    beyond = exact(terms.spread) if watch.upkeep.stop_trigger_method in OPPOSITE else Decimal(0)
    price = leave_at + direction * beyond
    return up(price, terms.step) if direction > 0 else down(price, terms.step)


def _nearest_stop(direction: int, quote: Quote, terms: Terms) -> Decimal:
    """The stop nearest to the market that the broker takes, on the grid."""
    gap = max(exact(terms.min_stop_distance), terms.step)
    return down(exact(quote.bid) - gap, terms.step) if direction > 0 else up(exact(quote.ask) + gap, terms.step)


def _nearest_target(direction: int, quote: Quote, terms: Terms) -> Decimal:
    """The target nearest to the market that the broker takes, on the grid."""
    gap = max(exact(terms.min_target_distance), terms.step)
    return up(exact(quote.bid) + gap, terms.step) if direction > 0 else down(exact(quote.ask) - gap, terms.step)


def _sound(quote: Quote) -> bool:
    return 0 < quote.bid <= quote.ask < float("inf")
