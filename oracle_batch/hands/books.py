"""What the hands remember of each model between two runs. Plain frozen values; a step returns new ones."""

from __future__ import annotations

from typing import Literal

import msgspec

from oracle_batch.broker.base import CloseCause
from oracle_batch.hands.refusal import Number
from oracle_batch.hands.watch import Watch

WaitCause = Literal["missed", "stopped", "manual", "operator", "emergency"]
Decision = Literal["NOOP", "OPEN", "CLOSE", "CLOSE_OPEN", "WAIT_SYNC"]
AckWord = Literal["OK", "FAIL", "SKIP", "WAIT_SYNC", "UNKNOWN"]


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value whose file form knows every field."""


class Waiting(_Value, frozen=True):
    """Why a flat model does not follow its signal (DESIGN §6), and the direction it was or wanted to be in."""

    cause: WaitCause
    direction: int


class HeldPosition(_Value, frozen=True):
    """Our own position at the broker, as we opened it.

    ``volume_cents`` is in hundredths of a unit, ``opened_at`` Unix seconds. ``relabelled``: the intensity was changed
    in the books alone, because the new lots round to the same volume; the broker's comment is then out of date.
    ``commission`` is what opening it has cost, in account currency. ``in_parts``: others have closed a part of it; what
    that part has made is counted when the rest ends.
    """

    position_id: int
    direction: int
    intensity: int
    volume_cents: int
    entry_price: float
    opened_at: float
    relabelled: bool = False
    commission: float = 0.0
    in_parts: bool = False


class PendingClose(_Value, frozen=True):
    """A close that the market could not take yet; the next run that can carries it out. ``since``: Unix seconds."""

    position_id: int
    since: float
    cause: CloseCause


class LastOutcome(_Value, frozen=True):
    """What the last bar came to, for ``status``. ``signal`` is an action's name, ``numbers`` are a refusal's."""

    bar_time: int
    signal: str | None = None
    decision: Decision | None = None
    ack: AckWord | None = None
    reason: str | None = None
    error: str | None = None
    numbers: dict[str, Number] = {}


class ModelBooks(_Value, frozen=True):
    """One model's books on one account. ``last_bar``: the last bar acted on live (Unix seconds; 0 = none yet).

    ``watch`` is the protection that the position should have; None where there is no position, or it was not looked at.
    """

    last_bar: int = 0
    waiting: Waiting | None = None
    position: HeldPosition | None = None
    pending_close: PendingClose | None = None
    watch: Watch | None = None
    decisions_revised: int = 0
    last: LastOutcome | None = None
