"""``resume``: entries are allowed again, and the journal says since when they were not."""

from __future__ import annotations

from oracle_batch.operating.job import Job
from oracle_batch.store.files import read_bytes, remove
from oracle_batch.store.journal import Journal
from oracle_batch.store.lock import OPERATOR_TIMEOUT_S, hold
from oracle_batch.store.records import Event


def resume(job: Job) -> None:
    """Take the pause flag away. ``pause`` writes no journal, since it does not wait for the lock: this does for both.

    Raises:
        LockHeld: another run did not end in time.
        StateError: a journal or the flag cannot be written.
    """
    workspace = job.workspace
    workspace.ensure()
    with hold(workspace.lock, timeout_s=OPERATOR_TIMEOUT_S):
        if not workspace.is_paused():
            return
        flag = (read_bytes(workspace.paused) or b"").decode(errors="replace").strip()
        since = int(flag) if flag.isascii() and flag.isdigit() else None
        for account in job.settings.accounts:
            event = Event("resumed", None, {"paused_at": since})
            Journal(workspace.journal_folder(account.account), job.clock).append([event])
        remove(workspace.paused)
