"""``oracle-batch run``: the resident trigger."""

from __future__ import annotations

import typer

from oracle_batch.cli.session import Session


def run(ctx: typer.Context) -> None:
    """Stay resident and start one `tick` a bar close, in a child process. Ends on SIGTERM or Ctrl-C."""
    import logging
    import signal

    from oracle_batch.scheduler import serve

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    session.settings()  # a wrong configuration is told now, not at the next bar close
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    options = ["--log-format", session.log_format]
    if session.config_file is not None:
        options += ["--config", str(session.config_file)]
    if session.log_level is not None:
        options += ["--log-level", session.log_level]
    if serve(session.home, workspace.models, options) == signal.SIGINT:
        raise KeyboardInterrupt
