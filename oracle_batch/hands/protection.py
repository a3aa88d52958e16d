"""Stops and targets of a new position: from account currency to price distances the broker takes (DESIGN §6).

    distance = money / (units · rate)

``units`` is the volume, ``rate`` the broker's account currency per unit of the quote asset. Money is gross: the spread
is in it, because distances count from the entry price and a position leaves on the other side of the spread;
commission is not (``loss_at_stop`` adds the closing half, and so does ``max_stop_pct``).

Which way things are rounded, and what is refused:

- A stop is rounded *down* to the grid: the loss at it is never above the money, or the ATR multiple, asked for.
- A stop that would lie nearer than the market allows is refused, never widened: the operator named the money.
- A target is rounded *up* and, where the broker wants it farther away, put there: that adds no risk.
- Of two stops (``sl_usd`` and ``sl_atr``) the nearer counts, of two targets likewise. Without either stop the trailing
  distance is the first stop.
- Below a long position there is only room down to zero, and a target below a short one likewise: neither is farther
  away than 99 % of the price. A smaller loss than asked for is then the largest one that a stop can hold.
- A stop that is triggered by the opposite quote fills a spread beyond its price; it is put nearer by that spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Final, Literal, Protocol

import msgspec

from oracle_batch.broker.base import StopTrigger as StopTrigger
from oracle_batch.broker.base import SymbolSpec
from oracle_batch.hands.prices import RELATIVE_DIGITS, RELATIVE_SCALE, distance, down, exact, grid, relative, up
from oracle_batch.hands.sizing import VolumeReason, VolumeRefusedError, risk_volume_cents, volume_cents

OPPOSITE: Final[frozenset[StopTrigger]] = frozenset({"opposite", "double_opposite"})
RefusalReason = Literal["REQUIRE_STOP", "STOP_TOO_CLOSE", "MAX_STOP_PCT", "NO_ATR", "NO_RATE"] | VolumeReason
FARTHEST: Final = Decimal("0.99")
"""Share of the price that a stop below it, or a target below it, may be away."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the broker's side of one symbol is like now.

    ``rate`` is account currency per unit of the quote asset; ``spread``, ``slippage`` and the broker's minimum
    distances (0 when it has none) are price distances; ``commission_per_lot`` account currency per lot and round turn.
    """

    spec: SymbolSpec
    rate: float
    spread: float
    slippage: float
    commission_per_lot: float
    min_stop_distance: float = 0.0
    min_target_distance: float = 0.0

    @property
    def step(self) -> Decimal:
        """The price grid."""
        return grid(self.spec.digits)

    @property
    def rate_known(self) -> bool:
        return isfinite(self.rate) and self.rate > 0

    def value_of_one(self, volume_cents: int) -> Decimal:
        """Account currency that a price move of 1.0 makes on a volume."""
        return _value_of_one(volume_cents, self.rate)

    def commission(self, volume_cents: int) -> Decimal:
        """Commission of a round turn."""
        return _commission(self.commission_per_lot, volume_cents, self.spec.lot_size_cents)


@lru_cache(maxsize=256)  # a tick asks this of the same volume again and again
def _value_of_one(volume_cents: int, rate: float) -> Decimal:
    return Decimal(volume_cents) / 100 * exact(rate)


@lru_cache(maxsize=256)
def _commission(per_lot: float, volume_cents: int, lot_size_cents: int) -> Decimal:
    return exact(per_lot) * volume_cents / lot_size_cents


class ProtectionSettings(Protocol):
    """What the operator decided, per symbol or model. Money in account currency; 0 means none."""

    @property
    def sl_usd(self) -> float: ...
    @property
    def tp_usd(self) -> float: ...
    @property
    def trailing_usd(self) -> float: ...
    @property
    def breakeven_usd(self) -> float: ...
    @property
    def sl_atr(self) -> float:
        """Stop distance in multiples of the average true range."""
        ...

    @property
    def tp_atr(self) -> float: ...
    @property
    def trail_step_usd(self) -> float:
        """The least that a stop is moved by."""
        ...

    @property
    def require_stop(self) -> bool: ...
    @property
    def max_stop_pct(self) -> float:
        """The most that the stop may lose, in per cent of the balance."""
        ...

    @property
    def stop_trigger_method(self) -> StopTrigger: ...


class Distances(msgspec.Struct, frozen=True):
    """Protection of one order, as distances from its entry price; None where there is none.

    ``*_relative`` are the same in 1/100000, multiples of 10^(5 − digits). ``loss`` is what the stop loses, its closing
    commission included, in account currency.
    """

    stop: float | None = None
    target: float | None = None
    stop_relative: int | None = None
    target_relative: int | None = None
    loss: float | None = None

    def prices(self, direction: int, entry_price: float, digits: int) -> tuple[float | None, float | None]:
        """Absolute stop and target of a position that was entered at a price, which need not be on the grid.

        Rounded as the distances are: the stop towards the entry, the target away from it.
        """
        entry, step = exact(entry_price), grid(digits)
        ahead = up if direction > 0 else down
        stop = None if self.stop is None else float(ahead(entry - direction * exact(self.stop), step))
        target = None if self.target is None else float(ahead(entry + direction * exact(self.target), step))
        return stop, target


class ProtectionRefused(msgspec.Struct, frozen=True):
    """Why an order must not leave: a stable code and the numbers that were seen."""

    reason: RefusalReason
    numbers: Mapping[str, float] = {}


class Sized(msgspec.Struct, frozen=True):
    """A volume with the protection that belongs to it.

    ``share`` is the volume as a share of the fixed lot's; below 1 where ``risk_per_trade_pct`` took some away.
    """

    volume_cents: int
    distances: Distances
    share: float = 1.0


def initial(
    settings: ProtectionSettings,
    terms: Terms,
    *,
    direction: int,
    volume_cents: int,
    atr: float | None,
    balance: float,
    entry_price: float,
) -> Distances | ProtectionRefused:
    """The protection that an order of this volume carries, or why it must not leave.

    ``entry_price`` is the quote that the order would meet, ``atr`` the average true range as a price distance.
    """
    found = _asked_for(settings, terms, direction, volume_cents, atr, entry_price)
    return found if isinstance(found, ProtectionRefused) else _limited(*found, settings, terms, volume_cents, balance)


def sized(
    settings: ProtectionSettings,
    terms: Terms,
    *,
    direction: int,
    lots: float,
    risk_per_trade_pct: float,
    equity: float,
    atr: float | None,
    balance: float,
    entry_price: float,
) -> Sized | ProtectionRefused:
    """Volume and protection of an entry: the fixed lots, or fewer where the stop would lose more than the risk allows.

    The whole set-up shrinks with the volume: the distances stay those of the fixed lots, so the money at the stop gets
    less. Risk that cannot be counted, for want of a stop, is refused.
    """
    try:
        fixed = volume_cents(lots, terms.spec)
        found = _asked_for(settings, terms, direction, fixed, atr, entry_price)
        if isinstance(found, ProtectionRefused):
            return found
        stop, target = found
        volume = fixed
        if risk_per_trade_pct > 0:
            if stop is None:
                return ProtectionRefused("REQUIRE_STOP", {"risk_per_trade_pct": risk_per_trade_pct})
            exit_distance = float(stop + _beyond(terms, settings.stop_trigger_method))
            volume = risk_volume_cents(risk_per_trade_pct, equity, exit_distance, terms.rate, fixed, terms.spec)
    except VolumeRefusedError as refusal:
        return ProtectionRefused(refusal.reason, {"lots": lots, "equity": equity, "risk_pct": risk_per_trade_pct})
    limited = _limited(stop, target, settings, terms, volume, balance)
    return limited if isinstance(limited, ProtectionRefused) else Sized(volume, limited, volume / fixed)


def loss_at_stop(
    direction: int,
    entry_price: float,
    stop: float,
    volume_cents: int,
    terms: Terms,
    trigger: StopTrigger = "trade",
) -> float:
    """What a position loses if its stop fills, with the closing half of its commission; negative: what it wins.

    The spread is in it already, since an entry price is on the far side of it; slippage beyond the stop is not.
    """
    move = (exact(entry_price) - exact(stop)) * direction + _beyond(terms, trigger)
    return float(_loss(move, volume_cents, terms))


def _loss(move: Decimal, volume_cents: int, terms: Terms) -> Decimal:
    return move * terms.value_of_one(volume_cents) + terms.commission(volume_cents) / 2


def _beyond(terms: Terms, trigger: StopTrigger) -> Decimal:
    """How far beyond its own price a stop fills."""
    return exact(terms.spread) if trigger in OPPOSITE else Decimal(0)


def _asked_for(
    settings: ProtectionSettings,
    terms: Terms,
    direction: int,
    volume: int,
    atr: float | None,
    entry_price: float,
) -> tuple[Decimal | None, Decimal | None] | ProtectionRefused:
    """Stop and target as distances on the grid, None where there is none."""
    if not (settings.sl_usd or settings.sl_atr or settings.trailing_usd or settings.tp_usd or settings.tp_atr):
        return None, None
    if not terms.rate_known:
        return ProtectionRefused("NO_RATE", {"rate": terms.rate})
    if (settings.sl_atr or settings.tp_atr) and (atr is None or not isfinite(atr) or atr <= 0):
        return ProtectionRefused("NO_ATR", {} if atr is None else {"atr": atr})
    one, spread = terms.value_of_one(volume), exact(terms.spread)
    step = grid(min(terms.spec.digits, RELATIVE_DIGITS))
    room = exact(entry_price) * FARTHEST

    stop = _nearer(settings.sl_usd, settings.sl_atr, one, atr)
    if stop is None and settings.trailing_usd:
        stop = distance(exact(settings.trailing_usd), one)
    if stop is not None:
        asked, stop = stop, stop - _beyond(terms, settings.stop_trigger_method)
        stop = down(min(stop, room) if direction > 0 else stop, step)
        least = spread + exact(terms.slippage) + max(exact(terms.min_stop_distance), step)
        if stop < least:
            seen = {"asked": float(asked), "least": float(least), "least_money": float(least * one)}
            return ProtectionRefused("STOP_TOO_CLOSE", seen)

    target = _nearer(settings.tp_usd, settings.tp_atr, one, atr)
    if target is not None:
        target = up(max(target, exact(terms.min_target_distance)), step)
        target = min(target, down(room, step)) if direction < 0 else target
    return stop, target


def _nearer(money: float, multiple: float, one: Decimal, atr: float | None) -> Decimal | None:
    """The nearer of a distance in money and one in average true ranges, None where neither is asked for."""
    by_money = distance(exact(money), one) if money else None
    if not multiple or atr is None:
        return by_money
    by_range = exact(multiple) * exact(atr)
    return by_range if by_money is None else min(by_money, by_range)


def _limited(
    stop: Decimal | None,
    target: Decimal | None,
    settings: ProtectionSettings,
    terms: Terms,
    volume: int,
    balance: float,
) -> Distances | ProtectionRefused:
    """The distances in every form, unless the operator's limits forbid them."""
    aim = None if target is None else relative(target)
    far = None if aim is None else aim / RELATIVE_SCALE
    if stop is None:
        if settings.require_stop:
            return ProtectionRefused("REQUIRE_STOP")
        if settings.max_stop_pct:  # without a stop the loss has no limit at all
            return ProtectionRefused("MAX_STOP_PCT", {"max_stop_pct": settings.max_stop_pct})
        return Distances(None, far, None, aim)
    loss = _loss(stop + _beyond(terms, settings.stop_trigger_method), volume, terms)
    if settings.max_stop_pct and loss * 100 > exact(settings.max_stop_pct) * exact(balance):
        seen = {"loss": float(loss), "balance": balance, "max_stop_pct": settings.max_stop_pct}
        return ProtectionRefused("MAX_STOP_PCT", seen)
    halt = relative(stop)
    return Distances(halt / RELATIVE_SCALE, far, halt, aim, float(loss))
