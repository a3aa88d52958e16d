"""``oracle-batch run``: the resident trigger."""

from __future__ import annotations

import typer

from oracle_batch.cli.clocks import ClockOf, chosen_clock
from oracle_batch.cli.session import Session


def run(ctx: typer.Context, clock: ClockOf = None) -> None:
    """Stay resident and start one `tick` for each bar close, in a child process, and a `guard` each minute in between.

    A tick is started `[tick] arm_s` ahead of the close and waits for it, prepared. While all markets are closed by
    their schedules nothing is started. Settings and models may change meanwhile. Ends on SIGTERM, SIGHUP or Ctrl-C: a
    running child is told to end, puts on record what it has sent, and is waited for.
    """
    import logging
    import signal

    from oracle_batch.lean import absent

    with absent("ssl"):  # 4 MB, which asyncio does without, and APScheduler never uses
        from oracle_batch.scheduler import Resident
    from oracle_batch.heartbeat import alone
    from oracle_batch.timetable import Watched
    from oracle_batch.told_clock import ToldClock

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    file = session.config_file or workspace.config_file
    watched = Watched(workspace, session.settings, file)  # what is wrong is told now, not at the next bar close
    time = chosen_clock(ctx, None, clock)
    workspace.ensure()
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    options = ["--log-format", session.log_format]
    if session.config_file is not None:
        options += ["--config", str(session.config_file)]
    if session.log_level is not None:
        options += ["--log-level", session.log_level]
    told = time if isinstance(time, ToldClock) else None
    with alone(workspace.resident):
        received = Resident(workspace, watched, options, told).serve()
    if received == signal.SIGINT:
        raise KeyboardInterrupt
