"""The options that say what time it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from oracle_batch.cli.session import clock_of
from oracle_batch.errors import UsageError

if TYPE_CHECKING:
    from oracle_batch.clock import Clock

Now = Annotated[str | None, typer.Option(help="Freeze the clock: Unix seconds, or ISO 8601 with offset.")]
ClockOf = Annotated[
    str | None, typer.Option("--clock", metavar="HOST:PORT", help="Take the time from a simulator's control port.")
]


def chosen_clock(ctx: typer.Context, now: str | None, address: str | None) -> Clock:
    """The machine's clock, a frozen one, or a simulator's.

    Raises:
        UsageError: both are given, or one of them cannot be understood.
        BrokerError: no simulator answers.
    """
    if address is None:
        return clock_of(now)
    if now is not None:
        raise UsageError("--now and --clock exclude each other", field="--clock", fix="leave one out")
    from oracle_batch.told_clock import ToldClock

    clock = ToldClock(address)
    ctx.call_on_close(clock.close)
    return clock
