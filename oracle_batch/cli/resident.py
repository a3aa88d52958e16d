"""``oracle-batch run``: the resident trigger."""

from __future__ import annotations

import typer

from oracle_batch.cli.session import Session


def run(ctx: typer.Context) -> None:
    """Stay resident and start one `tick` a bar close, in a child process. Ends on SIGTERM."""
    import logging

    from oracle_batch.scheduler import serve

    session: Session = ctx.obj
    workspace = session.existing_workspace()
    session.settings()  # a wrong configuration is told now, not at the next bar close
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    extra = [] if session.config_file is None else ["--config", str(session.config_file)]
    serve(session.home, workspace.models, extra)
