"""What a run without a brain leaves behind: nothing where nothing is new, else what the next tick must still see."""

from __future__ import annotations

from msgspec.structs import replace

from oracle_batch.broker.base import CloseIntent
from oracle_batch.desk import Desk
from oracle_batch.recover import carried
from oracle_batch.store.executor import Executor


def nothing_new(desk: Desk) -> bool:
    """Whether the files say everything already: then the books keep their mark, and nothing is written."""
    before = desk.loaded or Executor(account=desk.name)
    told = desk.before_send or desk.after_send or desk.intents
    return not told and replace(desk.executor, journal=before.journal) == before


async def settle(desk: Desk) -> None:
    """From the first durable intent to the books, in a run without a brain."""
    desk.journal_intents()
    await desk.send()
    desk.conclude({})
    desk.journal_acks()
    if not desk.dry_run:
        hand_on(desk)
        desk.commit()


def hand_on(desk: Desk) -> None:
    """Leave in the journal's unread part what the next tick must still see."""
    for leg in desk.intents:
        if isinstance(leg, CloseIntent) and leg.model and desk.acks[leg.intent_id].status == "OK":
            desk.ended_at[leg.model] = desk.clock.now()
    records = carried(desk.recovery, desk.ended_at)
    if records and not desk.dry_run:
        desk.journal.append(records)
