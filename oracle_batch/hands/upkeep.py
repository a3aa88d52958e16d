"""One round of looking after a position: what the broker should be asked for, and what is to be remembered. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as with_

from msgspec.structs import replace

from oracle_batch.broker.base import Position, Quote
from oracle_batch.hands.protection import Terms
from oracle_batch.hands.watch import Amend, Unprotectable, Watch, maintain, missing_stop, seen


@dataclass(frozen=True, slots=True)
class Care:
    """What a position needs now. At most one of ``amend`` and ``hopeless`` is set.

    ``watch`` is to be remembered if ``amend`` is sent (or there is none), ``unsent`` if it is not. ``repairs``: the
    broker's stop is missing, or looser than it should be; if it cannot be amended, the position is closed.
    """

    watch: Watch
    unsent: Watch
    amend: Amend | None = None
    hopeless: Unprotectable | None = None
    repairs: bool = False


def care(watch: Watch, position: Position, quote: Quote | None, terms: Terms) -> Care:
    """One round of ``hands.watch`` for a position as the broker shows it, both of its amendments in one.

    Without a quote nothing moves, but a missing stop is still asked for.
    """
    direction, stop, target = position.direction, position.stop_loss, position.take_profit
    watch = seen(watch, direction, stop, target, terms)
    gap = missing_stop(watch, direction, stop, target, quote, terms)
    if isinstance(gap, Unprotectable):
        return Care(watch, watch, hopeless=gap, repairs=True)
    repairs = gap is not None and missing_stop(watch, direction, stop, watch.take_profit, quote, terms) is not None
    after, moved = watch, None
    if quote is not None:
        after, moved = maintain(watch, direction, position.entry_price, position.volume_cents, quote, terms)
    if moved is not None and gap is not None:
        moved = with_(moved, take_profit=gap.take_profit)
    unsent = replace(after, stop_loss=watch.stop_loss, breakeven_done=watch.breakeven_done)
    return Care(after, unsent, moved or gap, repairs=repairs)
