"""From lots to the broker's volume: rounded down to the step, refused outside the limits, never upward."""

from __future__ import annotations

from typing import Literal

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.hands.prices import distance, exact

VolumeReason = Literal["VOLUME_BELOW_MIN", "VOLUME_ABOVE_MAX"]


class VolumeRefusedError(Exception):
    """The lots give no volume that the broker takes. ``reason`` is the stable code."""

    def __init__(self, reason: VolumeReason) -> None:
        self.reason: VolumeReason = reason
        super().__init__(reason)


def volume_cents(lots: float, spec: SymbolSpec) -> int:
    """Volume in hundredths of a unit for ``lots``, in whole steps.

    Raises:
        VolumeRefusedError: ``VOLUME_BELOW_MIN`` or ``VOLUME_ABOVE_MAX``.

    >>> spec = SymbolSpec("EURUSD", 5, 10_000_000, 100_000, 100_000, 1_000_000_000, "EUR", "USD")
    >>> volume_cents(0.29, spec), volume_cents(0.019, spec)
    (2900000, 100000)
    """
    wanted = int(exact(lots) * spec.lot_size_cents)
    volume = wanted - wanted % spec.step_volume_cents
    if volume < spec.min_volume_cents:
        raise VolumeRefusedError("VOLUME_BELOW_MIN")
    if volume > spec.max_volume_cents:
        raise VolumeRefusedError("VOLUME_ABOVE_MAX")
    return volume


def risk_volume_cents(
    risk_per_trade_pct: float,
    equity: float,
    stop_distance: float,
    rate: float,
    fixed_volume_cents: int,
    spec: SymbolSpec,
) -> int:
    """The volume whose stop loses at most a percentage of the equity, in whole steps, never above the fixed volume.

    ``stop_distance`` is a price distance, ``rate`` account currency per unit of the quote asset. Gross, as ``sl_usd``
    is: the spread is in the distance, commission is not counted.

    Raises:
        VolumeRefusedError: ``VOLUME_BELOW_MIN``: even the smallest volume would risk more.

    >>> spec = SymbolSpec("EURUSD", 5, 10_000_000, 100_000, 100_000, 1_000_000_000, "EUR", "USD")
    >>> risk_volume_cents(0.5, 10_000.0, 0.0040, 1.0, 5_000_000, spec)
    1200000
    """
    money = exact(risk_per_trade_pct) * exact(equity) / 100
    units = distance(money, exact(stop_distance) * exact(rate))
    wanted = min(int(units * 100), fixed_volume_cents)
    volume = wanted - wanted % spec.step_volume_cents
    if volume < spec.min_volume_cents:
        raise VolumeRefusedError("VOLUME_BELOW_MIN")
    return volume
