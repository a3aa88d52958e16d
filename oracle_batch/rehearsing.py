"""What an armed tick learns before its trigger: every question that it may ask, and its own way, gone once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from msgspec.structs import replace as with_

from oracle_batch.bars import Bars
from oracle_batch.broker.base import Bar, Wish
from oracle_batch.desk import Desk
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands import entries
from oracle_batch.hands.atr import atr
from oracle_batch.hands.protection import Sized
from oracle_batch.judging import judge
from oracle_batch.planning import propose
from oracle_batch.store import lines
from oracle_batch.think import Foresight, Thought
from oracle_batch.types import ACTIONS, TIMEFRAME_SECONDS
from oracle_batch.world import World


async def learn(desk: Desk, windows: Mapping[str, Bars]) -> list[Wish]:
    """Every order that the models may wish for at the next close, and those that would make what is held.

    Raises:
        BrokerError: the broker does not answer.
    """
    symbols = sorted({desk.models[name].broker_symbol for name in windows})
    terms, quotes = await desk.broker.terms(symbols), await desk.broker.quotes(symbols)
    found: dict[Wish, None] = {(one.symbol, one.direction, one.volume_cents): None for one in desk.positions}
    for name, bars in windows.items():
        settings, symbol = desk.symbol_settings[name], desk.models[name].broker_symbol
        if isinstance(settings, OracleBatchError) or not settings.enabled:
            continue
        wanted = atr(bars, settings.atr_period) if settings.sl_atr or settings.tp_atr else None
        for action in ACTIONS[1:]:
            wish = entries.size(
                settings,
                terms.get(symbol),
                quotes.get(symbol),
                action=action.index,
                atr=wanted,
                balance=desk.account.balance,
                equity=desk.account.equity,
            )
            if isinstance(wish, Sized):
                found[symbol, action.direction, wish.volume_cents] = None
    return list(found)


async def rehearse(world: World, foresight: Foresight, close: int) -> None:
    """Go the way from the bars to the orders once, on copies, so that nothing on it is new at the trigger.

    What it asks the broker of, an armed broker remembers.
    """
    made_up = {one.model.model_id: _repeated(one.bars, close, one.model.timeframe) for one in foresight.fresh}
    if not made_up:
        return
    thoughts = {one.model.model_id: one for one in foresight.think(made_up)}
    for desk in world.desks:
        other = stand_in(desk)
        held = {position.label for position in desk.positions}
        wished = {name: _turned(thought, held) for name, thought in thoughts.items()}
        with held_back():
            proposal = await propose(other, wished, world.windows(), world.now)
            if proposal is not None:
                await judge(other, proposal, wished, [], world.now)
        for record in (*other.before_send, *other.intents):
            lines.encode(record, world.now)


def _repeated(bars: Bars, close: int, timeframe: str) -> Bar:
    last = (getattr(bars, name)[-1].item() for name in ("open", "high", "low", "close", "volume"))
    return Bar(close - TIMEFRAME_SECONDS[timeframe], *last)


def _turned(thought: Thought, held: set[str]) -> Thought:
    """A thought that calls for an order: out of what is held, else in."""
    state = thought.twin.state
    wait = f"oracle:{thought.model.model_id}" in held
    before = with_(thought.before, last_action=1 if wait else 0)
    now = with_(state, last_action=0 if wait else 1)
    return Thought(thought.model, with_(thought.twin, state=now, history=(before,)))


def stand_in(desk: Desk) -> Desk:
    """A desk in the same place, with all that it has to tell; the other one never sees what this one does."""
    other = copy.copy(desk)
    for name in ("plans", "intents", "before_send", "after_send", "unsaid"):
        setattr(other, name, list(getattr(desk, name)))
    for name in ("acks", "outcomes", "opened", "causes", "ends", "ended_at"):
        setattr(other, name, dict(getattr(desk, name)))
    for name in ("journalled", "waiting", "crossing", "settled"):
        setattr(other, name, set(getattr(desk, name)))
    other.executor = with_(desk.executor, models=dict(desk.executor.models))
    return other


_holding: Final[ContextVar[list[logging.LogRecord] | None]] = ContextVar("_holding", default=None)


class _Keeper(logging.Handler):
    """Keeps the records of those who hold them back; others go where they always go."""

    def __init__(self, kept: list[logging.LogRecord], others: list[logging.Handler]) -> None:
        super().__init__()
        self._kept = kept
        self._others = others

    def emit(self, record: logging.LogRecord) -> None:
        if _holding.get() is self._kept:
            self._kept.append(record)
            return
        for handler in self._others:
            if record.levelno >= handler.level:
                handler.handle(record)


@contextmanager
def held_back() -> Iterator[list[logging.LogRecord]]:
    """What the block logs, and the tasks that it starts, is only in the list; other tasks log as ever."""
    root, kept = logging.getLogger(), list[logging.LogRecord]()
    handlers = root.handlers
    root.handlers, token = [_Keeper(kept, handlers)], _holding.set(kept)
    try:
        yield kept
    finally:
        root.handlers = handlers
        _holding.reset(token)
