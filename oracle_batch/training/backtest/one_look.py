"""One whole look: the job's own steps on an account in memory."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from oracle_batch import guarding, unattended
from oracle_batch.bars import Bars
from oracle_batch.brain.twin import FLAT, TwinState
from oracle_batch.judging import judge
from oracle_batch.planning import propose
from oracle_batch.sheltering import shelter
from oracle_batch.store.executor import Executor
from oracle_batch.store.twins import TwinFile
from oracle_batch.think import Thought
from oracle_batch.training.backtest.account import MemoryDesk
from oracle_batch.training.backtest.lives import Life
from oracle_batch.types import ACTIONS


async def tick(desk: MemoryDesk, thoughts: Mapping[str, Thought], windows: Mapping[str, Bars], now: float) -> None:
    """The tick's own steps on one account (``tick.tick``), on a frozen clock and without a feed to ask."""
    await desk.open()
    await desk.recover()
    proposal = await propose(desk, thoughts, windows, now)
    if proposal is not None:
        await judge(desk, proposal, thoughts, [], now)
    unattended.retry_pending(desk, now)
    await unattended.close_blind(desk, desk.failed, now)
    desk.journal_intents()
    await desk.send()
    await shelter(desk, now)
    desk.conclude(thoughts)
    desk.journal_acks()
    desk.commit()


async def guard(desk: MemoryDesk, now: float) -> None:
    await desk.open()
    await guarding.look_after(desk, now)


def twin_at(life: Life, row: int) -> TwinState:
    """The twin after a row, as far as the hands ask: position, profit, signal."""
    action = int(life.action[row])
    return TwinState(
        direction=ACTIONS[action].direction,
        intensity=ACTIONS[action].intensity,
        entry_price=float(life.entry_price[row]),
        floating_pnl=float(life.floating_pnl[row]),
        realized_pnl=float(life.realized_pnl[row]),
        bar_time=int(life.time[row]),
        last_action=action,
        last_hmm_state=int(life.hmm_state[row]),
    )


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run work on a paper account, which never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("the work waits: it needs an event loop")


@contextmanager
def quiet() -> Iterator[None]:
    """The hands' log lines are for operators; over history they are counted instead."""
    log = logging.getLogger("oracle_batch")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def thought(life: Life, row: int, first: int) -> Thought:
    """What the brain says on the bar of a row, of a life that the hands follow from row ``first`` on."""
    model = life.model
    before = twin_at(life, row - 1) if row else FLAT
    twin = TwinFile(
        model=model.model_id,
        bundle_sha256=model.sha256,
        state=twin_at(life, row),
        history=(before,),
        warmed_to=int(life.time[first - 1]) if first else 0,
    )
    return Thought(model, twin, past=(before,))


def settled(memory: Executor, life: Life, row: int) -> bool:
    """Whether a model holds what it wants, or knows what it waits for, so that the same signal changes nothing."""
    books = memory.models.get(life.model.model_id)
    if books is None or books.pending_close is not None or books.last_bar != int(life.time[row]):
        return False
    held = books.position
    action = ACTIONS[int(life.action[row])]
    wanted = (action.direction, action.intensity)
    if held is None:
        return not wanted[0] or books.waiting is not None
    return (held.direction, held.intensity) == wanted
