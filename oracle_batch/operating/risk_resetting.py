"""``risk reset``: an account that paused because of a limit may enter again. Nothing else ends a maximum pause."""

from __future__ import annotations

from dataclasses import dataclass

from oracle_batch.desk import Desk
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.account_risk import reset
from oracle_batch.operating.job import Job
from oracle_batch.operating.visits import visit
from oracle_batch.recover import RISK_RESET
from oracle_batch.store.records import Event


@dataclass(frozen=True, slots=True)
class Resets:
    """The accounts whose memory changed, those that had nothing to forget, and those that failed."""

    changed: list[str]
    clean: list[str]
    errors: dict[str, OracleBatchError]


def reset_risk(job: Job) -> Resets:
    """Clear the pause, the streaks of losses and the reached target of every account; the anchors stay.

    A limit that is still near pauses the account again at the next look.

    Raises:
        LockHeld: another run did not end in time.
    """
    changed = []

    def work(desk: Desk) -> None:
        before = desk.executor.risk
        after = reset(before)
        pending = desk.recovery.pause
        if after == before and pending is None:
            return
        pause = pending if before.anchors is None else before.anchors.pause or pending
        detail = {
            "limit": None if pause is None else pause.limit,
            "since": None if pause is None else pause.since,
            "losses": before.trades.account.losses,
            "target_reached": before.target_reached,
        }
        desk.remember(after)
        desk.before_send.append(Event(RISK_RESET, None, detail))
        changed.append(desk.name)

    visits = visit(job, work)
    errors = {one.account: one.error for one in visits if one.error is not None}
    clean = [one.account for one in visits if one.error is None and one.account not in changed]
    return Resets(changed, clean, errors)
