"""Swap: what holding a position overnight makes or costs. Pure.

A night ends at 17:00 New York on Monday to Friday; Wednesday's counts three times, for the weekend that its value date
crosses. What is booked stays on the position, inside the equity, until the position is closed.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from oracle_batch.market.book import OpenPosition, exact, to_minor

_ZONE: Final = "America/New_York"
_HOUR: Final = 17
_WEDNESDAY: Final = 2
_SATURDAY: Final = 5


def next_rollover(after: float) -> tuple[float, int]:
    """The next instant (Unix seconds) that ends a night, later than ``after``, and how many nights it counts for.

    >>> next_rollover(1_705_960_800.0)  # Monday 2024-01-22 17:00 New York
    (1706047200.0, 1)
    """
    zone = ZoneInfo(_ZONE)
    day = datetime.fromtimestamp(after, UTC).astimezone(zone).date()
    while True:
        instant = datetime.combine(day, time(_HOUR), zone).timestamp()
        if instant > after and day.weekday() < _SATURDAY:
            return instant, 3 if day.weekday() == _WEDNESDAY else 1
        day += timedelta(days=1)


def with_nights(position: OpenPosition, nights: int, rate: float, money_digits: int) -> OpenPosition:
    """A position after its nights: distance · units · rate · nights, rounded once, in minor units."""
    distance = exact(position.contract.swap(position.direction))
    amount = distance * Decimal(position.volume_cents) / 100 * exact(rate) * nights
    return msgspec.structs.replace(position, swap=position.swap + to_minor(amount, money_digits))
