"""From lots to the broker's volume: rounded down to the step, refused outside the limits, never upward."""

from __future__ import annotations

from decimal import Decimal

from oracle_batch.broker.base import SymbolSpec


class VolumeRefusedError(Exception):
    """The lots give no volume that the broker takes. ``reason`` is the stable code."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def volume_cents(lots: float, spec: SymbolSpec) -> int:
    """Volume in hundredths of a unit for ``lots``, in whole steps.

    Raises:
        VolumeRefusedError: ``VOLUME_BELOW_MIN`` or ``VOLUME_ABOVE_MAX``.

    >>> spec = SymbolSpec("EURUSD", 5, 10_000_000, 100_000, 100_000, 1_000_000_000, "EUR", "USD")
    >>> volume_cents(0.29, spec), volume_cents(0.019, spec)
    (2900000, 100000)
    """
    wanted = int(Decimal(str(lots)) * spec.lot_size_cents)
    volume = wanted - wanted % spec.step_volume_cents
    if volume < spec.min_volume_cents:
        raise VolumeRefusedError("VOLUME_BELOW_MIN")
    if volume > spec.max_volume_cents:
        raise VolumeRefusedError("VOLUME_ABOVE_MAX")
    return volume
